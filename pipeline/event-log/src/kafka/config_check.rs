//! What is wrong with a configuration of Kafka, all at once. Reads no file and asks no broker.

use super::config::{ConsumerConfig, KafkaConfig, OutboxConfig, ProducerConfig, SecurityConfig};
use super::options;
use crate::PAYLOAD_BYTES_MAX;

/// Kafka's limit for names of topics.
const TOPIC_BYTES_MAX: usize = 249;
/// A created topic of more is a mistake: each partition costs every broker files and memory.
const PARTITIONS_MAX: u32 = 1000;
/// Below that a message would hold less than some tens of events.
const MESSAGE_BYTES_MIN: usize = 16 << 10;

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
        self.outbox.check(&mut wrong);
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

impl OutboxConfig {
    fn check(&self, wrong: &mut Mistakes) {
        for (field, reason) in self.spool("outbox").check() {
            let field = if field == "path" { "outbox.path" } else { "outbox.bytes_max" };
            wrong.push((field, reason));
        }
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
    use std::path::PathBuf;

    use super::*;
    use crate::Secret;
    use crate::kafka::Protocol;

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
            outbox: OutboxConfig { enabled: true, path: PathBuf::new(), bytes_max: 0 },
            properties: [("acks", "1"), ("linger", "x"), ("ssl.keystore.password", "open sesame")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
        };
        let all = "brokers topic dead_letters_topic client_id partitions min_insync_replicas retention_hours \
            message_bytes_max security.ca_file security.key_file security.key_file security.username \
            security.password producer.linger_ms producer.batch_bytes_max producer.queue_messages_max \
            producer.queue_bytes_max producer.close_ms_max consumer.group_instance consumer.session_ms \
            consumer.poll_ms_max consumer.fetch_messages_max consumer.fetch_bytes_max consumer.fetch_wait_ms_max \
            consumer.queue_bytes_max outbox.path outbox.bytes_max properties properties properties";
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
