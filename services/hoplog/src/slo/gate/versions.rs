//! Which versions are compared, and in which minutes: the new one since it appeared, the old one at the same time if it still
//! serves, otherwise just before. Nothing here judges them.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use clickhouse::Row;
use serde::Deserialize;
use warehouse::Warehouse;

use super::{Minute, QUIET_S};
use crate::cli::Gate;

/// How far back versions are looked for, seconds: releases are often weeks apart.
const KNOWN_S: u32 = 28 * 86_400;
/// Newer minutes may still lack events: they are to be queryable within seconds of their request, most of the time.
const SETTLED_S: u32 = 15;
/// A version that answered nothing for so long has been away: what it does now begins after that. Quiet services have
/// pauses, too, and a version that was taken back is seldom tried again within half an hour.
const AWAY_S: u32 = 1_800;
/// The most of it that is compared: a day has all its hours, and a version that serves for days is no new one.
const COMPARED_S_MAX: u32 = 86_400;

/// Versions of the service by when they began to serve, after having been away if they were, and last did; and how much of
/// late. `other` is where the rollup puts what it has no room for.
const VERSIONS: &str = "SELECT version,
    toUInt32(arrayMax(arrayMap(i -> if(minutes[i] - minutes[i - 1] > {away_s:UInt32}, minutes[i], 0), arrayEnumerate(arraySort(groupUniqArray(toInt64(toUInt32(minute)))) AS minutes)))) AS since_s,
    toUInt32(max(minute)) AS last_s,
    sumIf(requests, minute >= toDateTime({recent_s:UInt32})) AS recently
FROM requests_by_minute
WHERE NOT synthetic AND minute >= toDateTime({since_s:UInt32}) AND minute < toDateTime({until_s:UInt32})
    AND service = {service:String} AND version NOT IN ('', 'other')
GROUP BY version";

/// What can be done.
#[derive(Debug)]
pub(super) enum Choice {
    /// Nothing yet, and why.
    Wait(String),
    /// Compare these.
    Compare(Pair),
}

/// Two versions and the minutes of each that are held against each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pair {
    pub new: String,
    pub old: String,
    /// First minute of the new one, seconds since 1970.
    pub new_since_s: u32,
    /// First minute of the old one: the same if they served side by side.
    pub old_since_s: u32,
    /// How many minutes of each.
    pub minutes: u32,
}

/// A version, as the rollups know it.
#[derive(Debug, Clone, PartialEq, Eq, Row, Deserialize)]
struct Known {
    version: String,
    since_s: u32,
    last_s: u32,
    /// Requests within the time that is compared.
    recently: u64,
}

/// Looks for the versions and their minutes.
pub(super) async fn choose(
    options: &Gate,
    service: &str,
    warehouse: &Warehouse,
    now_s: u32,
) -> Result<Choice> {
    // Whole minutes of which no event is on its way any more.
    let until_s = (now_s - SETTLED_S) / 60 * 60;
    let bake_s = u32::try_from(options.bake.as_secs())?;
    let (known_s, recent_s) = (until_s.saturating_sub(KNOWN_S), until_s.saturating_sub(bake_s));
    let parameters = [
        ("since_s", known_s.to_string()),
        ("until_s", until_s.to_string()),
        ("recent_s", recent_s.to_string()),
        ("away_s", AWAY_S.to_string()),
        ("service", service.to_owned()),
    ];
    let parameters = parameters.each_ref().map(|(name, value)| (*name, value.as_str()));
    let known = warehouse.rows::<Known>(VERSIONS, &parameters).await?;
    pair(options, known, until_s)
}

fn pair(options: &Gate, known: Vec<Known>, until_s: u32) -> Result<Choice> {
    let find = |name: &String| known.iter().find(|known| known.version == *name);
    let new = match &options.new_version {
        Some(name) => find(name),
        None => known.iter().max_by_key(|known| (known.since_s, known.last_s)),
    };
    let Some(new) = new else {
        return Ok(Choice::Wait(match &options.new_version {
            Some(name) => format!("version {name} has answered no request of a whole minute yet"),
            None => "no version has answered a request of a whole minute yet".to_owned(),
        }));
    };
    if options.old_version.as_ref() == Some(&new.version) {
        bail!("both are version {}: name two different ones by --new and --old", new.version);
    }
    let old = match &options.old_version {
        Some(name) => match find(name) {
            Some(known) => Some(known),
            None => bail!("version {name} has answered no request in {} days", KNOWN_S / 86_400),
        },
        // Beside the new one if there is one; otherwise what served last.
        None => known
            .iter()
            .filter(|known| known.version != new.version)
            .max_by_key(|known| (known.recently, known.last_s)),
    };
    let Some(old) = old else {
        return Ok(Choice::Wait(format!(
            "there is no version but {}: nothing to compare it with",
            new.version
        )));
    };
    if new.last_s + QUIET_S < until_s {
        let ago = (until_s - new.last_s) / 60;
        return Ok(Choice::Wait(format!(
            "the newest request of version {} that is known of is {ago} min old: is it running, and the collector?",
            new.version
        )));
    }
    // The first minute is not whole, and of a cold cache.
    let new_since_s = (new.since_s + 60).max(until_s.saturating_sub(COMPARED_S_MAX));
    let length_s = until_s.saturating_sub(new_since_s);
    let beside = old.last_s + QUIET_S >= until_s && old.since_s <= new_since_s;
    let old_since_s = if beside { new_since_s } else { old.last_s.min(new.since_s).saturating_sub(length_s) };
    Ok(Choice::Compare(Pair {
        new: new.version.clone(),
        old: old.version.clone(),
        new_since_s,
        old_since_s,
        minutes: length_s / 60,
    }))
}

/// A series of a minute, as [`alerts::Sli::by_version`] asks for it.
#[derive(Debug, Row, Deserialize)]
struct Series {
    minute_s: u32,
    stratum: String,
    total: u64,
    bad: u64,
    cold: u64,
    bounds_us: Vec<u32>,
    counts: Vec<u64>,
}

impl Pair {
    /// What both did, by minute since the first of each: minutes in which only one of them served included.
    pub(super) async fn read(&self, service: &str, warehouse: &Warehouse, sql: &str) -> Result<Vec<Minute>> {
        let mut minutes = BTreeMap::<u32, Minute>::new();
        for (version, since_s) in [(&self.new, self.new_since_s), (&self.old, self.old_since_s)] {
            let of_it = format!(
                "SELECT minute_s, stratum, total, bad, cold, bounds_us, counts FROM (\n{sql}\n) WHERE version = {{version:String}}"
            );
            let parameters = [
                ("since_s", since_s.to_string()),
                ("until_s", (since_s + self.minutes * 60).to_string()),
                ("version", version.clone()),
                ("service", service.to_owned()),
            ];
            let parameters = parameters.each_ref().map(|(name, value)| (*name, value.as_str()));
            for series in warehouse.rows::<Series>(&of_it, &parameters).await? {
                let minute = minutes.entry((series.minute_s - since_s) / 60).or_default();
                let side = if version == &self.new { &mut minute.new } else { &mut minute.old };
                let histogram = series.bounds_us.into_iter().zip(series.counts);
                side.add(series.stratum, [series.total, series.bad, series.cold], histogram);
            }
        }
        Ok(minutes.into_values().collect())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn known(version: &str, since_s: u32, last_s: u32, recently: u64) -> Known {
        Known { version: version.to_owned(), since_s, last_s, recently }
    }

    fn gate(new_version: Option<&str>, old_version: Option<&str>) -> Gate {
        Gate {
            bake: Duration::from_secs(600),
            new_version: new_version.map(str::to_owned),
            old_version: old_version.map(str::to_owned),
            added_failures_max: None,
            added_latency_max: 15.0,
        }
    }

    #[test]
    fn the_new_one_is_held_against_what_serves_beside_it_or_served_before() {
        const DAY: u32 = 86_400;
        let until_s = 10 * DAY;
        let chosen = |gate: &Gate, all: &[Known]| match pair(gate, all.to_vec(), until_s).unwrap() {
            Choice::Compare(pair) => (pair.new, pair.old, pair.new_since_s, pair.old_since_s, pair.minutes),
            Choice::Wait(reason) => panic!("{reason}"),
        };
        let named = |new: &str, old: &str, new_since_s, old_since_s, minutes| {
            (new.to_owned(), old.to_owned(), new_since_s, old_since_s, minutes)
        };
        let canary = [known("2", until_s - 300, until_s - 60, 90), known("1", DAY, until_s - 60, 900)];
        assert_eq!(chosen(&gate(None, None), &canary), named("2", "1", until_s - 240, until_s - 240, 4));
        let since_long = [known("2", until_s - 3000, until_s - 60, 90), known("1", DAY, until_s - 60, 900)];
        assert_eq!(
            chosen(&gate(None, None), &since_long),
            named("2", "1", until_s - 2_940, until_s - 2_940, 49)
        );
        let replaced = [
            known("2", until_s - 900, until_s - 60, 90),
            known("1", DAY, until_s - 960, 0),
            known("0", 0, DAY, 0),
        ];
        assert_eq!(
            chosen(&gate(None, None), &replaced),
            named("2", "1", until_s - 840, until_s - 960 - 840, 14)
        );
        assert_eq!(
            chosen(&gate(Some("2"), Some("0")), &replaced),
            named("2", "0", until_s - 840, DAY - 840, 14)
        );
    }

    #[test]
    fn where_there_is_nothing_to_compare_it_says_why() {
        let until_s = 1_000_000;
        let wait = |gate: &Gate, all: &[Known]| match pair(gate, all.to_vec(), until_s).unwrap() {
            Choice::Wait(reason) => reason,
            Choice::Compare(pair) => panic!("{pair:?}"),
        };
        assert!(wait(&gate(None, None), &[]).contains("no version has answered"));
        assert!(wait(&gate(Some("3"), None), &[]).contains("version 3 has answered no request"));
        assert!(wait(&gate(None, None), &[known("1", 0, until_s, 9)]).contains("no version but 1"));
        let gone = [known("2", 5_000, until_s - 7_200, 0), known("1", 0, until_s, 9)];
        assert!(wait(&gate(None, None), &gone).contains("120 min old"));
        let two = vec![known("2", 5_000, until_s, 0), known("1", 0, until_s, 9)];
        for wrong in [gate(Some("2"), Some("2")), gate(None, Some("7"))] {
            assert!(pair(&wrong, two.clone(), until_s).is_err());
        }
    }
}
