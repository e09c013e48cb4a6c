//! The engine as a child process, found beside the test's own executable.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

struct Engine {
    address: String,
    /// Its standard input closes when this process ends, however that happens, and it ends with it.
    _child: Child,
    _data: tempfile::TempDir,
}

/// Where the engine listens; starts it first.
pub(crate) fn address() -> &'static str {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    &ENGINE.get_or_init(start).address
}

fn start() -> Engine {
    let own = std::env::current_exe().unwrap();
    let release: PathBuf = own.ancestors().nth(2).unwrap().to_owned();
    let path = release.join("engine");
    assert!(path.exists(), "no engine: cargo build --release -p engine");
    let data = tempfile::tempdir().unwrap();
    let mut child = Command::new(path)
        .args(["--listen", "127.0.0.1:0", "--until-stdin-closes", "--data"])
        .arg(data.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.trim().strip_prefix("listening on ").unwrap_or_else(|| panic!("engine said {line:?}"));
    Engine { address: address.to_owned(), _child: child, _data: data }
}
