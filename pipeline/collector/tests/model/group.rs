//! What the consumer group does: who is in, and who owns the partition. A generation is not a number here: what matters
//! is only whether a member's is the present one.

use crate::protocol::{MEMBERS, Protocol};
use crate::state::{Hold, State, number};

impl Protocol {
    /// A new generation with this member in it.
    pub(crate) fn join(&self, state: &mut State, member: usize) {
        if self.rules.forgets {
            self.drop_hold(state, member);
        }
        state.end_session(member);
        state.members[member].current = true;
        if state.group.owner.is_none() || state.is_owner(member) {
            state.give(member);
        }
    }

    /// The cooperative way: the partition is given back first, and then to the other one.
    pub(crate) fn release(&self, state: &mut State, member: usize) {
        self.drop_hold(state, member);
        let other = (member + 1) % MEMBERS;
        // What a zombie gives back is not its own any more.
        if state.members[member].current {
            state.give(if state.members[other].current { other } else { member });
        }
    }

    /// A collector forgets the partition. Nobody waits for its insert any more.
    pub(crate) fn drop_hold(&self, state: &mut State, member: usize) {
        if let Hold::Held(held) = state.members[member].hold
            && let Some(insert) = held.task.and_then(|task| self.under_way(&task, held.next))
        {
            self.lose(state, insert);
        }
        state.members[member].hold = Hold::None;
    }
}

impl State {
    pub(crate) fn expel(&mut self, member: usize) {
        self.end_session(member);
        if self.is_owner(member) {
            self.give((member + 1) % MEMBERS);
        }
    }

    /// The group wants the partition back.
    pub(crate) fn ask_back(&mut self) {
        for member in &mut self.members {
            if let Hold::Held(held) = &mut member.hold {
                held.revoking = true;
            }
        }
    }

    /// Makes a member the owner, if it is in the group; else nobody is, until one joins.
    fn give(&mut self, member: usize) {
        let now = &mut self.members[member];
        self.group.owner = now.current.then_some(number(member));
        if now.up && now.current && now.hold == Hold::None {
            now.hold = Hold::Assigned;
        }
    }

    /// The generation moves on without this member: nothing that it sent before is accepted.
    fn end_session(&mut self, member: usize) {
        self.members[member].current = false;
        if self.late_commit.is_some_and(|late| late.member == number(member)) {
            self.late_commit = None;
        }
    }
}
