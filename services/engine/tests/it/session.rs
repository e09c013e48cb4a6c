//! Sessions keep their state; requests without one leave none behind.

use crate::harness::shared;

#[test]
fn a_session_keeps_what_a_request_alone_forgets() {
    let engine = shared();
    let in_session = |sql: &str| engine.post(&[("session_id", "keeper")], sql.as_bytes());
    assert_eq!(in_session("CREATE TEMPORARY TABLE mine (a UInt8)").status, 200);
    assert_eq!(in_session("INSERT INTO mine VALUES (5)").status, 200);
    assert_eq!(in_session("SET max_threads = 1").status, 200);
    assert_eq!(in_session("USE system").status, 200);
    assert_eq!(
        in_session("SELECT a, getSetting('max_threads'), currentDatabase() FROM mine").text(),
        "5\t1\tsystem\n"
    );
    // What stands in the URL holds for one request.
    let once = engine
        .post(&[("session_id", "keeper"), ("max_block_size", "7")], b"SELECT getSetting('max_block_size')");
    assert_eq!(once.text(), "7\n");
    assert_ne!(in_session("SELECT getSetting('max_block_size')").text(), "7\n");
    assert_eq!(in_session("SELECT getSetting('max_threads')").text(), "1\n");

    assert_eq!(engine.code("SELECT * FROM mine"), (404, 60), "others do not see it");
    assert_eq!(engine.post(&[("session_id", "another")], b"SELECT * FROM mine").code(), 60);
    assert_eq!(engine.ok("SELECT currentDatabase()"), "default\n");
}

#[test]
fn a_request_leaves_no_setting_behind() {
    let engine = shared();
    for round in 0..20 {
        let set = engine.post(
            &[("max_result_rows", "1"), ("database", "system")],
            b"SELECT getSetting('max_result_rows')",
        );
        assert_eq!(set.text(), "1\n", "round {round}");
        assert_eq!(engine.post(&[], b"SET max_result_rows = 2").status, 200);
        assert_eq!(engine.ok("SELECT getSetting('max_result_rows'), currentDatabase()"), "0\tdefault\n");
    }
}

#[test]
fn sessions_are_checked_locked_and_limited() {
    let shared = shared();
    let engine = &*shared;
    let code = |parameters: &[(&str, &str)]| engine.post(parameters, b"SELECT 1").code();
    assert_eq!(code(&[("session_id", "absent"), ("session_check", "1")]), 372);
    assert_eq!(code(&[("session_id", "x"), ("session_timeout", "999999")]), 374);
    assert_eq!(code(&[("session_id", "x"), ("session_timeout", "soon")]), 374);
    std::thread::scope(|scope| {
        let slow = b"SELECT sleepEachRow(1) FROM numbers(3) SETTINGS max_block_size = 1";
        // The ones that ask may be first: again, until it has the session.
        scope.spawn(move || while engine.post(&[("session_id", "busy")], slow).code() == 373 {});
        crate::harness::until("the session is locked", || {
            code(&[("session_id", "busy"), ("session_check", "1")]) == 373
        });
    });
    crate::harness::until("the session is free", || {
        code(&[("session_id", "busy"), ("session_check", "1")]) == 0
    });
    assert_eq!(code(&[("session_id", "brief"), ("session_timeout", "0")]), 0);
    crate::harness::until("the session has expired", || {
        code(&[("session_id", "brief"), ("session_check", "1")]) == 372
    });
}
