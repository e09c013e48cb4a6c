//! What can be set about Kafka, with the reasons for the defaults. What is wrong with a
//! configuration is `config_check.rs`; how it becomes options of librdkafka is `options.rs`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

use crate::spool::SpoolConfig;
use crate::{DEAD_LETTERS_TOPIC, EVENTS_TOPIC, Secret};

/// Configuration of Kafka as the event log. Shortener and collector should use the same.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KafkaConfig {
    /// Brokers to begin with, `host:port`, separated by commas; the others are learnt from them. Default
    /// `127.0.0.1:9092`. Name two or three, so that one may be down.
    pub brokers: String,
    /// Topic of events; part of dedup tokens. Default `hoplog.events.v1`. Never give a topic's name to a new one after
    /// it was deleted: its offsets begin anew.
    pub topic: String,
    /// Topic of dead letters. Default `hoplog.dead-letters.v1`.
    pub dead_letters_topic: String,
    /// What the process calls itself towards the brokers: in their logs, quotas and metrics. Default `hoplog`.
    pub client_id: String,
    /// Whether missing topics are created at the start. Default true; false where topics are made by other means.
    pub create_topics: bool,
    /// Partitions of a topic that is created, 1 to 1000. Default 12: divides evenly among 1, 2, 3, 4, 6 and 12 collectors.
    pub partitions: u32,
    /// Copies of each partition of a topic that is created. Default 0: as the brokers have it set. 3 for production.
    pub replication: u16,
    /// Copies that must have a message before it counts as written, for a topic that is created. Default 0: as the
    /// brokers have it set. 2 with three copies: survives the loss of a broker without refusing messages.
    pub min_insync_replicas: u16,
    /// How long a topic that is created keeps messages, hours, 1 to 87600. Default 168. It is the longest that the
    /// collector may be away; what is deleted before it was collected is lost.
    pub retention_hours: u32,
    /// Largest payload of one message, bytes, 16 KiB to 16 MiB. Default 1000000: fits the brokers' own default of
    /// 1048588 with what is around a payload. A topic that is created allows it; another must.
    pub message_bytes_max: usize,
    /// How the brokers are spoken to.
    pub security: SecurityConfig,
    /// How messages are sent.
    pub producer: ProducerConfig,
    /// How messages are fetched, and the group.
    pub consumer: ConsumerConfig,
    /// Whether events reach Kafka by way of this machine's disk.
    pub outbox: OutboxConfig,
    /// Further options of librdkafka, by its names. Default none. Those that have a field here, and those that
    /// exactly-once rests on, are refused.
    pub properties: BTreeMap<String, String>,
}

/// How the brokers are spoken to.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SecurityConfig {
    /// Default `plaintext`; anything that leaves the machine or its private network should use `sasl_tls` or `tls`.
    pub protocol: Protocol,
    /// File (PEM) of the certificate authorities that brokers are checked against. Default: those of the system.
    pub ca_file: Option<PathBuf>,
    /// File (PEM) of this client's certificate chain, where brokers ask for one. Default none.
    pub certificate_file: Option<PathBuf>,
    /// File (PEM) of the key for it. Default none.
    pub key_file: Option<PathBuf>,
    /// Password of the key file. Default none.
    pub key_password: Secret,
    /// How user and password are proved, with `sasl_…`. Default `SCRAM-SHA-512`.
    pub mechanism: Mechanism,
    /// The user. Default none; needed with `sasl_…`.
    pub username: String,
    /// The user's password. Default none; needed with `sasl_…`.
    pub password: Secret,
}

/// What a connection is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// Nothing is encrypted, nobody is known.
    #[default]
    Plaintext,
    /// Encrypted; the broker is known by its certificate.
    Tls,
    /// User and password, not encrypted. With `PLAIN` the password can be read on the network.
    SaslPlaintext,
    /// Encrypted, with user and password.
    SaslTls,
}

impl Protocol {
    /// Whether it is encrypted.
    pub fn is_tls(self) -> bool {
        matches!(self, Self::Tls | Self::SaslTls)
    }

    /// Whether there are user and password.
    pub fn is_sasl(self) -> bool {
        matches!(self, Self::SaslPlaintext | Self::SaslTls)
    }
}

/// How user and password are proved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
pub enum Mechanism {
    /// The password itself is sent.
    #[serde(rename = "PLAIN")]
    Plain,
    /// The password never leaves the process.
    #[serde(rename = "SCRAM-SHA-256")]
    ScramSha256,
    /// The password never leaves the process.
    #[default]
    #[serde(rename = "SCRAM-SHA-512")]
    ScramSha512,
}

/// How messages are sent.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProducerConfig {
    /// Default `all`. See [`Acks`].
    pub acks: Acks,
    /// Default `lz4`: about a fifth of the size for little time. `zstd` halves that once more at several times the cost.
    pub compression: Compression,
    /// How long a message waits for others to share a request with, milliseconds, 0 to 1000. Default 5; more for fewer,
    /// larger requests.
    pub linger_ms: u32,
    /// Bytes of messages in one request and partition, before compression. Default 1000000. At most
    /// `message_bytes_max`: the brokers' limit is for all of it.
    pub batch_bytes_max: usize,
    /// Messages handed to the client and not yet delivered, 1 to 10000000. Default 10000. What is beyond waits in
    /// `append`.
    pub queue_messages_max: u32,
    /// Bytes of such messages, at least 1 MiB and twice `message_bytes_max`. Default 64 MiB.
    pub queue_bytes_max: u64,
    /// How long the end of a process waits for messages on their way, milliseconds. Default 10000. What is not
    /// delivered by then is in doubt, and counted as such.
    pub close_ms_max: u64,
}

/// What counts as written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Acks {
    /// All copies in sync have it (the topic's `min.insync.replicas` says how many that must be). The only choice
    /// that is idempotent: a message is tried until it is there, and is there once.
    #[default]
    All,
    /// The leader has it; lost if the leader is lost then. Tried once, since a second try could be a second event:
    /// what fails is lost and counted.
    One,
    /// Nobody is asked, and what is lost on the way is not noticed. For load tests.
    None,
}

/// Compression of batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)] // The names say it.
pub enum Compression {
    None,
    Gzip,
    Snappy,
    #[default]
    Lz4,
    Zstd,
}

/// How messages are fetched, and the group.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ConsumerConfig {
    /// Name of this member, kept over restarts: a restart within `session_ms` then moves no partition. Default none.
    /// Must be unique in the group: the second of a name fences the first.
    pub group_instance: Option<String>,
    /// Silence after which a member counts as dead, milliseconds, 6000 to 300000 (the brokers' limits may be
    /// narrower). Default 45000; lower moves partitions earlier from a killed collector, and from one that only stalls.
    pub session_ms: u32,
    /// Longest time without a poll until the member gives up its partitions, milliseconds, at least `session_ms`.
    /// Default 300000.
    pub poll_ms_max: u32,
    /// Messages after which a batch of records ends, 1 to 100000. Default 500.
    pub fetch_messages_max: u32,
    /// Bytes after which a batch of records ends; exceeded by at most one message. Default 8 MiB.
    pub fetch_bytes_max: u64,
    /// How long a broker waits for messages when there are none, milliseconds, 1 to 10000. Default 500. Costs no latency:
    /// a broker answers as soon as there is one.
    pub fetch_wait_ms_max: u32,
    /// Bytes that are fetched ahead, of all partitions, at least 1 MiB. Default 64 MiB.
    pub queue_bytes_max: u64,
}

/// A spool on this machine's disk between `append` and Kafka: an event is safe as soon as it is there, and Kafka may be away
/// for as long as there is room. Costs an `fsync` an append and a transaction a batch.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OutboxConfig {
    /// Default false: events that wait for Kafka do so in memory, which is gone with the process.
    pub enabled: bool,
    /// Directory, of one producing process alone and kept over its restarts. Default `.hoplog/outbox`.
    pub path: PathBuf,
    /// Most bytes of messages on disk, at least 64 MiB. Default 2 GiB: an hour and a half of 1,000 events/s.
    pub bytes_max: u64,
}

impl Default for OutboxConfig {
    fn default() -> Self {
        Self { enabled: false, path: PathBuf::from(".hoplog/outbox"), bytes_max: 2 << 30 }
    }
}

impl Default for KafkaConfig {
    fn default() -> Self {
        Self {
            brokers: "127.0.0.1:9092".to_owned(),
            topic: EVENTS_TOPIC.to_owned(),
            dead_letters_topic: DEAD_LETTERS_TOPIC.to_owned(),
            client_id: "hoplog".to_owned(),
            create_topics: true,
            partitions: 12,
            replication: 0,
            min_insync_replicas: 0,
            retention_hours: 168,
            message_bytes_max: 1_000_000,
            security: SecurityConfig::default(),
            producer: ProducerConfig::default(),
            consumer: ConsumerConfig::default(),
            outbox: OutboxConfig::default(),
            properties: BTreeMap::new(),
        }
    }
}

impl Default for ProducerConfig {
    fn default() -> Self {
        Self {
            acks: Acks::All,
            compression: Compression::Lz4,
            linger_ms: 5,
            batch_bytes_max: 1_000_000,
            queue_messages_max: 10_000,
            queue_bytes_max: 64 << 20,
            close_ms_max: 10_000,
        }
    }
}

impl Default for ConsumerConfig {
    fn default() -> Self {
        Self {
            group_instance: None,
            session_ms: 45_000,
            poll_ms_max: 300_000,
            fetch_messages_max: 500,
            fetch_bytes_max: 8 << 20,
            fetch_wait_ms_max: 500,
            queue_bytes_max: 64 << 20,
        }
    }
}

impl OutboxConfig {
    /// The spool, for a topic.
    pub(super) fn spool(&self, topic: &str) -> SpoolConfig {
        let Self { path, bytes_max, .. } = self.clone();
        // What Kafka has need not be kept.
        SpoolConfig { path, bytes_max, topic: topic.to_owned(), retain_bytes: 0, ..SpoolConfig::default() }
    }
}
