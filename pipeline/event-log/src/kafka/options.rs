//! From our configuration to librdkafka's options: what the promises rest on is set here and can't be overridden.
//! Decides nothing at run time.

use std::collections::BTreeMap;
use std::path::Path;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;

use super::config::{Acks, Compression, KafkaConfig, Mechanism, Protocol, SecurityConfig};

/// What is around the payload of a message that comes alone in its batch: header of the batch (61 bytes), of the record
/// (up to 36), our headers (below 200), and room for those of a transaction.
pub(super) const FRAMING_BYTES_MAX: usize = 1024;
/// How often librdkafka reports its statistics, milliseconds: finer than any scrape; a report costs some 100 µs.
const STATISTICS_MS: &str = "1000";
/// How long a message without idempotence may be on its way, milliseconds: librdkafka's own default.
const UNSURE_MESSAGE_MS: &str = "300000";
/// A dead connection is noticed after that long, milliseconds; librdkafka's 60 s would hold up a batch for that time
/// where packets vanish. A broker that only is slow gets as long as it takes: the request is repeated, once.
const SOCKET_MS: &str = "30000";
/// The longest pause between attempts to connect, milliseconds: librdkafka's 10 s is longer than most restarts.
const RECONNECT_MS_MAX: &str = "2000";
/// Room for the framing of a fetch above its size, bytes, as librdkafka asks for.
const RECEIVE_SLACK_BYTES: u64 = 1 << 20;
/// Pause of a partition's fetcher whose queue is full, milliseconds. The default of 1000 stalls a consumer that is
/// slower than the fetcher.
const FETCH_BACKOFF_MS: &str = "10";

/// Options that are refused in `properties`: they have a field of their own, or the promises rest on them.
const OURS: [&str; 64] = [
    "acks",
    "allow.auto.create.topics",
    "auto.commit.enable",
    "auto.commit.interval.ms",
    "auto.offset.reset",
    "batch.num.messages",
    "batch.size",
    "bootstrap.servers",
    "client.id",
    "compression.codec",
    "compression.type",
    "delivery.report.only.error",
    "delivery.timeout.ms",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.gapless.guarantee",
    "enable.idempotence",
    "enable.partition.eof",
    "enable.ssl.certificate.verification",
    "enabled_events",
    "fetch.max.bytes",
    "fetch.message.max.bytes",
    "fetch.queue.backoff.ms",
    "fetch.wait.max.ms",
    "group.id",
    "group.instance.id",
    "group.protocol",
    "group.remote.assignor",
    "heartbeat.interval.ms",
    "isolation.level",
    "linger.ms",
    "log.connection.close",
    "log.queue",
    "log_level",
    "max.in.flight",
    "max.in.flight.requests.per.connection",
    "max.partition.fetch.bytes",
    "max.poll.interval.ms",
    "message.max.bytes",
    "message.send.max.retries",
    "message.timeout.ms",
    "metadata.broker.list",
    "offset.store.method",
    "partition.assignment.strategy",
    "partitioner",
    "plugin.library.paths",
    "produce.offset.report",
    "queue.buffering.max.kbytes",
    "queue.buffering.max.messages",
    "queue.buffering.max.ms",
    "queued.max.messages.kbytes",
    "queuing.strategy",
    "receive.message.max.bytes",
    "request.required.acks",
    "retries",
    "security.protocol",
    "session.timeout.ms",
    "ssl.ca.location",
    "ssl.certificate.location",
    "ssl.key.location",
    "statistics.interval.ms",
    "sticky.partitioning.linger.ms",
    "topic.metadata.propagation.max.ms",
    "transactional.id",
];
/// Parts of names that are refused: secrets, which have a field that doesn't show them, other ways to log in, and what
/// replaces the brokers.
const OURS_PARTLY: [&str; 6] = ["password", "secret", ".pem", "sasl.", "test.", "_cb"];

/// What is wrong with further options. Values are not repeated: nobody knows what somebody puts there.
pub(super) fn check(properties: &BTreeMap<String, String>) -> Vec<String> {
    let mut wrong = Vec::new();
    for (name, value) in properties {
        if OURS.contains(&name.as_str()) || OURS_PARTLY.iter().any(|part| name.contains(part)) {
            wrong.push(format!("{name} can't be set: it has a field of its own, or a promise rests on it"));
        } else if ClientConfig::new().set(name, value).create_native_config().is_err() {
            wrong.push(format!("{name} is no option of librdkafka, or its value is none"));
        }
    }
    wrong
}

impl KafkaConfig {
    /// What all clients have in common; enough for metadata, watermarks and administration.
    pub(super) fn client(&self) -> ClientConfig {
        let mut client = ClientConfig::new();
        for (name, value) in &self.properties {
            client.set(name, value);
        }
        client
            .set("bootstrap.servers", &self.brokers)
            .set("client.id", &self.client_id)
            .set("reconnect.backoff.max.ms", self.or("reconnect.backoff.max.ms", RECONNECT_MS_MAX))
            .set("socket.timeout.ms", self.or("socket.timeout.ms", SOCKET_MS))
            .set("socket.keepalive.enable", self.or("socket.keepalive.enable", "true"))
            // A mistyped topic must not come into being by being asked for.
            .set("allow.auto.create.topics", "false")
            .set("statistics.interval.ms", STATISTICS_MS)
            .set("message.max.bytes", (self.message_bytes_max + FRAMING_BYTES_MAX).to_string())
            .set_log_level(RDKafkaLogLevel::Info);
        self.security.set(&mut client);
        client
    }

    /// A producer's.
    pub(super) fn producer_client(&self) -> ClientConfig {
        let producer = &self.producer;
        let mut client = self.client();
        client
            .set("compression.type", compression(producer.compression))
            .set("linger.ms", producer.linger_ms.to_string())
            // Longer than the linger, or a batch would be spread over partitions while it is collected.
            .set("sticky.partitioning.linger.ms", (2 * producer.linger_ms).max(10).to_string())
            .set("batch.size", producer.batch_bytes_max.to_string())
            .set("queue.buffering.max.messages", producer.queue_messages_max.to_string())
            .set("queue.buffering.max.kbytes", (producer.queue_bytes_max / 1024).to_string());
        match producer.acks {
            Acks::All => {
                client
                    .set("acks", "all")
                    .set("enable.idempotence", "true")
                    // For ever: whoever gives up a message that may be there has to lose it or to send it twice.
                    .set("message.timeout.ms", "0");
            }
            Acks::One | Acks::None => {
                client
                    .set("acks", if producer.acks == Acks::One { "1" } else { "0" })
                    .set("enable.idempotence", "false")
                    // A second try without idempotence may be a second event. What certainly never arrived is
                    // tried again by librdkafka nevertheless.
                    .set("retries", "0")
                    // Keeps the order.
                    .set("max.in.flight", "1")
                    .set("message.timeout.ms", UNSURE_MESSAGE_MS);
            }
        }
        client
    }

    /// A group's member. Positions are committed by hand only; where a committed one is not in the log any more, that is
    /// an error, and never a silent jump.
    pub(super) fn consumer_client(&self, group: &str) -> ClientConfig {
        let consumer = &self.consumer;
        let mut client = self.client();
        // librdkafka wants room for a whole request in one answer.
        let least = (self.message_bytes_max + FRAMING_BYTES_MAX) as u64;
        let fetch = consumer.queue_bytes_max.min(consumer.fetch_bytes_max).max(least);
        client
            .set("group.id", group)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "error")
            .set("isolation.level", "read_committed")
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("check.crcs", self.or("check.crcs", "true"))
            .set("session.timeout.ms", consumer.session_ms.to_string())
            // Ten chances to be heard in a session.
            .set("heartbeat.interval.ms", (consumer.session_ms / 10).to_string())
            .set("max.poll.interval.ms", consumer.poll_ms_max.to_string())
            .set("fetch.wait.max.ms", consumer.fetch_wait_ms_max.to_string())
            .set("fetch.max.bytes", fetch.to_string())
            .set("fetch.message.max.bytes", least.max(1 << 20).to_string())
            .set("receive.message.max.bytes", (fetch + RECEIVE_SLACK_BYTES).to_string())
            .set("fetch.queue.backoff.ms", FETCH_BACKOFF_MS)
            .set("queued.max.messages.kbytes", (consumer.queue_bytes_max / 1024).to_string());
        if let Some(instance) = &consumer.group_instance {
            client.set("group.instance.id", instance);
        }
        client
    }

    /// An option that may be overridden.
    fn or<'a>(&'a self, name: &str, default: &'a str) -> &'a str {
        self.properties.get(name).map_or(default, String::as_str)
    }
}

impl SecurityConfig {
    fn set(&self, client: &mut ClientConfig) {
        let protocol = match self.protocol {
            Protocol::Plaintext => "plaintext",
            Protocol::Tls => "ssl",
            Protocol::SaslPlaintext => "sasl_plaintext",
            Protocol::SaslTls => "sasl_ssl",
        };
        client.set("security.protocol", protocol);
        if self.protocol.is_tls() && self.ca_file.is_none() {
            // Where this system keeps them; OpenSSL, built along with us, has no place of its own.
            client.set("ssl.ca.location", "probe");
        }
        let files = [
            ("ssl.ca.location", &self.ca_file),
            ("ssl.certificate.location", &self.certificate_file),
            ("ssl.key.location", &self.key_file),
        ];
        for (name, file) in files {
            if let Some(file) = file.as_deref().and_then(Path::to_str) {
                client.set(name, file);
            }
        }
        if !self.key_password.is_empty() {
            client.set("ssl.key.password", self.key_password.reveal());
        }
        if self.protocol.is_sasl() {
            let mechanism = match self.mechanism {
                Mechanism::Plain => "PLAIN",
                Mechanism::ScramSha256 => "SCRAM-SHA-256",
                Mechanism::ScramSha512 => "SCRAM-SHA-512",
            };
            client
                .set("sasl.mechanism", mechanism)
                .set("sasl.username", &self.username)
                .set("sasl.password", self.password.reveal());
        }
    }
}

fn compression(compression: Compression) -> &'static str {
    match compression {
        Compression::None => "none",
        Compression::Gzip => "gzip",
        Compression::Snappy => "snappy",
        Compression::Lz4 => "lz4",
        Compression::Zstd => "zstd",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn librdkafka_takes_what_is_set() {
        for acks in [Acks::All, Acks::One, Acks::None] {
            for compression in [
                Compression::None,
                Compression::Gzip,
                Compression::Snappy,
                Compression::Lz4,
                Compression::Zstd,
            ] {
                let mut config = KafkaConfig::default();
                (config.producer.acks, config.producer.compression) = (acks, compression);
                let producer: rdkafka::producer::BaseProducer = config.producer_client().create().unwrap();
                drop(producer);
            }
        }
        let mut config = KafkaConfig::default();
        config.consumer.group_instance = Some("one".to_owned());
        let consumer: rdkafka::consumer::BaseConsumer = config.consumer_client("group").create().unwrap();
        drop(consumer);
        config.message_bytes_max = crate::PAYLOAD_BYTES_MAX;
        config.producer.batch_bytes_max = crate::PAYLOAD_BYTES_MAX;
        let consumer: rdkafka::consumer::BaseConsumer = config.consumer_client("group").create().unwrap();
        drop(consumer);
    }

    #[test]
    fn what_the_promises_rest_on_cannot_be_overridden() {
        let all = |text: &str| -> BTreeMap<_, _> {
            text.split_whitespace().map(|name| (name.to_owned(), "1".to_owned())).collect()
        };
        let refused = all(
            "enable.auto.commit auto.offset.reset isolation.level enable.idempotence message.timeout.ms \
            delivery.timeout.ms partition.assignment.strategy acks request.required.acks retries \
            max.in.flight.requests.per.connection transactional.id test.mock.num.brokers sasl.password",
        );
        assert_eq!(check(&refused).len(), refused.len());
        let fine = all("debug client.rack topic.metadata.refresh.interval.ms socket.send.buffer.bytes");
        assert_eq!(check(&fine).len(), 1, "`debug` has no such value: {:?}", check(&fine));
    }
}
