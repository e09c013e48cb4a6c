//! Partitions come and go: what is done with each thing that the consumer says, and how a partition is given away. The
//! loop around it is in [`crate::consume`].

use std::time::{Duration, Instant};

use event_log::{Delivery, Position, Record};

use crate::consume::Run;
use crate::failure::Class;
use crate::health::Who;
use crate::metrics::PartitionLabel;
use crate::partition::Partition;

impl Run {
    pub(crate) fn delivered(&mut self, delivery: Delivery) {
        match delivery {
            Delivery::Idle => (),
            Delivery::Assigned { partition, position } => self.assigned(partition, &position),
            Delivery::Revoking { partition } => {
                let by = Instant::now() + Duration::from_millis(self.config.revoke_ms_max);
                match self.held.partitions.get_mut(&partition) {
                    Some(held) if held.open.is_some() => held.leave(by),
                    _ => self.give_away(partition),
                }
            }
            Delivery::Revoked { partition } => self.forget(partition),
            Delivery::Records { partition, records } => self.take(partition, records),
        }
    }

    fn assigned(&mut self, partition: u32, position: &Position) {
        self.forget(partition);
        if self.held.stop_by.is_some() {
            return;
        }
        match Partition::new(position) {
            Ok(held) => {
                // It may have been paused when we had it last.
                self.consumer.resume(partition);
                if held.found.is_some() {
                    let offset = position.offset;
                    tracing::info!(partition, offset, "an open range was found; it is stored first");
                }
                self.held.partitions.insert(partition, held);
            }
            Err(reason) => self.block(partition, &reason),
        }
    }

    fn take(&mut self, partition: u32, records: Vec<Record>) {
        // What is read too late, or after the partition was lost, is read again by its next owner.
        let stopping = self.held.stop_by.is_some();
        let held = self.held.partitions.get_mut(&partition);
        let Some(held) = held.filter(|held| !stopping && held.leave_by.is_none()) else { return };
        let metrics = &self.store.metrics;
        metrics.consumed_messages.inc_by(records.len() as u64);
        metrics.consumed_bytes.inc_by(held.push(records, Instant::now()));
    }

    pub(crate) fn give_away_overdue(&mut self, now: Instant) {
        let partitions = self.held.partitions.iter();
        let late = partitions.filter(|(_, held)| held.leave_by.is_some_and(|by| by <= now));
        for partition in late.map(|(number, _)| *number).collect::<Vec<_>>() {
            tracing::warn!(partition, "given away with a range half done; its next owner finishes it");
            self.give_away(partition);
        }
    }

    pub(crate) fn give_away(&mut self, partition: u32) {
        self.forget(partition);
        self.consumer.release(partition);
    }

    /// Drops what is held of a partition. What is being inserted may still arrive: it has its token.
    pub(crate) fn forget(&mut self, partition: u32) {
        if let Some(open) = self.held.partitions.remove(&partition).and_then(|held| held.open) {
            open.task.abort();
        }
        let metrics = &self.store.metrics;
        metrics.gate(Who::Partition(partition), None);
        metrics.health.end(Who::Partition(partition));
        // Whoever has it now says how far it is behind.
        metrics.lag_messages.remove(&PartitionLabel { partition });
        metrics.lag_s.remove(&PartitionLabel { partition });
        self.count_open();
    }

    /// An open range that can't be continued: going on would store events twice, or not at all. Other partitions go on.
    pub(crate) fn block(&mut self, partition: u32, reason: &str) {
        self.forget(partition);
        self.consumer.pause(partition);
        let reason = format!("the open range can't be continued: {reason}");
        tracing::error!(partition, reason, "nothing of this partition can be stored; nothing is lost");
        let metrics = &self.store.metrics;
        metrics.failed("consume", Class::Fatal);
        metrics.gate(Who::Partition(partition), Some(reason));
        metrics.health.begin(Who::Partition(partition));
    }
}
