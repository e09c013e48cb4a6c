//! The engine as a process: the program beside the test's own executable, as cargo builds both. What it is asked is the
//! test's affair.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::ops::Deref;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use crate::part::Part;
use crate::place::free_port;
use crate::process::Tie;

/// Opening the data takes a second or two; a connection that is not answered by then is tried again.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// A running engine: ClickHouse at an HTTP port. See [`Part`] for how it is stopped, killed and halted.
#[derive(Debug)]
pub struct Engine {
    port: u16,
    arguments: Vec<String>,
    part: Part,
}

impl Engine {
    /// A new, empty engine, which answers.
    ///
    /// # Panics
    /// When its program was not built or does not come up.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// The same with arguments for the program, such as `["--config", r#"{"threads":4}"#]`.
    ///
    /// # Panics
    /// As [`start`](Self::start).
    pub fn start_with(arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let engine = Self { port: free_port(), arguments, part: Part::new("engine") };
        engine.restart();
        engine
    }

    /// Where it listens: `127.0.0.1:PORT`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Starts it on the same data and port, stopping it before if it runs, and waits until it answers.
    ///
    /// # Panics
    /// As [`start`](Self::start).
    pub fn restart(&self) {
        let mut command = Command::new(program());
        command.args(["--until-stdin-closes", "--listen", &self.address(), "--data"]);
        command.arg(self.part.file("data")).args(&self.arguments);
        self.part.restart(&command, Tie::StandardInput, || self.answers().unwrap_or(false));
    }

    fn answers(&self) -> std::io::Result<bool> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        let mut engine = TcpStream::connect_timeout(&address, ANSWER_MAX)?;
        engine.set_read_timeout(Some(ANSWER_MAX))?;
        engine.write_all(b"GET /ping HTTP/1.1\r\nhost: engine\r\nconnection: close\r\n\r\n")?;
        let mut status = [0; 12];
        engine.read_exact(&mut status)?;
        Ok(&status == b"HTTP/1.1 200")
    }
}

impl Deref for Engine {
    type Target = Part;

    fn deref(&self) -> &Part {
        &self.part
    }
}

/// `target/release/engine` for `target/release/deps/it-…`.
fn program() -> PathBuf {
    let own = std::env::current_exe().expect("a process knows its executable");
    let release = own.ancestors().nth(2).expect("cargo puts executables two folders deep");
    let program = release.join("engine");
    assert!(program.exists(), "no engine: cargo build --release -p engine");
    program
}

/// Where the engine listens that all tests of this process share; the first starts it. Tests use databases of their own,
/// and don't stop it.
///
/// # Panics
/// As [`Engine::start`].
pub fn shared_engine_address() -> &'static str {
    static ENGINE: OnceLock<(Engine, String)> = OnceLock::new();
    let start = || {
        let engine = Engine::start();
        let address = engine.address();
        (engine, address)
    };
    &ENGINE.get_or_init(start).1
}
