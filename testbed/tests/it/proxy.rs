//! Faults before the real engine: what the client sees, and what the engine has done.

use std::io::ErrorKind;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use testbed::{Engine, Fault, Injected, Mode, Proxy, shared_engine_address};

use super::engine::query;

/// A table of its own in the shared engine, a proxy before that, and inserts as ClickHouse's clients make them.
struct Table {
    name: &'static str,
    proxy: Proxy,
}

impl Table {
    fn new(name: &'static str) -> Self {
        let create = format!("CREATE TABLE {name} (x String) ENGINE = MergeTree ORDER BY x");
        assert!(query(shared_engine_address(), &create).unwrap().starts_with("HTTP/1.1 200"));
        Self { name, proxy: Proxy::start(shared_engine_address()) }
    }

    fn plan(&self, fault: Fault) {
        self.proxy.plan(&format!("INSERT+INTO+{}+", self.name), fault, 1);
    }

    /// The status, or none where the connection ended before.
    fn insert(&self, row: &str) -> Option<u16> {
        insert(&self.proxy.address(), self.name, row)
    }

    fn rows(&self) -> u64 {
        let sql = format!("SELECT 'rows', count() FROM {}", self.name);
        let answer = query(shared_engine_address(), &sql).unwrap();
        let rows = answer.lines().find_map(|line| line.strip_prefix("rows\t"));
        rows.and_then(|rows| rows.parse().ok()).unwrap_or_else(|| panic!("{answer}"))
    }
}

fn insert(address: &str, table: &str, row: &str) -> Option<u16> {
    let target = format!("/?query=INSERT+INTO+{table}+(x)+FORMAT+TSV");
    let answer = super::engine::post(address, &target, row).ok()?;
    answer.split(' ').nth(1)?.parse().ok()
}

#[test]
fn each_fault_is_seen_by_whom_it_should() {
    let table = Table::new("faults");
    let long = "x".repeat(300_000);
    // What is planned, what the client sees, how many rows are there afterwards.
    for (fault, status, rows) in [
        (None, Some(200), 1),
        (Some(Fault::CutRequest(0)), None, 1),
        (Some(Fault::CutRequest(100_000)), None, 1),
        (Some(Fault::CutAnswer(0)), None, 2),
        (Some(Fault::Answer(503)), Some(503), 2),
        (Some(Fault::Answer(500)), Some(500), 2),
        (None, Some(200), 3),
    ] {
        if let Some(fault) = fault {
            table.plan(fault);
        }
        assert_eq!(table.insert(&long), status, "{fault:?}");
        assert_eq!(table.rows(), rows, "{fault:?}");
        assert_eq!(table.proxy.planned(), 0, "{fault:?}");
    }
    table.proxy.plan("INSERT+INTO+another+", Fault::CutRequest(0), 2);
    assert_eq!(table.insert("untouched"), Some(200));
    assert_eq!(table.proxy.planned(), 2);
    table.proxy.clear_plans();
    assert_eq!(table.proxy.planned(), 0);
    let done = Injected { requests_cut: 2, answers_cut: 1, answered: 2, ..Injected::default() };
    assert_eq!(table.proxy.injected(), done);
}

#[test]
fn who_hangs_hangs_until_it_is_cut() {
    let table = Table::new("hangs");
    for stalled in [false, true] {
        if stalled {
            table.proxy.set_mode(Mode::Stall);
        } else {
            table.plan(Fault::Hang);
        }
        let (answered, answer) = channel();
        std::thread::scope(|threads| {
            threads.spawn(|| answered.send(table.insert("lost")).unwrap());
            while table.proxy.connections() == 0 {
                std::thread::yield_now();
            }
            // Long enough to see that nothing comes; the rest of the test does not depend on it.
            let early = answer.recv_timeout(Duration::from_millis(300));
            assert_eq!(early, Err(RecvTimeoutError::Timeout), "stalled: {stalled}");
            assert_eq!(table.proxy.cut_all(), 1, "stalled: {stalled}");
            assert_eq!(answer.recv().unwrap(), None, "stalled: {stalled}");
        });
    }
    table.proxy.set_mode(Mode::Forward);
    table.proxy.set_latency(Duration::from_millis(1));
    assert_eq!(table.insert("kept"), Some(200));
    assert_eq!(table.rows(), 1);
    let done = Injected { hung: 1, connections_cut: 2, ..Injected::default() };
    assert_eq!(table.proxy.injected(), done);
}

#[test]
fn a_stalled_request_goes_on_afterwards() {
    let table = Table::new("stalls");
    table.proxy.set_mode(Mode::Stall);
    std::thread::scope(|threads| {
        let insert = threads.spawn(|| table.insert("late"));
        while table.proxy.connections() == 0 {
            std::thread::yield_now();
        }
        assert_eq!(table.rows(), 0);
        table.proxy.set_mode(Mode::Forward);
        assert_eq!(insert.join().unwrap(), Some(200));
    });
    assert_eq!(table.rows(), 1);
}

#[test]
fn it_refuses_as_a_dead_server_does_and_leads_elsewhere() {
    let table = Table::new("refuses");
    for _ in 0..3 {
        table.proxy.set_mode(Mode::Refuse);
        let refused = || {
            let error = query(&table.proxy.address(), "SELECT 1").unwrap_err();
            error.kind() == ErrorKind::ConnectionRefused
        };
        // The listener goes a moment after it was told to.
        while !refused() {
            std::thread::yield_now();
        }
        table.proxy.set_mode(Mode::Forward);
        while table.insert("back") != Some(200) {
            std::thread::yield_now();
        }
    }
    assert_eq!(table.rows(), 3);
    let another = Engine::start();
    table.proxy.set_upstream(&another.address());
    assert_eq!(insert(&table.proxy.address(), table.name, "elsewhere"), Some(404), "no such table there");
    let address = table.proxy.address();
    drop(table);
    while query(&address, "SELECT 1").is_ok() {
        std::thread::yield_now();
    }
}
