//! Starting: twice, wrongly configured, and ending.

use crate::harness::Installation;

#[test]
fn a_second_start_on_the_same_directory_is_refused_and_disturbs_nothing() {
    let mut hoplog = Installation::new().up();
    let second = hoplog.command("up").output().unwrap();
    assert!(!second.status.success());
    let message = String::from_utf8_lossy(&second.stderr);
    let pid = hoplog.supervisor.as_ref().unwrap().id().to_string();
    assert!(message.contains("already runs") && message.contains(&pid), "{message}");
    hoplog.wait_until_ready();
    hoplog.down();
}

#[test]
fn mistakes_in_the_configuration_are_named_all_at_once_before_anything_starts() {
    let hoplog = Installation::new()
        .set("HOPLOG_SERVE__LISTEN", "nowhere")
        .set("HOPLOG_SERVE__EMITTER__QUEUE_EVENTS_MAX", "0")
        .set("HOPLOG_SPOOL__TYPO", "1");
    let output = hoplog.command("up").output().unwrap();
    assert_eq!(output.status.code(), Some(64));
    let message = String::from_utf8_lossy(&output.stderr);
    for variable in ["HOPLOG_SERVE__LISTEN", "HOPLOG_SERVE__EMITTER__QUEUE_EVENTS_MAX", "HOPLOG_SPOOL__TYPO"]
    {
        assert!(message.contains(variable), "{variable} is not in {message}");
    }
    assert!(!hoplog.data().exists(), "something was made");
}

#[test]
fn a_port_that_another_program_has_is_named_and_waited_for() {
    let mut hoplog = Installation::new();
    let other = std::net::TcpListener::bind(("127.0.0.1", hoplog.base + 3)).unwrap();
    hoplog.start();
    let port = format!("127.0.0.1:{}", hoplog.base + 3);
    hoplog.wait_for("the port to be named", || hoplog.log().contains(&port).then_some(()));
    assert!(!hoplog.data().join("clickhouse").exists(), "{}", hoplog.log());
    drop(other);
    hoplog.wait_until_ready();
    hoplog.down();
}

#[test]
fn a_proof_without_a_collector_is_no_proof() {
    let mut hoplog = Installation::new().up();
    hoplog.link("one", "https://one.example/");
    hoplog.verified();
    hoplog.down();
    // Something the collector has not read, and nobody to read it.
    let spool = event_log::spool::Spool::new(event_log::spool::SpoolConfig {
        path: hoplog.data().join("spool"),
        ..Default::default()
    });
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let producer = spool.producer(event_log::EventLogMetrics::default());
        let message = event_log::Message::events(&b"{}\n"[..], 1);
        event_log::Producer::append(&producer, vec![message]).await.unwrap();
        event_log::Producer::close(&producer).await;
    });
    let mut engine = hoplog.command("engine").spawn().unwrap();
    let ping = format!("http://127.0.0.1:{}/ping", hoplog.base + 3);
    hoplog.wait_for("the engine", || crate::harness::get(&ping).ok());
    let output = hoplog.command("verify").args(["--wait-s", "1"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success() && said.contains("does it run?"), "{said}");
    crate::harness::terminate(&engine);
    engine.wait().unwrap();
}
