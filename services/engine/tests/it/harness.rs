//! Starts engines and speaks plain HTTP/1.1 to them, so that every byte of an answer can be looked at.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

/// Longer than anything here takes on a busy machine; only a hang reaches it.
const PATIENCE: Duration = Duration::from_secs(120);

/// A running engine, killed on drop.
pub(crate) struct Engine {
    child: Child,
    pub(crate) address: SocketAddr,
    pub(crate) directory: Arc<tempfile::TempDir>,
}

/// The engine that most tests share: alive as long as one of them holds it.
pub(crate) fn shared() -> Arc<Engine> {
    static SHARED: Mutex<Weak<Engine>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().unwrap();
    shared.upgrade().unwrap_or_else(|| {
        let engine = Arc::new(Engine::start("{}"));
        *shared = Arc::downgrade(&engine);
        engine
    })
}

pub(crate) fn command(directory: &Path, config: &str) -> Command {
    let library = engine::library_default();
    assert!(library.is_file(), "no engine library at {}: run `cargo xtask up` once", library.display());
    let mut command = Command::new(env!("CARGO_BIN_EXE_engine"));
    command.arg("--data").arg(directory).args(["--listen", "127.0.0.1:0", "--until-stdin-closes"]);
    command.args(["--config", config]).stdin(Stdio::piped()).stdout(Stdio::piped());
    command
}

impl Engine {
    /// With configuration as JSON, on a directory of its own.
    pub(crate) fn start(config: &str) -> Self {
        Self::start_on(Arc::new(tempfile::tempdir().unwrap()), config)
    }

    pub(crate) fn start_on(directory: Arc<tempfile::TempDir>, config: &str) -> Self {
        let mut child = command(directory.path(), config).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address =
            line.trim().strip_prefix("listening on ").unwrap_or_else(|| panic!("{line}")).parse().unwrap();
        let engine = Self { child, address, directory };
        assert_eq!(engine.get("/ping").body, b"Ok.\n");
        engine
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A new database, named after nothing.
    pub(crate) fn database(&self) -> String {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let name = format!("db{}", NEXT.fetch_add(1, Ordering::Relaxed));
        self.ok(&format!("CREATE DATABASE {name}"));
        name
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Closes its standard input and waits for its end.
    pub(crate) fn stop(mut self) -> std::process::ExitStatus {
        drop(self.child.stdin.take());
        self.child.wait().unwrap()
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    pub(crate) fn request(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        let mut stream = self.connect();
        let mut head = format!("{method} {target} HTTP/1.1\r\nHost: engine\r\nConnection: close\r\n");
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
        stream.write_all(head.as_bytes()).unwrap();
        // An answer can come before the body was wanted.
        let _ = stream.write_all(body);
        Answer::read(stream, method == "HEAD")
    }

    pub(crate) fn get(&self, target: &str) -> Answer {
        self.request("GET", target, &[], b"")
    }

    /// POST of `body` with URL parameters.
    pub(crate) fn post(&self, parameters: &[(&str, &str)], body: &[u8]) -> Answer {
        self.request("POST", &target(parameters), &[], body)
    }

    /// A statement that must succeed; its result.
    pub(crate) fn ok(&self, sql: &str) -> String {
        let answer = self.post(&[], sql.as_bytes());
        assert_eq!(answer.status, 200, "{sql}: {}", answer.text());
        answer.text()
    }

    /// A statement that must fail; its code.
    pub(crate) fn code(&self, sql: &str) -> (u16, u16) {
        let answer = self.post(&[], sql.as_bytes());
        (answer.status, answer.code())
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn target(parameters: &[(&str, &str)]) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::from("/?"));
    query.extend_pairs(parameters);
    query.finish()
}

/// A response, taken apart.
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// It ended as HTTP says it must.
    pub(crate) complete: bool,
}

impl Answer {
    pub(crate) fn read(stream: TcpStream, headless: bool) -> Self {
        let mut reader = BufReader::new(stream);
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) == 0 || line == "\r\n" {
                break;
            }
            lines.push(line.trim_end().to_owned());
        }
        let status =
            lines.first().and_then(|l| l.split(' ').nth(1)).and_then(|s| s.parse().ok()).unwrap_or(0);
        let headers: Vec<(String, String)> = lines
            .iter()
            .skip(1)
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let mut answer = Self { status, headers, body: Vec::new(), complete: false };
        if headless {
            answer.complete = true;
        } else if answer.header("transfer-encoding") == Some("chunked") {
            answer.complete = answer.read_chunks(&mut reader).is_some();
        } else {
            let length = answer.header("content-length").and_then(|l| l.parse().ok()).unwrap_or(0);
            reader.take(length).read_to_end(&mut answer.body).unwrap();
            answer.complete = answer.body.len() as u64 == length;
        }
        answer
    }

    /// `None` when the last chunk is missing.
    fn read_chunks(&mut self, reader: &mut impl BufRead) -> Option<()> {
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok()?;
            let length = usize::from_str_radix(line.trim(), 16).ok()?;
            let mut chunk = vec![0; length + 2];
            reader.read_exact(&mut chunk).ok()?;
            self.body.extend_from_slice(&chunk[..length]);
            if length == 0 {
                return Some(());
            }
        }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn code(&self) -> u16 {
        self.header("x-clickhouse-exception-code").map_or(0, |code| code.parse().unwrap())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Waits until `condition` holds.
pub(crate) fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "never: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
