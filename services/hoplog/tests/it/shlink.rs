//! Shlink's own clients, unmodified, against the product. What each does is in `tests/clients`.

use std::process::Command;

use crate::harness::{Installation, repository};

fn run(hoplog: &Installation, mut client: Command) {
    let output = client.output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}{err}\n{}", hoplog.log());
    assert!(out.contains("all as with Shlink"), "{out}{err}");
}

#[test]
fn the_javascript_client_does_everything_it_can() {
    let Some(modules) = testbed::tool("shlink-js-sdk/node_modules", "Shlink's JavaScript client") else {
        return;
    };
    let hoplog = Installation::new().up();
    let mut client = Command::new("node");
    client.arg(repository("services/hoplog/tests/clients/shlink_js_sdk.mjs"));
    client.args([hoplog.shortener(), hoplog.key()]).arg(modules);
    run(&hoplog, client);
}

#[test]
fn the_python_client_does_everything_it_can() {
    let Some(python) = testbed::tool("pyshlink/bin/python3", "Python's client for Shlink") else { return };
    let hoplog = Installation::new().up();
    let mut client = Command::new(python);
    client.arg(repository("services/hoplog/tests/clients/pyshlink_client.py"));
    client.args([hoplog.shortener(), hoplog.key()]);
    run(&hoplog, client);
}
