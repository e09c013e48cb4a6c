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
