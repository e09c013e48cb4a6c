//! All of it with Kafka between shortener and collector; and the shortener before there is a Kafka at all.

use std::net::TcpStream;

use event_log::Message;
use event_log::kafka::KafkaConfig;
use testbed::{Kafka, KafkaOptions};

use crate::dlq;
use crate::harness::{Installation, agent, get};

fn readyz(hoplog: &Installation, role: u16) -> (u16, String) {
    let mut response = agent().get(format!("http://127.0.0.1:{}/readyz", hoplog.base + role)).call().unwrap();
    (response.status().as_u16(), response.body_mut().read_to_string().unwrap())
}

#[test]
fn redirects_begin_without_kafka_and_no_event_is_lost_once_it_is_there() {
    let Some(kafka) = Kafka::start(KafkaOptions::default()) else { return };
    kafka.stop();
    let mut hoplog = Installation::new()
        .set("HOPLOG_EVENT_LOG", "kafka")
        .set("HOPLOG_KAFKA__BROKERS", &kafka.bootstrap())
        .set("HOPLOG_KAFKA__PARTITIONS", "3");
    hoplog.start();
    let serving = format!("http://127.0.0.1:{}/readyz", hoplog.base + 1);
    let ready = hoplog.wait_for("the shortener", || get(&serving).ok());
    assert!(ready.contains("ready, but"), "{ready}");
    assert_eq!(hoplog.metric(1, "hoplog_event_log_open"), 0);
    hoplog.link("one", "https://one.example/");
    for _ in 0..10 {
        assert_eq!(agent().get(format!("{}/one", hoplog.shortener())).call().unwrap().status(), 302);
    }
    let (status, reason) = readyz(&hoplog, 2);
    assert!(status == 503 && reason.contains("event log"), "{status} {reason}");

    kafka.restart();
    hoplog.wait_until_ready();
    hoplog.wait_for("the log to be open", || (hoplog.metric(1, "hoplog_event_log_open") == 1).then_some(()));
    let report = hoplog.verified();
    assert_eq!((&report["events"], &report["producer_gaps"]), (&11.into(), &0.into()), "{report}");
    assert_eq!(report["partitions"].as_array().unwrap().len(), 3, "{report}");

    // A dead letter goes back the way that events come.
    let log =
        event_log::kafka::Kafka::new(KafkaConfig { brokers: kafka.bootstrap(), ..KafkaConfig::default() });
    let whole = dlq::event(&dlq::now(), 1);
    dlq::append(&log, vec![Message::events(whole[..whole.len() - 9].to_owned(), 1)]);
    let report = hoplog.verified();
    assert_eq!(report["dead_lettered"], 1, "{report}");
    let letter = dlq::id(&dlq::letters(&hoplog), "truncated");
    dlq::said(&hoplog, &["replay", &letter, "--with", "-"], &whole);
    let report = hoplog.verified();
    assert_eq!((&report["events"], &report["producer_gaps"]), (&13.into(), &0.into()), "{report}");
    assert!(hoplog.command("migrate").status().unwrap().success(), "topics that are there fit");
    hoplog.down();
}

#[test]
fn events_that_wait_on_disk_for_kafka_survive_a_kill_and_are_stored_once() {
    let Some(kafka) = Kafka::start(KafkaOptions::default()) else { return };
    let mut hoplog = Installation::new()
        .set("HOPLOG_EVENT_LOG", "kafka")
        .set("HOPLOG_KAFKA__BROKERS", &kafka.bootstrap())
        .set("HOPLOG_KAFKA__PARTITIONS", "2")
        .set("HOPLOG_KAFKA__OUTBOX__ENABLED", "true")
        .up();
    hoplog.link("one", "https://one.example/");
    let redirect =
        || assert_eq!(agent().get(format!("{}/one", hoplog.shortener())).call().unwrap().status(), 302);
    redirect();
    hoplog.verified();
    kafka.stop();
    (0..20).for_each(|_| redirect());
    let published = || hoplog.metric(1, "hoplog_events_published_total") == 22;
    hoplog.wait_for("events to be on disk", || published().then_some(()));
    let mut killed = hoplog.supervisor.take().unwrap();
    killed.kill().unwrap();
    killed.wait().unwrap();
    // Its children end as well, also the one that is in the middle of asking a broker that is gone.
    for port in [hoplog.base, hoplog.base + 2] {
        let ended = || TcpStream::connect(("127.0.0.1", port)).is_err().then_some(());
        hoplog.wait_for("children to end", ended);
    }
    kafka.restart();
    hoplog.start();
    hoplog.wait_until_ready();
    let outbox = || hoplog.metric(1, "hoplog_spool_depth_messages");
    hoplog.wait_for("the outbox to be empty", || (outbox() == 0).then_some(()));
    let report = hoplog.verified();
    assert_eq!((&report["events"], &report["producer_gaps"]), (&22.into(), &0.into()), "{report}");
    hoplog.down();
}
