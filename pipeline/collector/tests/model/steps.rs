//! What each action does. A range's own steps are here; what the group does is in `group`, and what becomes of inserts
//! in `inserts`.

use crate::actions::Action;
use crate::clickhouse::Seen;
use crate::protocol::{LEDGER, Protocol, TABLES};
use crate::state::{Held, Hold, Insert, Intent, LateCommit, State, Step, Task, number};

/// Attempts that get a token of their own, in the variant where they do: its counterexamples need two.
const ATTEMPTS_MAX: u8 = 3;

impl Protocol {
    pub(crate) fn step(&self, state: &State, action: Action) -> State {
        let mut next = *state;
        match action {
            Action::Crash { member } => {
                self.drop_hold(&mut next, member);
                next.members[member].up = false;
            }
            Action::Restart { member } => {
                // It has to join again; what it owned stays its own for as long as its session lasts.
                (next.members[member].up, next.members[member].current) = (true, false);
            }
            Action::Expel { member } => next.expel(member),
            Action::Join { member } => self.join(&mut next, member),
            Action::Move => next.ask_back(),
            Action::Release { member } => self.release(&mut next, member),
            Action::Fetch { member } => self.fetch(&mut next, member),
            Action::Begin { member, last } => self.begin(&mut next, member, last),
            Action::Arrive { lost } => self.arrive(&mut next, lost),
            Action::Vanish { lost } => {
                next.lost[lost] = None;
                next.lost.sort_unstable();
            }
            Action::ArriveCommit => {
                if let Some(LateCommit { offset, .. }) = next.late_commit.take() {
                    (next.group.offset, next.group.intent) = (offset, None);
                }
            }
            Action::Neighbour => self.neighbour(&mut next),
            Action::Check { member }
            | Action::Stored { member }
            | Action::Unanswered { member }
            | Action::Torn { member }
            | Action::Commit { member }
            | Action::CommitAgain { member } => self.go_on(&mut next, member, action),
        }
        next.forget_settled();
        next
    }

    fn fetch(&self, state: &mut State, member: usize) {
        let task = state.group.intent.map(|found| {
            let policy = if self.rules.intent_names_policy { found.policy } else { number(member) };
            Task { intent: Intent { policy, ..found }, again: true, attempt: 0, age: 0, step: Step::Check }
        });
        let held = Held { next: state.group.offset, revoking: false, task };
        state.members[member].hold = Hold::Held(held);
    }

    fn begin(&self, state: &mut State, member: usize, last: u8) {
        let intent = Intent { last, policy: number(member), age: 0 };
        let written = !self.rules.intent || self.commit(state, member, None, Some(intent));
        let ended = !self.rules.end_first || self.commit(state, member, Some(last + 1), None);
        if written
            && ended
            && let Hold::Held(held) = &mut state.members[member].hold
        {
            held.task = Some(Task { intent, again: false, attempt: 0, age: 0, step: Step::Check });
        }
    }

    /// A step of an open range.
    fn go_on(&self, state: &mut State, member: usize, action: Action) {
        let Hold::Held(Held { next: first, task: Some(mut task), revoking }) = state.members[member].hold
        else {
            return;
        };
        let insert = self.under_way(&task, first);
        if matches!(action, Action::Check { .. }) && !self.is_proven(state, member, &task) {
            return;
        }
        match action {
            Action::Check { .. } => self.check(state, first, &mut task),
            Action::Stored { .. } => task.step = after(task.step),
            Action::Commit { .. } | Action::CommitAgain { .. } => {
                let offset = task.intent.last + 1;
                if matches!(action, Action::CommitAgain { .. }) {
                    state.late_commit = Some(LateCommit { member: number(member), offset });
                }
                if self.commit(state, member, Some(offset), None) {
                    state.members[member].hold = Hold::Held(Held { next: offset, revoking, task: None });
                }
                return;
            }
            _ => task.begin_again(),
        }
        if task.step == Step::Commit {
            task.age = 0;
        }
        state.members[member].hold = Hold::Held(Held { next: first, revoking, task: Some(task) });
        // After the step that it leads to: a completed range makes time pass for all others.
        match (action, insert) {
            (Action::Stored { .. }, Some(insert)) => self.insert(state, insert),
            (Action::Unanswered { .. }, Some(insert)) => self.lose(state, insert),
            (Action::Torn { .. }, Some(Insert { table, block, .. })) => {
                state.tables[usize::from(table)].note(Seen::Ours(block.token), self.world.window);
            }
            _ => (),
        }
    }

    fn check(&self, state: &mut State, first: u8, task: &mut Task) {
        if task.again && state.tables[usize::from(LEDGER)].has(task.span(first)) {
            task.step = Step::Commit;
            return;
        }
        task.step = Step::Insert(0);
        if self.rules.token_of_attempt {
            task.attempt = state.attempts;
            state.attempts = ATTEMPTS_MAX.min(state.attempts + 1);
        }
    }

    /// Before an attempt: the intent, committed once more, if that is the rule.
    fn is_proven(&self, state: &mut State, member: usize, task: &Task) -> bool {
        let is_written = self.rules.intent && !self.rules.end_first;
        !(self.rules.proves && is_written) || self.commit(state, member, None, Some(task.intent))
    }

    /// The insert that a range waits for.
    pub(crate) fn under_way(&self, task: &Task, first: u8) -> Option<Insert> {
        let Step::Insert(place) = task.step else { return None };
        Some(Insert { table: self.rules.order[usize::from(place)], block: task.block(first), age: task.age })
    }

    /// Commits a position; without an offset it stays where the collector thinks it is. `false`: the generation is another
    /// by now, and the collector drops what it holds.
    ///
    /// One step, though it is a request and an answer: an answer that is lost leads to the same commit again, which
    /// changes nothing, or to another generation.
    fn commit(&self, state: &mut State, member: usize, offset: Option<u8>, intent: Option<Intent>) -> bool {
        let now = &mut state.members[member];
        let Hold::Held(held) = now.hold else { return false };
        if self.rules.fenced && !now.current {
            now.hold = Hold::None;
            return false;
        }
        (state.group.offset, state.group.intent) = (offset.unwrap_or(held.next), intent);
        true
    }
}

fn after(step: Step) -> Step {
    match step {
        Step::Insert(place) if usize::from(place) + 1 < TABLES => Step::Insert(place + 1),
        _ => Step::Commit,
    }
}
