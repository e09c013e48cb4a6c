//! What can be set about Kafka, with the reasons for the defaults. How it becomes options of librdkafka is
//! `options.rs`; what brokers and topics must look like is `topics.rs`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

use super::options;
use crate::{DEAD_LETTERS_TOPIC, EVENTS_TOPIC, PAYLOAD_BYTES_MAX, Secret};

/// Kafka's limit for names of topics.
const TOPIC_BYTES_MAX: usize = 249;
/// A created topic of more is a mistake: each partition costs every broker files and memory.
const PARTITIONS_MAX: u32 = 1000;
/// Below that a message would hold less than some tens of events.
const MESSAGE_BYTES_MIN: usize = 16 << 10;

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

type Mistakes = Vec<(&'static str, String)>;

fn require(wrong: &mut Mistakes, holds: bool, field: &'static str, reason: &str) {
    if !holds {
        wrong.push((field, reason.to_owned()));
    }
}

impl KafkaConfig {
    /// All that is wrong, as field and reason. Empty: nothing is. Reads no file and asks no broker.
    pub fn check(&self) -> Vec<(&'static str, String)> {
        let mut wrong = Vec::new();
        self.check_topics(&mut wrong);
        self.security.check(&mut wrong);
        self.producer.check(self.message_bytes_max, &mut wrong);
        self.consumer.check(&mut wrong);
        wrong.extend(options::check(&self.properties).into_iter().map(|reason| ("properties", reason)));
        wrong
    }

    fn check_topics(&self, wrong: &mut Mistakes) {
        let broker = |address: &str| {
            let (host, port) = address.trim().rsplit_once(':').unwrap_or_default();
            // An URL, or user and password before the host, would be mistaken for a name and end up in logs.
            !host.is_empty() && !host.contains(['/', '@']) && port.parse::<u16>().is_ok()
        };
        require(
            wrong,
            self.brokers.split(',').all(broker),
            "brokers",
            "must be host:port, separated by commas",
        );
        require(wrong, is_topic(&self.topic), "topic", TOPIC_RULE);
        require(wrong, is_topic(&self.dead_letters_topic), "dead_letters_topic", TOPIC_RULE);
        let apart = self.topic != self.dead_letters_topic;
        require(wrong, apart, "dead_letters_topic", "must be another than topic");
        let named = !self.client_id.is_empty() && !self.client_id.chars().any(char::is_control);
        require(wrong, named, "client_id", "must not be empty, nor contain control characters");
        let partitions = (1..=PARTITIONS_MAX).contains(&self.partitions);
        require(wrong, partitions, "partitions", "must be 1 to 1000");
        require(wrong, self.replication <= 100, "replication", "must be at most 100");
        let some = self.replication == 0 || self.min_insync_replicas <= self.replication;
        require(wrong, some, "min_insync_replicas", "must not exceed replication");
        require(wrong, (1..=87_600).contains(&self.retention_hours), "retention_hours", "must be 1 to 87600");
        let size = (MESSAGE_BYTES_MIN..=PAYLOAD_BYTES_MAX).contains(&self.message_bytes_max);
        require(wrong, size, "message_bytes_max", "must be 16 KiB (16384) to 16 MiB (16777216)");
    }
}

const TOPIC_RULE: &str = "must be 1 to 249 letters, digits, '.', '_' and '-'";

fn is_topic(name: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=TOPIC_BYTES_MAX).contains(&name.len()) && name.bytes().all(legal) && name != "." && name != ".."
}

impl SecurityConfig {
    fn check(&self, wrong: &mut Mistakes) {
        let (tls, sasl) = (self.protocol.is_tls(), self.protocol.is_sasl());
        let without = "has no effect without protocol tls or sasl_tls";
        require(wrong, tls || self.ca_file.is_none(), "security.ca_file", without);
        require(wrong, tls || self.certificate_file.is_none(), "security.certificate_file", without);
        require(wrong, tls || self.key_file.is_none(), "security.key_file", without);
        let pair = self.certificate_file.is_some() == self.key_file.is_some();
        require(wrong, pair, "security.key_file", "certificate_file and key_file need each other");
        let key = self.key_password.is_empty() || self.key_file.is_some();
        require(wrong, key, "security.key_password", "has no effect without key_file");
        let without = "has no effect without protocol sasl_plaintext or sasl_tls";
        require(wrong, sasl || self.username.is_empty(), "security.username", without);
        require(wrong, sasl || self.password.is_empty(), "security.password", without);
        require(wrong, !sasl || !self.username.is_empty(), "security.username", "is missing");
        require(wrong, !sasl || !self.password.is_empty(), "security.password", "is missing");
    }
}

impl ProducerConfig {
    fn check(&self, message_bytes_max: usize, wrong: &mut Mistakes) {
        require(wrong, self.linger_ms <= 1000, "producer.linger_ms", "must be at most 1000");
        let batch = (1..=message_bytes_max).contains(&self.batch_bytes_max);
        require(wrong, batch, "producer.batch_bytes_max", "must be 1 to message_bytes_max");
        let messages = (1..=10_000_000).contains(&self.queue_messages_max);
        require(wrong, messages, "producer.queue_messages_max", "must be 1 to 10000000");
        // librdkafka counts KiB, up to i32.
        let least = (1 << 20).max(2 * message_bytes_max as u64);
        let bytes = (least..=1 << 40).contains(&self.queue_bytes_max);
        let rule = "must be 1 MiB (1048576), and twice message_bytes_max, to 1 TiB (1099511627776)";
        require(wrong, bytes, "producer.queue_bytes_max", rule);
        require(wrong, self.close_ms_max <= 600_000, "producer.close_ms_max", "must be at most 600000");
    }
}

impl ConsumerConfig {
    fn check(&self, wrong: &mut Mistakes) {
        let legal = |name: &String| is_topic(name);
        let instance = self.group_instance.as_ref().is_none_or(legal);
        require(wrong, instance, "consumer.group_instance", TOPIC_RULE);
        let session = (6000..=300_000).contains(&self.session_ms);
        require(wrong, session, "consumer.session_ms", "must be 6000 to 300000");
        let poll = (self.session_ms..=86_400_000).contains(&self.poll_ms_max);
        require(wrong, poll, "consumer.poll_ms_max", "must be session_ms to 86400000");
        let messages = (1..=100_000).contains(&self.fetch_messages_max);
        require(wrong, messages, "consumer.fetch_messages_max", "must be 1 to 100000");
        let bytes = (1..=1 << 30).contains(&self.fetch_bytes_max);
        require(wrong, bytes, "consumer.fetch_bytes_max", "must be 1 to 1073741824");
        let wait = (1..=10_000).contains(&self.fetch_wait_ms_max);
        require(wrong, wait, "consumer.fetch_wait_ms_max", "must be 1 to 10000");
        let queue = (1 << 20..=1 << 31).contains(&self.queue_bytes_max);
        require(wrong, queue, "consumer.queue_bytes_max", "must be 1 MiB (1048576) to 2 GiB (2147483648)");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(config: &KafkaConfig) -> Vec<&'static str> {
        config.check().into_iter().map(|(field, _)| field).collect()
    }

    #[test]
    fn the_default_is_right() {
        assert_eq!(KafkaConfig::default().check(), []);
    }

    #[test]
    fn everything_wrong_is_said_at_once() {
        let config = KafkaConfig {
            brokers: "kafka://a:1".to_owned(),
            topic: "a:b".to_owned(),
            dead_letters_topic: "..".to_owned(),
            client_id: String::new(),
            create_topics: false,
            partitions: 0,
            replication: 1,
            min_insync_replicas: 2,
            retention_hours: 0,
            message_bytes_max: 1,
            security: SecurityConfig {
                protocol: Protocol::SaslPlaintext,
                ca_file: Some("ca.pem".into()),
                key_file: Some("key.pem".into()),
                ..SecurityConfig::default()
            },
            producer: ProducerConfig {
                linger_ms: 1001,
                batch_bytes_max: 2,
                queue_messages_max: 0,
                queue_bytes_max: 0,
                close_ms_max: 600_001,
                ..ProducerConfig::default()
            },
            consumer: ConsumerConfig {
                group_instance: Some("a b".to_owned()),
                session_ms: 1,
                poll_ms_max: 0,
                fetch_messages_max: 0,
                fetch_bytes_max: 0,
                fetch_wait_ms_max: 0,
                queue_bytes_max: 0,
            },
            properties: [("acks", "1"), ("linger", "x"), ("ssl.keystore.password", "open sesame")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
        };
        let all = "brokers topic dead_letters_topic client_id partitions min_insync_replicas retention_hours \
            message_bytes_max security.ca_file security.key_file security.key_file security.username \
            security.password producer.linger_ms producer.batch_bytes_max producer.queue_messages_max \
            producer.queue_bytes_max producer.close_ms_max consumer.group_instance consumer.session_ms \
            consumer.poll_ms_max consumer.fetch_messages_max consumer.fetch_bytes_max consumer.fetch_wait_ms_max \
            consumer.queue_bytes_max properties properties properties";
        assert_eq!(fields(&config), all.split_whitespace().collect::<Vec<_>>());
        assert!(!format!("{:?}", config.check()).contains("sesame"));
    }

    #[test]
    fn secrets_are_not_shown() {
        let password = Secret::new("open sesame");
        let security = SecurityConfig {
            protocol: Protocol::SaslTls,
            username: "ali".to_owned(),
            key_password: password.clone(),
            key_file: Some("key.pem".into()),
            certificate_file: Some("cert.pem".into()),
            password,
            ..SecurityConfig::default()
        };
        let config = KafkaConfig { security, ..KafkaConfig::default() };
        assert_eq!(config.check(), []);
        let shown = format!("{config:?} {:?}", config.client());
        assert!(!shown.contains("sesame") && shown.contains("[secret]"), "{shown}");
        assert_eq!(config.client().get("sasl.password"), Some("open sesame"));
    }
}
