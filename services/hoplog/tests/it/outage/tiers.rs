//! What the events in ClickHouse say of each stretch of time: who answered, and that every answer has left its event.

use std::collections::BTreeMap;

use super::load::{Answers, FIRST, Kind};
use super::parts::{INSTANCES, Parts, STORE_READS_MAX, name_of};

/// Events that differ in nothing that is looked at here.
#[derive(Debug, Clone)]
pub(super) struct Told {
    pub(super) phase: String,
    instance: String,
    status: u16,
    tier: String,
    breaker: String,
    coalesced: bool,
    events: u64,
}

/// All visits that left an event.
pub(super) fn told(parts: &Parts) -> Vec<Told> {
    let sql = "SELECT splitByChar('/', request_id)[1] AS phase, instance, status, cache, breaker, coalesced, count()
               FROM requests WHERE route = '/{code}' GROUP BY ALL ORDER BY ALL";
    let row = |line: &str| {
        let fields: Vec<_> = line.split('\t').collect();
        let [phase, instance, status, tier, breaker, coalesced, events] = fields[..] else {
            panic!("{line}")
        };
        Told {
            phase: phase.to_owned(),
            instance: instance.to_owned(),
            status: status.parse().unwrap(),
            tier: tier.to_owned(),
            breaker: breaker.to_owned(),
            coalesced: coalesced == "true",
            events: events.parse().unwrap(),
        }
    };
    parts.query(sql).lines().map(row).collect()
}

/// Prints who answered in each phase.
pub(super) fn print(told: &[Told], answers: &Answers) {
    let mut phases = BTreeMap::<&str, BTreeMap<String, u64>>::new();
    for Told { phase, status, tier, events, .. } in told {
        *phases.entry(phase).or_default().entry(format!("{tier} {status}")).or_default() += events;
    }
    for (phase, tiers) in phases {
        let seen = |wanted: Kind| -> BTreeMap<u16, u64> {
            let of = answers.iter().filter(|((name, _, kind, _), _)| name == phase && *kind == wanted);
            of.fold(BTreeMap::new(), |mut all, ((.., status), count)| {
                *all.entry(*status).or_default() += count;
                all
            })
        };
        println!(
            "{phase}: events {tiers:?}; answers to known links {:?}, to others {:?}",
            seen(Kind::Known),
            seen(Kind::Cold)
        );
    }
}

/// Events and answers are the same, by phase, instance and status, but for those that were dropped and counted.
pub(super) fn assert_all_told(told: &[Told], answers: &Answers, dropped: u64) {
    let mut seen = BTreeMap::<(String, String, u16), u64>::new();
    for ((phase, instance, _, status), count) in answers {
        *seen.entry((phase.clone(), name_of(*instance), *status)).or_default() += count;
    }
    for Told { phase, instance, status, events, .. } in told {
        let left = seen.get_mut(&(phase.clone(), instance.clone(), *status));
        let left = left.unwrap_or_else(|| panic!("nobody saw {phase} {instance} {status}"));
        *left = left.checked_sub(*events).expect("more events than answers");
    }
    // What has no event is counted, and was answered while Kafka was away, or just after; or at the very first, when all links
    // are visited as fast as it goes, which is more than so short a queue has to take.
    let without: BTreeMap<_, _> = seen.into_iter().filter(|(_, count)| *count > 0).collect();
    assert_eq!(without.values().sum::<u64>(), dropped, "{without:?}");
    let of_outage = |phase: &str| phase.contains("kafka");
    assert!(without.keys().all(|(phase, ..)| of_outage(phase) || phase == FIRST), "{without:?}");
    assert!(
        without.keys().any(|(phase, ..)| of_outage(phase)),
        "the queue holds less than an outage's events: {without:?}"
    );
}

/// Events of a phase that satisfy a condition.
pub(super) fn count(told: &[Told], phase: &str, is: impl Fn(&Told) -> bool) -> u64 {
    told.iter().filter(|row| row.phase == phase && is(row)).map(|row| row.events).sum()
}

/// Who can answer does, and nobody else.
pub(super) fn assert_served_by(told: &[Told], phase: &str, redis: bool, store: bool) {
    let redirects =
        |tier: &str| count(told, phase, |row| row.tier == tier && row.status == 302 && !row.coalesced);
    assert!(redirects("l1") > 0, "{phase}: memory");
    // What was under way when it was killed may have had its answer.
    let under_way = STORE_READS_MAX * INSTANCES as u64;
    if store {
        assert!(redirects("store") > 0, "{phase}: the store is there");
    } else {
        assert!(redirects("store") <= under_way, "{phase}: the store is away, and answered");
        assert!(redirects("stale") > 0, "{phase}: past its time, and served");
    }
    if !redis {
        assert!(redirects("redis") <= under_way, "{phase}: Redis is away, and answered");
    }
    // An event names one: the last that the visit met.
    let breaker = if store { "redis" } else { "store" };
    assert!(count(told, phase, |row| row.breaker == breaker) > 0, "{phase}: left alone");
}
