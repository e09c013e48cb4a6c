//! What can happen next. Everything that is not mentioned here takes no time: what only changes a collector's own memory
//! happens together with the step that shows it.

use crate::clickhouse::Table;
use crate::protocol::{LEDGER, MEMBERS, Protocol, TABLES};
use crate::state::{Held, Hold, State, Step, Task};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// A collector dies, with all it knows.
    Crash { member: usize },
    /// A dead one is started again.
    Restart { member: usize },
    /// The group's session with a collector ends: it is dead, or has been silent for too long and doesn't know.
    Expel { member: usize },
    /// A collector learns that it is out, or is new; it joins.
    Join { member: usize },
    /// The group asks for the partition back, to give it to the other one.
    Move,
    /// It is given back: finished, or after waiting for too long with its range open.
    Release { member: usize },
    /// An owner reads the position, and the intent if there is one.
    Fetch { member: usize },
    /// A range is cut and its intent committed.
    Begin { member: usize, last: u8 },
    /// The intent is committed once more, which proves that the range is ours; ledger and window allow an attempt, and
    /// its first insert is sent. Or the range turns out to be in the ledger.
    Check { member: usize },
    /// An insert arrives and is answered; the next one is sent.
    Stored { member: usize },
    /// An insert is not answered in time. It may have arrived, may still arrive, or never; the range is tried again.
    Unanswered { member: usize },
    /// ClickHouse is killed between token and rows. The range is tried again.
    Torn { member: usize },
    /// The range's end is committed.
    Commit { member: usize },
    /// The same, where the first try was not answered and is still under way.
    CommitAgain { member: usize },
    /// An insert arrives that nobody waits for.
    Arrive { lost: usize },
    /// One that never will.
    Vanish { lost: usize },
    /// A commit arrives that was sent again since.
    ArriveCommit,
    /// A block of the other partition is stored.
    Neighbour,
}

impl Protocol {
    /// All that can happen in a state, always in the same order.
    pub(crate) fn possible(&self, state: &State, actions: &mut Vec<Action>) {
        for member in 0..MEMBERS {
            let now = state.members[member];
            if now.current || state.is_owner(member) {
                actions.push(Action::Expel { member });
            }
            if !now.up {
                actions.push(Action::Restart { member });
                continue;
            }
            actions.push(Action::Crash { member });
            if !now.current {
                actions.push(Action::Join { member });
            }
            match now.hold {
                Hold::None => (),
                Hold::Assigned => actions.push(Action::Fetch { member }),
                Hold::Held(held) => self.with_held(state, member, &held, actions),
            }
        }
        if can_move(state) {
            actions.push(Action::Move);
        }
        if usize::from(state.neighbours) < usize::from(self.world.neighbours) * TABLES {
            actions.push(Action::Neighbour);
        }
        for lost in (0..state.lost.len()).filter(|lost| state.lost[*lost].is_some()) {
            actions.extend([Action::Arrive { lost }, Action::Vanish { lost }]);
        }
        if state.late_commit.is_some() {
            actions.push(Action::ArriveCommit);
        }
    }

    fn with_held(&self, state: &State, member: usize, held: &Held, actions: &mut Vec<Action>) {
        let ledger = &state.tables[usize::from(LEDGER)];
        if held.revoking {
            actions.push(Action::Release { member });
        }
        let Some(task) = held.task else {
            let end = self.world.messages.min(held.next + self.world.range_max);
            let lasts = (held.next..end).filter(|_| !held.revoking);
            actions.extend(lasts.map(|last| Action::Begin { member, last }));
            return;
        };
        match task.step {
            Step::Check if self.allows(ledger, held.next, &task) => {
                actions.push(Action::Check { member });
            }
            Step::Check => (),
            Step::Insert(_) => {
                actions.push(Action::Stored { member });
                actions.push(Action::Unanswered { member });
                if !self.rules.atomic_insert {
                    actions.push(Action::Torn { member });
                }
            }
            Step::Commit => {
                actions.push(Action::Commit { member });
                if !self.rules.commits_in_order && state.members[member].current {
                    actions.push(Action::CommitAgain { member });
                }
            }
        }
    }

    /// Whether an attempt may begin. If not, the collector waits for a person: its gate is closed.
    pub(crate) fn allows(&self, ledger: &Table, first: u8, task: &Task) -> bool {
        if !task.again {
            // Offsets that the ledger has, and no earlier intent announced: the log was replaced.
            return !ledger.reaches(first);
        }
        let in_window = !self.rules.guarded || task.intent.age <= self.world.guard;
        in_window || ledger.has(task.span(first))
    }
}

fn can_move(state: &State) -> bool {
    let Some(owner) = state.group.owner.map(usize::from) else { return false };
    let is_held = matches!(state.members[owner].hold, Hold::Held(Held { revoking: false, .. }));
    is_held && state.members.iter().all(|member| member.up && member.current)
}

impl Action {
    /// Whether it happens without a fault and without an operator: what is left when calm returns.
    pub(crate) fn is_calm(self, state: &State) -> bool {
        match self {
            Self::Crash { .. }
            | Self::Move
            | Self::Unanswered { .. }
            | Self::Torn { .. }
            | Self::CommitAgain { .. } => false,
            Self::Expel { member } => !state.members[member].up,
            _ => true,
        }
    }
}
