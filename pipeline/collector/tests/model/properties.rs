//! What must hold, and what must be possible for that to mean anything.

use stateright::{Model, Property};

use crate::actions::Action;
use crate::clickhouse::{Copies, Table};
use crate::protocol::{LEDGER, Protocol, TABLES};
use crate::state::{Held, Hold, State, Step};

pub(crate) const NO_LOSS: &str = "no loss";
pub(crate) const NO_DUPLICATE: &str = "no duplicate";
pub(crate) const ONE_POLICY: &str = "one policy";
pub(crate) const LEDGER_LAST: &str = "ledger last";
pub(crate) const NEVER_STUCK: &str = "never stuck";
pub(crate) const ALL_STORED: &str = "all stored";
pub(crate) const TWO_AT_ONCE: &str = "two at once";
pub(crate) const AFTER_THE_END: &str = "after the end";
pub(crate) const GATE_CLOSED: &str = "gate closed";

impl Model for Protocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![self.start()]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        self.possible(state, actions);
    }

    /// Panics where a step that needs no fault leads in a circle: then "never stuck" would not mean that it ends.
    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let next = self.step(state, action);
        if self.is_correct() && action.is_calm(state) {
            assert!(progress(&next) > progress(state), "{action:?} is no progress in {state:#?}");
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(NO_LOSS, no_loss),
            Property::always(NO_DUPLICATE, no_duplicate),
            Property::always(ONE_POLICY, one_policy),
            Property::always(LEDGER_LAST, ledger_last),
            Property::always(NEVER_STUCK, never_stuck),
            Property::sometimes(ALL_STORED, is_finished),
            Property::sometimes(TWO_AT_ONCE, two_at_once),
            Property::sometimes(AFTER_THE_END, after_the_end),
            Property::sometimes(GATE_CLOSED, is_gate_closed),
        ]
    }
}

/// Every message below the committed offset is in every table.
fn no_loss(_: &Protocol, state: &State) -> bool {
    (0..state.group.offset).all(|message| is_everywhere(state, message))
}

/// No table has a message twice.
fn no_duplicate(_: &Protocol, state: &State) -> bool {
    state.tables.iter().all(|table| !table.messages.contains(&Copies::More))
}

/// All tables have a message from the same policy.
fn one_policy(model: &Protocol, state: &State) -> bool {
    (0..model.world.messages).all(|message| {
        let mut policies = state.tables.iter().filter_map(|table| match table.copies(message) {
            Copies::One(block) => Some(block.policy),
            Copies::None | Copies::More => None,
        });
        let first = policies.next();
        policies.all(|policy| Some(policy) == first)
    })
}

/// What the ledger has, every table has: a reader of the ledger may believe it.
fn ledger_last(model: &Protocol, state: &State) -> bool {
    (0..model.world.messages).all(|message| {
        let in_ledger = state.tables[usize::from(LEDGER)].copies(message) != Copies::None;
        !in_ledger || is_everywhere(state, message)
    })
}

fn is_everywhere(state: &State, message: u8) -> bool {
    state.tables.iter().all(|table| table.copies(message) != Copies::None)
}

/// Where nothing can happen any more but faults, everything is stored and committed; or a person has to decide. With
/// `progress` that is: once faults end, all is stored, whatever happened before and in whatever order things go on.
fn never_stuck(model: &Protocol, state: &State) -> bool {
    let mut actions = Vec::new();
    model.possible(state, &mut actions);
    actions.iter().any(|action| action.is_calm(state))
        || is_finished(model, state)
        || is_gate_closed(model, state)
}

/// The reverse of something that can't go on for ever: each step that is no fault makes it larger, compared from left
/// to right.
fn progress(state: &State) -> [usize; 6] {
    const TOP: usize = 99;
    let mut revoking = 0;
    let mut ranks = 0;
    let mut held = 0;
    for (member, now) in state.members.iter().enumerate() {
        ranks += match (now.up, now.current) {
            (false, _) => usize::from(!now.current && !state.is_owner(member)),
            (true, current) => 2 + usize::from(current),
        };
        revoking += usize::from(matches!(now.hold, Hold::Held(Held { revoking: true, .. })));
        held += match now.hold {
            // A zombie ends by dropping the partition, an owner begins by reading its position.
            Hold::None if now.current => 0,
            Hold::None => TOP,
            Hold::Assigned => 1,
            Hold::Held(Held { task: None, .. }) => 2,
            Hold::Held(Held { task: Some(task), .. }) => match task.step {
                Step::Check => 3,
                Step::Insert(place) => 4 + usize::from(place),
                Step::Commit => 4 + TABLES,
            },
        };
    }
    [
        state.tables.iter().map(Table::stored).sum::<usize>() + usize::from(state.neighbours),
        state.group.offset.into(),
        ranks,
        TOP - revoking,
        TOP - state.lost.iter().flatten().count(),
        held,
    ]
}

fn is_finished(model: &Protocol, state: &State) -> bool {
    state.group.offset == model.world.messages
}

/// The owner would store a range again, and may not.
fn is_gate_closed(model: &Protocol, state: &State) -> bool {
    let ledger = &state.tables[usize::from(LEDGER)];
    state.members.iter().enumerate().any(|(member, now)| match now.hold {
        Hold::Held(Held { next, task: Some(task), .. }) => {
            let wants = state.is_owner(member) && task.again && task.step == Step::Check;
            wants && !model.allows(ledger, next, &task)
        }
        _ => false,
    })
}

/// Both collectors insert the same range.
fn two_at_once(_: &Protocol, state: &State) -> bool {
    let [one, other] = state.members.map(|member| match member.hold {
        Hold::Held(Held { next, task: Some(task), .. }) if matches!(task.step, Step::Insert(_)) => {
            Some(task.span(next))
        }
        _ => None,
    });
    one.is_some() && one == other
}

/// An insert of a range may still arrive when its end is committed already.
fn after_the_end(_: &Protocol, state: &State) -> bool {
    state.lost.iter().flatten().any(|insert| state.group.offset > insert.block.token.span.last)
}
