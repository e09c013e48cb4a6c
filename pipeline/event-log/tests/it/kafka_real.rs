//! Topics and producer against a real broker, which is killed, restarted and cut off.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use event_log::kafka::{Kafka, KafkaConfig};
use event_log::{EventLogMetrics, Message, OpenError, Producer};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use testbed::{KafkaOptions, Proxy, shared_kafka};

use crate::kafka_topic::{assert_each_once, config, event, opened, read_all};

#[tokio::test(flavor = "multi_thread")]
async fn kcat_reads_a_topic_as_json_lines() {
    let Some(broker) = shared_kafka() else { return };
    let brokers = broker.bootstrap();
    let kafka = opened(KafkaConfig { partitions: 1, ..config(&brokers, "kcat") }).await;
    let producer = kafka.producer(EventLogMetrics::default()).unwrap();
    let payload = "{\"seq\":1,\"code\":\"a\"}\n{\"seq\":2,\"code\":\"ü\"}\n";
    producer.append(vec![Message::events(payload, 2), Message::events("{\"seq\":3}\n", 1)]).await.unwrap();

    // The payload ends with a newline itself; kcat's own delimiter is not needed.
    let kcat = |arguments: &[&str]| {
        let mut command = Command::new("kcat");
        command.args(["-C", "-b", &brokers, "-t", "kcat", "-e", "-q"]).args(arguments);
        match command.output() {
            Ok(output) => {
                assert!(output.status.success(), "{output:?}");
                Some(String::from_utf8(output.stdout).unwrap())
            }
            Err(error) => {
                eprintln!("NOT COVERED: kcat reads the topic: {error}");
                None
            }
        }
    };
    let Some(lines) = kcat(&["-D", ""]) else { return };
    assert_eq!(lines, format!("{payload}{{\"seq\":3}}\n"));
    let Some(headers) = kcat(&["-f", "%h\n"]) else { return };
    let expected = "content-type=application/x-ndjson,schema=hoplog.event.v1,events=2";
    assert_eq!(headers.lines().next(), Some(expected));
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_are_made_by_whoever_is_first() {
    let Some(broker) = shared_kafka() else { return };
    let config = config(&broker.bootstrap(), "made");
    let opening: Vec<_> = (0..4)
        .map(|_| {
            let config = config.clone();
            tokio::spawn(async move { Kafka::new(config).open().await })
        })
        .collect();
    for opened in opening {
        opened.await.unwrap().unwrap();
    }
    Kafka::new(KafkaConfig { create_topics: false, ..config.clone() }).open().await.unwrap();
    let producer = Kafka::new(config.clone()).dead_letters(EventLogMetrics::default()).unwrap();
    // What does not compress needs all the room there is around a payload.
    let payload: Vec<u8> = (0..config.message_bytes_max as u64).map(noise).collect();
    producer.append(vec![Message::events(payload, 1)]).await.unwrap();
    assert_eq!(read_all(&config.brokers, &config.dead_letters_topic).len(), 1);
    assert_eq!(read_all(&config.brokers, &config.topic).len(), 0);
}

/// Bytes that no compression makes smaller.
fn noise(index: u64) -> u8 {
    let mixed = (index ^ (index >> 7)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed ^ (mixed >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9).to_le_bytes()[6]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_would_lose_messages_is_refused() {
    let Some(broker) = shared_kafka() else { return };
    let brokers = broker.bootstrap();
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", &brokers).create().unwrap();
    for (topic, entry, word) in [
        ("compacted", Some(("cleanup.policy", "compact")), "compaction"),
        ("narrow", Some(("max.message.bytes", "1000000")), "max.message.bytes is 1000000"),
        ("sparse", Some(("min.insync.replicas", "2")), "no message would be taken"),
        ("absent", None, "is missing"),
    ] {
        if let Some((name, value)) = entry {
            let new = NewTopic::new(topic, 1, TopicReplication::Fixed(1)).set(name, value);
            admin.create_topics([&new], &AdminOptions::new()).await.unwrap()[0].as_ref().unwrap();
        }
        let config = KafkaConfig { create_topics: false, ..config(&brokers, topic) };
        let error = Kafka::new(config).open().await.unwrap_err();
        let OpenError::Refused(source) = &error else { panic!("{topic}: {error:?}") };
        assert!(source.to_string().contains(word), "{source}");
    }
}

/// Appends numbered events until told to end, one call after the other; how many.
async fn append_until(producer: Arc<dyn Producer>, end: Arc<AtomicBool>) -> usize {
    let mut next = 0;
    while !end.load(Ordering::Relaxed) {
        producer.append((next..next + 3).map(event).collect()).await.unwrap();
        next += 3;
    }
    next
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_acknowledged_is_there_once_although_the_broker_dies() {
    let Some(broker) = testbed::Kafka::start(KafkaOptions::default()) else { return };
    let kafka = opened(config(&broker.bootstrap(), "dies")).await;
    let producer = kafka.producer(EventLogMetrics::default()).unwrap();
    let end = Arc::new(AtomicBool::new(false));
    let appending = tokio::spawn(append_until(producer.clone(), end.clone()));
    let broker = tokio::task::spawn_blocking(move || {
        for _ in 0..3 {
            broker.kill();
            broker.restart();
        }
        broker.restart();
        broker
    });
    let broker = broker.await.unwrap();
    end.store(true, Ordering::Relaxed);
    let count = appending.await.unwrap();
    producer.close().await;
    assert_each_once(&read_all(&broker.bootstrap(), "dies"), count);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_gets_lost_makes_no_second_message() {
    // The client must stay behind the proxy, so the broker gives out the proxy's address as its own.
    let proxy = Proxy::start("127.0.0.1:1");
    let options =
        KafkaOptions::default().property("advertised.listeners", &format!("PLAINTEXT://{}", proxy.address()));
    let Some(broker) = testbed::Kafka::start(options) else { return };
    proxy.set_upstream(&broker.bootstrap());
    let kafka = opened(config(&proxy.address(), "cut")).await;
    let producer = kafka.producer(EventLogMetrics::default()).unwrap();
    let end = Arc::new(AtomicBool::new(false));
    let appending = tokio::spawn(append_until(producer.clone(), end.clone()));
    let cut = tokio::task::spawn_blocking(move || {
        let mut cut = 0;
        for round in 0..60 {
            // At another moment of a request each time.
            std::thread::sleep(Duration::from_micros(30_000 + round * 777));
            cut += proxy.cut_all();
        }
        (proxy, cut)
    });
    let (proxy, cut) = cut.await.unwrap();
    end.store(true, Ordering::Relaxed);
    let count = appending.await.unwrap();
    producer.close().await;
    assert!(cut > 0 && count > 0, "{cut} connections cut, {count} messages");
    assert_each_once(&read_all(&proxy.address(), "cut"), count);
}
