//! The checks: the protocol holds in each world, and each rule that is turned round is found out by the property that it
//! is there for. A rule without such a test would be a rule that nobody knows to be needed.
#![expect(clippy::print_stdout, reason = "counts and counterexamples are what a reader of the output wants")]

use std::collections::BTreeSet;
use std::time::Instant;

use stateright::{Checker, HasDiscoveries, Model};

use crate::actions::Action;
use crate::properties::{
    AFTER_THE_END, ALL_STORED, GATE_CLOSED, NEVER_STUCK, NO_DUPLICATE, NO_LOSS, ONE_POLICY, TWO_AT_ONCE,
};
use crate::protocol::{CORRECT, LEDGER, OTHERS, Protocol, REQUESTS, Rules, World};

/// One partition by itself, cut into ranges in every way, with two requests at once that nobody waits for.
const ALONE: World =
    World { messages: 3, neighbours: 0, range_max: 3, lost_max: 2, late_max: Some(1), window: 3, guard: 1 };

/// One range among enough others to push its token out of every window.
const CROWDED: World =
    World { messages: 1, neighbours: 5, range_max: 1, lost_max: 0, late_max: Some(1), window: 5, guard: 2 };

/// The smallest crowd in which the window can be too small.
const SMALL_CROWD: World =
    World { messages: 1, neighbours: 3, range_max: 1, lost_max: 0, late_max: Some(0), window: 3, guard: 1 };

/// Looks at every state that can be reached: all that must hold does, and what should be possible is.
fn holds(name: &str, world: World, possible: &[&str]) {
    // What the collector does: nothing is tried again beyond half of the window.
    assert_eq!(usize::from(world.guard), world.window / 2);
    let begun = Instant::now();
    let checker = Protocol { rules: CORRECT, world }.checker().threads(2).spawn_bfs().join();
    println!(
        "{name}: {} states, {} steps between them, depth {}, {:.1?}",
        checker.unique_state_count(),
        checker.state_count(),
        checker.max_depth(),
        begun.elapsed()
    );
    let discoveries = checker.discoveries();
    for property in checker.model().properties() {
        let found = discoveries.get(property.name).map(|path| path.clone().into_actions());
        if property.expectation.discovery_is_failure() {
            assert_eq!(found, None, "{name}: {} does not hold", property.name);
        } else {
            assert_eq!(found.is_some(), possible.contains(&property.name), "{name}: {}", property.name);
        }
    }
}

/// Finds a shortest way to where a property doesn't hold.
fn counterexample(protocol: Protocol, property: &'static str) -> Option<Vec<Action>> {
    let mut shortest: Option<Vec<Action>> = None;
    loop {
        let checker = protocol.checker().finish_when(HasDiscoveries::AllOf(BTreeSet::from([property])));
        let checker = match &shortest {
            // A way of n steps ends at depth n + 1, and the depth that is given is not looked at any more.
            Some(steps) => checker.target_max_depth(steps.len() + 1),
            None => checker,
        };
        match checker.spawn_bfs().join().discovery(property) {
            Some(path) => shortest = Some(path.into_actions()),
            None => return shortest,
        }
    }
}

/// The checker must find out that a protocol breaks a property.
fn is_found_out(name: &str, rules: Rules, world: World, property: &'static str) {
    let steps = counterexample(Protocol { rules, world }, property).unwrap_or_default();
    assert!(!steps.is_empty(), "{name}: no way was found to break {property:?}");
    println!("{name}: {property:?} is broken in {} steps: {steps:?}", steps.len());
}

#[test]
fn the_protocol_holds_for_a_partition_alone() {
    holds("alone", ALONE, &[ALL_STORED, TWO_AT_ONCE, AFTER_THE_END]);
}

#[test]
fn the_protocol_holds_in_a_crowd() {
    holds("small crowd", SMALL_CROWD, &[ALL_STORED, TWO_AT_ONCE, GATE_CLOSED]);
    holds("crowd", CROWDED, &[ALL_STORED, TWO_AT_ONCE, GATE_CLOSED]);
}

#[test]
fn committing_the_end_first_loses() {
    is_found_out("end first", Rules { end_first: true, ..CORRECT }, ALONE, NO_LOSS);
}

#[test]
fn without_an_intent_a_replay_doubles() {
    is_found_out("no intent", Rules { intent: false, ..CORRECT }, ALONE, NO_DUPLICATE);
}

#[test]
fn an_intent_without_its_policy_disagrees() {
    is_found_out(
        "no policy in the intent",
        Rules { intent_names_policy: false, ..CORRECT },
        ALONE,
        ONE_POLICY,
    );
}

#[test]
fn a_token_for_each_attempt_doubles() {
    is_found_out("token of the attempt", Rules { token_of_attempt: true, ..CORRECT }, ALONE, NO_DUPLICATE);
}

#[test]
fn the_ledger_first_loses() {
    is_found_out("ledger first", Rules { order: [LEDGER, REQUESTS, OTHERS], ..CORRECT }, ALONE, NO_LOSS);
}

#[test]
fn without_fencing_a_zombie_doubles() {
    is_found_out("no fencing", Rules { fenced: false, ..CORRECT }, ALONE, NO_DUPLICATE);
}

/// Kafka fences members, not partitions: one that has joined again may commit what is not its own any more.
#[test]
fn a_member_that_does_not_forget_doubles() {
    is_found_out("nothing forgotten", Rules { forgets: false, ..CORRECT }, ALONE, NO_DUPLICATE);
}

#[test]
fn without_a_guard_a_late_replay_doubles() {
    is_found_out("no guard", Rules { guarded: false, ..CORRECT }, SMALL_CROWD, NO_DUPLICATE);
}

#[test]
fn a_window_that_is_one_token_too_small_doubles() {
    let world = World { window: SMALL_CROWD.window - 1, ..SMALL_CROWD };
    is_found_out("window too small", CORRECT, world, NO_DUPLICATE);
}

#[test]
fn without_a_time_limit_a_zombie_doubles() {
    let world = World { late_max: None, ..SMALL_CROWD };
    is_found_out("no time limit", CORRECT, world, NO_DUPLICATE);
}

/// A zombie that reads the intent of the next owner would store that range. The owner, who then finds a range of its
/// own in the ledger that it has not stored, would have to take that for a replaced log.
#[test]
fn without_proof_before_an_attempt_the_owner_gets_stuck() {
    is_found_out("no proof", Rules { proves: false, ..CORRECT }, ALONE, NEVER_STUCK);
}

/// What has to be true of Kafka and its client: see the README.
#[test]
fn a_commit_that_arrives_after_the_next_one_doubles() {
    is_found_out("commits overtake", Rules { commits_in_order: false, ..CORRECT }, ALONE, NO_DUPLICATE);
}

/// What has to be true of ClickHouse: see the README.
#[test]
fn a_token_without_its_rows_loses() {
    is_found_out("torn insert", Rules { atomic_insert: false, ..CORRECT }, ALONE, NO_LOSS);
}
