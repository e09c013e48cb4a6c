//! What becomes of inserts, and how time passes. There is no clock: time is counted in completed ranges, since they are
//! what pushes tokens out of the windows.

use crate::clickhouse::{Seen, Span};
use crate::protocol::{LEDGER, Protocol, TABLES};
use crate::state::{Held, Hold, Insert, State, Step};

impl Protocol {
    pub(crate) fn insert(&self, state: &mut State, insert: Insert) {
        let stored = state.tables[usize::from(insert.table)].insert(insert.block, self.world.window);
        if stored && insert.table == LEDGER {
            self.pass_time(state, Some(insert.block.token.span));
        }
    }

    /// An insert that nobody waits for any more. Beyond what the world can hold it never arrives.
    pub(crate) fn lose(&self, state: &mut State, insert: Insert) {
        if state.lost.iter().flatten().count() < self.world.lost_max {
            state.lost[0] = Some(insert);
            state.lost.sort_unstable();
        }
    }

    pub(crate) fn arrive(&self, state: &mut State, lost: usize) {
        if let Some(insert) = state.lost[lost].take() {
            state.lost.sort_unstable();
            self.insert(state, insert);
        }
    }

    /// The next block of another partition: a table after the other.
    pub(crate) fn neighbour(&self, state: &mut State) {
        let table = self.rules.order[usize::from(state.neighbours) % TABLES];
        state.neighbours += 1;
        state.tables[usize::from(table)].note(Seen::Neighbour, self.world.window);
        if table == LEDGER {
            self.pass_time(state, None);
        }
    }

    /// A range is complete, of ours or of a neighbour, so all others are older by one. What is too old to be waited for is given up, and can't
    /// arrive any more.
    fn pass_time(&self, state: &mut State, completed: Option<Span>) {
        let late_max = self.world.late_max;
        let guard = self.rules.guarded.then_some(self.world.guard);
        let offset = state.group.offset;
        if let Some(intent) = &mut state.group.intent
            && completed != Some(Span { first: offset, last: intent.last })
        {
            grow(&mut intent.age, guard);
        }
        for member in &mut state.members {
            let Hold::Held(Held { next, task: Some(task), .. }) = &mut member.hold else { continue };
            if Some(task.span(*next)) == completed {
                continue;
            }
            grow(&mut task.intent.age, guard);
            // The first attempt is allowed by the intent, a later one by its check.
            let is_allowed =
                matches!(task.step, Step::Insert(_)) || (task.step == Step::Check && !task.again);
            if is_allowed && grow(&mut task.age, late_max) {
                task.begin_again();
            }
        }
        for lost in &mut state.lost {
            if let Some(insert) = lost
                && Some(insert.block.token.span) != completed
                && grow(&mut insert.age, late_max)
            {
                *lost = None;
            }
        }
        state.lost.sort_unstable();
    }
}

/// One older; `true` if that is too old. Ages that nobody looks at stay 0, and none grows beyond what makes a difference.
fn grow(age: &mut u8, max: Option<u8>) -> bool {
    let Some(max) = max else { return false };
    *age = (*age + 1).min(max + 1);
    *age > max
}
