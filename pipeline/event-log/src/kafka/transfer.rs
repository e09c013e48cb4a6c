//! Messages of an outbox into Kafka, exactly once: a batch and the outbox's next offset are one transaction, so Kafka has
//! both or none. Everything here blocks. After any error the session is thrown away; a new one finds out what is so.

use std::time::{Duration, Instant};

use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};

use super::client::{Failure, Kafka, Reports, Role};
use crate::Record;

/// After that a transaction of a dead process is aborted: until then, readers of its partitions wait.
const TRANSACTION_MS_MAX: &str = "15000";
/// A request without an answer for that long is repeated, within the transaction.
const REQUEST_MS_MAX: &str = "10000";
/// For one answer of the coordinator, which may first have to end another's transaction. The end of a process may have to
/// wait for it.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// Between two tries to hand over a message where there is no room.
const ROOM_WAIT: Duration = Duration::from_millis(10);
/// The offsets of an outbox are kept as those of a group in this partition of the topic, which each topic has.
const PARTITION: i32 = 0;

/// A transactional producer, and the position it keeps. The newest of a name fences the others off.
pub(super) struct Session {
    producer: BaseProducer<Reports>,
    /// Never joins its group: gives it a name.
    group: BaseConsumer<Reports>,
    topic: String,
}

impl Session {
    /// Ends what a session of the same name left behind.
    pub(super) fn begin(kafka: &Kafka, name: &str) -> Result<Self, Failure> {
        let name = format!("hoplog-outbox-{name}");
        let mut config = kafka.config.producer_client();
        config
            .set("transactional.id", &name)
            // Whatever the configuration says of producers that send directly.
            .set("acks", "all")
            .set("enable.idempotence", "true")
            .set("max.in.flight", "5")
            .set("retries", i32::MAX.to_string())
            .set("transaction.timeout.ms", TRANSACTION_MS_MAX)
            // Must be shorter.
            .set("socket.timeout.ms", REQUEST_MS_MAX)
            .set("message.timeout.ms", TRANSACTION_MS_MAX);
        let reports = || Reports::new(Role::Producer, &kafka.metrics);
        let producer =
            BaseProducer::from_config_and_context(&config, reports()).map_err(|error| plain(&error))?;
        let mut config = kafka.config.consumer_client(&name);
        config.remove("group.instance.id");
        config.set("statistics.interval.ms", "0");
        let group =
            BaseConsumer::from_config_and_context(&config, reports()).map_err(|error| plain(&error))?;
        let session = Self { producer, group, topic: kafka.config.topic.clone() };
        session.told(session.producer.init_transactions(ANSWER_MAX))?;
        Ok(session)
    }

    /// The outbox's next offset, as Kafka has it.
    pub(super) fn position(&self) -> Result<Option<u64>, Failure> {
        let mut asked = TopicPartitionList::with_capacity(1);
        asked.add_partition(&self.topic, PARTITION);
        let found = self.told(self.group.committed_offsets(asked, ANSWER_MAX))?;
        let element = found.find_partition(&self.topic, PARTITION);
        Ok(element.and_then(|element| match element.offset() {
            Offset::Offset(offset) => u64::try_from(offset).ok(),
            _ => None,
        }))
    }

    /// Takes in what the clients say while nothing is to be done; they would keep it all. Does not block.
    pub(super) fn listen(&self) {
        self.producer.poll(Duration::ZERO);
        // It reads nothing, so this can only be an error, which was reported by then.
        let _ = self.group.poll(Duration::ZERO);
    }

    /// All of it, or nothing.
    pub(super) fn transfer(&self, records: &[Record]) -> Result<(), Failure> {
        let Some(last) = records.last() else { return Ok(()) };
        self.open()?;
        self.send(records)?;
        self.note(last.offset + 1)?;
        self.commit()
    }

    fn open(&self) -> Result<(), Failure> {
        self.told(self.producer.begin_transaction())
    }

    fn send(&self, records: &[Record]) -> Result<(), Failure> {
        for record in records {
            let events = record.events.unwrap_or(0).to_string();
            let headers = OwnedHeaders::new_with_capacity(3)
                .insert(Header { key: "content-type", value: Some(record.content_type.as_str()) })
                .insert(Header { key: "schema", value: Some(record.schema.as_str()) })
                .insert(Header { key: "events", value: Some(&events) });
            let mut message: BaseRecord<'_, (), [u8]> = BaseRecord::to(&self.topic)
                .payload(&record.payload[..])
                .timestamp(record.appended_at_us / 1000)
                .headers(headers);
            let started = Instant::now();
            while let Err((error, unsent)) = self.producer.send(message) {
                let full = error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull);
                if !full || started.elapsed() > ANSWER_MAX {
                    return self.told(Err(error));
                }
                self.producer.poll(ROOM_WAIT);
                message = unsent;
            }
        }
        Ok(())
    }

    fn note(&self, next: u64) -> Result<(), Failure> {
        let mut offsets = TopicPartitionList::with_capacity(1);
        let next = Offset::Offset(i64::try_from(next).unwrap_or(i64::MAX));
        self.told(offsets.add_partition_offset(&self.topic, PARTITION, next))?;
        let group = self.group.group_metadata();
        let group = group.ok_or_else(|| plain(&KafkaError::Subscription("no group".to_owned())))?;
        self.told(self.producer.send_offsets_to_transaction(&offsets, &group, ANSWER_MAX))
    }

    fn commit(&self) -> Result<(), Failure> {
        self.told(self.producer.commit_transaction(ANSWER_MAX))
    }

    /// The result, with what was said of connections meanwhile.
    fn told<T>(&self, result: KafkaResult<T>) -> Result<T, Failure> {
        result.map_err(|error| {
            self.producer.poll(ROOM_WAIT);
            let refusal = self.producer.context().refusal();
            refusal.unwrap_or_else(|| plain(&error))
        })
    }
}

impl Failure {
    /// Whether another session of the same name has taken over.
    pub(super) fn is_fenced(&self) -> bool {
        use RDKafkaErrorCode as E;
        matches!(self.code, E::Fenced | E::ProducerFenced | E::InvalidProducerEpoch)
    }
}

fn plain(error: &KafkaError) -> Failure {
    let code = match error {
        KafkaError::Transaction(error) => error.code(),
        error => error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown),
    };
    Failure { code, reason: error.to_string() }
}

#[cfg(test)]
mod tests;
