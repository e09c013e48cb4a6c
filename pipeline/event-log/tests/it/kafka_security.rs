//! TLS and passwords against a real broker, also wrong ones.

use std::sync::OnceLock;

use event_log::kafka::{KafkaConfig, Mechanism, Protocol, SecurityConfig};
use event_log::{ConsumeError, EventLog, EventLogMetrics, OpenError, Secret, kafka::Kafka};
use testbed::KafkaOptions;

use crate::kafka_consume::{assigned, records};
use crate::kafka_topic::{config, event, opened, read_all};
use crate::position;

const PASSWORD: &str = "correct horse battery staple";

fn broker() -> Option<&'static testbed::Kafka> {
    static BROKER: OnceLock<Option<testbed::Kafka>> = OnceLock::new();
    BROKER.get_or_init(|| testbed::Kafka::start(KafkaOptions::default().user("hoplog", PASSWORD))).as_ref()
}

fn secured(broker: &testbed::Kafka, topic: &str, mechanism: Mechanism) -> KafkaConfig {
    let security = SecurityConfig {
        protocol: Protocol::SaslTls,
        ca_file: Some(broker.ca_pem_path()),
        mechanism,
        username: "hoplog".to_owned(),
        password: Secret::new(PASSWORD),
        ..SecurityConfig::default()
    };
    KafkaConfig { security, ..config(&broker.secure_bootstrap(), topic) }
}

/// All that an error says.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn events_go_through_tls_by_each_mechanism() {
    let Some(broker) = broker() else { return };
    for (topic, mechanism) in [
        ("scram-512", Mechanism::ScramSha512),
        ("scram-256", Mechanism::ScramSha256),
        ("plain", Mechanism::Plain),
    ] {
        let kafka = opened(secured(broker, topic, mechanism)).await;
        let producer = kafka.producer(EventLogMetrics::default()).unwrap();
        producer.append(vec![event(0)]).await.unwrap();
        producer.close().await;
        assert_eq!(read_all(&broker.bootstrap(), topic).len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_go_through_tls_alone() {
    let Some(broker) = broker() else { return };
    let security = SecurityConfig {
        protocol: Protocol::Tls,
        ca_file: Some(broker.ca_pem_path()),
        ..SecurityConfig::default()
    };
    let kafka = opened(KafkaConfig { security, ..config(&broker.tls_bootstrap(), "tls") }).await;
    let producer = kafka.producer(EventLogMetrics::default()).unwrap();
    producer.append(vec![event(0)]).await.unwrap();
    producer.close().await;
    assert_eq!(read_all(&broker.bootstrap(), "tls").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_connection_says_why_and_no_secret() {
    let Some(broker) = broker() else { return };
    let right = secured(broker, "refused", Mechanism::ScramSha512);
    let another = tempfile::tempdir().unwrap();
    let missing = another.path().join("missing.pem");
    let security = right.security.clone();
    let wrong = [
        SecurityConfig { password: Secret::new("open sesame"), ..security.clone() },
        SecurityConfig { username: "nobody".to_owned(), ..security.clone() },
        SecurityConfig { ca_file: None, ..security.clone() },
        SecurityConfig { ca_file: Some(missing), ..security },
    ];
    let words = ["Authentication", "Authentication", "certificate verify failed", "missing.pem"];
    for (security, word) in wrong.into_iter().zip(words) {
        let config = KafkaConfig { security, ..right.clone() };
        let error = Kafka::new(config).open().await.unwrap_err();
        assert!(matches!(error, OpenError::Refused(_)), "{error:?}");
        let text = chain(&error);
        assert!(text.contains(word), "{text}");
        let secrets = [PASSWORD, "open sesame"];
        assert!(
            secrets.iter().all(|secret| !text.contains(secret) && !format!("{error:?}").contains(secret))
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_is_joined_with_the_password_only() {
    let Some(broker) = broker() else { return };
    let right = secured(broker, "joined", Mechanism::ScramSha512);
    let kafka = opened(right.clone()).await;
    kafka.producer(EventLogMetrics::default()).unwrap().append(vec![event(0)]).await.unwrap();
    let mut consumer = EventLog::consumer(&kafka, "g").await.unwrap();
    let ours = assigned(&mut consumer, 3).await;
    let (partition, record) = records(&mut consumer, 1).await.remove(0);
    assert_eq!(ours[&partition].offset, record.offset);
    consumer.committer().commit(partition, position(record.offset + 1, "")).await.unwrap();
    let security = SecurityConfig { password: Secret::new("open sesame"), ..right.security.clone() };
    let stranger = Kafka::new(KafkaConfig { security, ..right });
    let error = loop {
        match EventLog::consumer(&stranger, "g").await.err().unwrap() {
            // A busy machine takes longer than one question to be refused.
            ConsumeError::Unavailable(_) => {}
            error => break error,
        }
    };
    assert!(matches!(error, ConsumeError::Broken(_)), "{error:?}");
    assert!(chain(&error).contains("Authentication"), "{}", chain(&error));
    consumer.close().await;
}
