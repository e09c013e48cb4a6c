//! Back-pressure: which partitions are not to deliver for now, so that what is held stays bounded however many
//! partitions there are. Only decides; who holds the consumer does it.

use std::collections::BTreeMap;

use crate::CollectorConfig;
use crate::partition::Partition;

/// What follows from what is held.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// Held over all partitions, waiting or being stored.
    pub(crate) bytes: u64,
    /// Partitions, and whether each is to be paused.
    pub(crate) pauses: Vec<(u32, bool)>,
}

/// Decides for all partitions. Held are at most `buffer_bytes_max`, one range that was found begun, and one delivery.
pub(crate) fn hold_back(
    config: &CollectorConfig,
    partitions: &BTreeMap<u32, Partition>,
    stopping: bool,
) -> Verdict {
    let bytes: u64 = partitions.values().map(Partition::bytes).sum();
    let full = bytes >= config.buffer_bytes_max;
    // Beyond half, nobody takes more than its share, so those with little to read find room for it.
    let scarce = bytes >= config.buffer_bytes_max / 2;
    let share = config.buffer_bytes_max / partitions.len().max(1) as u64;
    // Ranges that were begun are stored only once they are read whole. So they go first where memory is scarce; and where
    // nothing else is held that would make room, one of them goes on beyond the limit.
    let first = partitions.iter().find(|(_, held)| held.wants_its_rest()).map(|(number, _)| *number);
    let stuck = partitions.values().all(|held| held.bytes() == 0 || held.wants_its_rest());
    let pause = |number: u32, held: &Partition| {
        if stopping || held.leave_by.is_some() {
            true
        } else if held.wants_its_rest() {
            full && !(stuck && first == Some(number))
        } else {
            let patient = scarce && (first.is_some() || held.bytes() >= share);
            full || patient || held.found.is_some() || held.is_full(config)
        }
    };
    Verdict {
        bytes,
        pauses: partitions.iter().map(|(number, held)| (*number, pause(*number, held))).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intent::Intent;
    use event_log::{ContentType, Position, Record, Schema};
    use proptest::prelude::*;
    use std::time::Instant;

    const DELIVERY: u64 = 100;

    fn config() -> CollectorConfig {
        CollectorConfig { range_bytes_max: 1000, buffer_bytes_max: 4000, ..CollectorConfig::default() }
    }

    fn partition(found: Option<u64>) -> Partition {
        let metadata = found.map(|last| Intent::new(last, "p".to_owned(), 0, true).to_metadata());
        Partition::new(&Position { offset: 0, metadata: metadata.unwrap_or_default() }).unwrap()
    }

    fn record(offset: u64) -> Record {
        Record {
            offset,
            appended_at_us: 0,
            payload: vec![b'x'; 100].into(),
            events: Some(1),
            schema: Schema::Events,
            content_type: ContentType::Ndjson,
        }
    }

    fn paused(verdict: &Verdict) -> Vec<u32> {
        verdict.pauses.iter().filter(|(_, pause)| *pause).map(|(number, _)| *number).collect()
    }

    proptest! {
        /// Every partition has endless data, some of them a range that was begun; now and then one is stored.
        #[test]
        fn memory_is_bounded_and_ranges_that_were_begun_are_read(
            found in prop::collection::vec(prop::option::weighted(0.5, 0..9u64), 1..20),
            steps in prop::collection::vec((any::<prop::sample::Index>(), prop::bool::weighted(0.05)), 1000),
        ) {
            let (config, now) = (config(), Instant::now());
            let mut partitions: BTreeMap<_, _> = (0..).zip(found.iter().map(|found| partition(*found))).collect();
            let mut offsets = vec![0; found.len()];
            let everyone = (0..found.len()).cycle().take(200 * found.len()).map(|number| (number, true));
            let steps = steps.iter().map(|(index, stores)| (index.index(found.len()), *stores));
            for (number, stores) in steps.chain(everyone) {
                let verdict = hold_back(&config, &partitions, false);
                prop_assert!(verdict.bytes < config.buffer_bytes_max + config.range_bytes_max + DELIVERY, "{}", verdict.bytes);
                let held = partitions.get_mut(&u32::try_from(number).unwrap()).unwrap();
                if !verdict.pauses[number].1 {
                    held.push(vec![record(offsets[number])], now);
                    offsets[number] += 1;
                }
                if stores && held.due(&config, true).is_some() {
                    held.cut(&config, now).unwrap();
                    held.found = None;
                }
            }
            for held in partitions.values() {
                prop_assert!(held.found.is_none(), "a range that was begun was not stored");
            }
        }
    }

    #[test]
    fn beyond_half_who_has_its_share_waits_for_the_others() {
        let (config, now) = (config(), Instant::now());
        let mut partitions: BTreeMap<_, _> = (0..5).map(|number| (number, partition(None))).collect();
        let take = |partitions: &mut BTreeMap<u32, Partition>, number: u32, messages: u64| {
            partitions.get_mut(&number).unwrap().push((0..messages).map(record).collect(), now);
        };
        take(&mut partitions, 0, 9);
        take(&mut partitions, 1, 9);
        assert_eq!(paused(&hold_back(&config, &partitions, false)), Vec::<u32>::new());
        take(&mut partitions, 2, 7);
        assert_eq!(paused(&hold_back(&config, &partitions, false)), [0, 1]);
        take(&mut partitions, 3, 15);
        assert_eq!(paused(&hold_back(&config, &partitions, false)), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn nothing_more_comes_where_nothing_more_is_taken() {
        let (config, now) = (config(), Instant::now());
        let mut leaving = partition(None);
        leaving.leave(now);
        let mut whole = partition(Some(0));
        whole.push(vec![record(0)], now);
        let partitions =
            BTreeMap::from([(0, leaving), (1, whole), (2, partition(Some(5))), (3, partition(None))]);
        assert_eq!(paused(&hold_back(&config, &partitions, false)), [0, 1]);
        assert_eq!(paused(&hold_back(&config, &partitions, true)), [0, 1, 2, 3]);
    }
}
