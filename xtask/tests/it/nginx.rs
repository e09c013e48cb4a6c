//! nginx with deploy/nginx/nginx.conf before two stand-ins for shorteners: where requests go, what is told of the
//! client, what becomes of them when a shortener is gone.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::deploy::checked;
use crate::files::root;

/// A shortener as nginx sees it: answers every request with its name and the head it got, and a Location.
struct Shortener {
    address: SocketAddr,
    gone: Arc<AtomicBool>,
}

impl Shortener {
    fn start(name: &'static str) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let gone = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&gone);
        std::thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let told = Arc::clone(&told);
                std::thread::spawn(move || serve(name, &connection, &told));
            }
        });
        Self { address, gone }
    }
}

fn serve(name: &str, mut connection: &TcpStream, gone: &AtomicBool) {
    let mut lines = BufReader::new(connection);
    loop {
        let mut head = String::new();
        while lines.read_line(&mut head).is_ok_and(|bytes| bytes > 2) {}
        if head.is_empty() || gone.load(Ordering::SeqCst) {
            return; // closed without an answer
        }
        let head = head.replace("\r\n", "\n");
        let answer = format!(
            "HTTP/1.1 302 Found\r\nLocation: http://shorteners/x?y\r\nX-Name: {name}\r\nContent-Length: {}\r\n\r\n{head}",
            head.len()
        );
        if connection.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

/// nginx, which ends with the test.
struct Nginx {
    child: Child,
    address: SocketAddr,
    _place: tempfile::TempDir,
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // Asked to, so that it takes its workers along.
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
    }
}

impl Nginx {
    /// The real file, with other addresses and a place of its own; `None` where there is no nginx.
    fn start(shorteners: &[Shortener; 2]) -> Option<Self> {
        let place = tempfile::tempdir().unwrap();
        let address = free_address();
        let file = std::fs::read_to_string(root().join("deploy/nginx/nginx.conf")).unwrap();
        let mut config = file.clone();
        for (from, to) in [
            ("172.30.61.11:8080", shorteners[0].address.to_string()),
            ("172.30.61.12:8080", shorteners[1].address.to_string()),
            ("listen 8080", format!("listen {address}")),
            ("listen 127.0.0.1:8090", format!("listen {}", free_address())),
            ("/tmp/", format!("{}/", place.path().display())),
        ] {
            assert!(file.contains(from), "nginx.conf has no {from}");
            config = config.replace(from, &to);
        }
        let path = place.path().join("nginx.conf");
        std::fs::write(&path, config).unwrap();
        checked("nginx.conf", Command::new("nginx").arg("-t").arg("-c").arg(&path))?;
        let mut nginx = Command::new("nginx");
        nginx.arg("-c").arg(&path).args(["-g", "daemon off;"]).stderr(Stdio::null());
        let nginx = Self { child: nginx.spawn().unwrap(), address, _place: place };
        let patience = Instant::now() + Duration::from_secs(30);
        while TcpStream::connect(nginx.address).is_err() {
            assert!(Instant::now() < patience, "nginx does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(nginx)
    }

    /// The answer to a request without a body: its head, and after an empty line the head that the shortener saw.
    fn ask(&self, method: &str, target: &str, fields: &str) -> String {
        let mut connection = TcpStream::connect(self.address).unwrap();
        connection.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let request = format!(
            "{method} {target} HTTP/1.1\r\nHost: s.example:8080\r\nConnection: close\r\n{fields}\r\n"
        );
        connection.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).unwrap();
        answer
    }

    /// Who answered.
    fn who(&self, method: &str, target: &str) -> String {
        let answer = self.ask(method, target, "");
        let (_, name) = answer.split_once("X-Name: ").unwrap_or_else(|| panic!("{target}: {answer}"));
        name.lines().next().unwrap().to_owned()
    }
}

fn free_address() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap()
}

/// Everything about these codes, and who answered; a code that two answered for fails.
fn owners(nginx: &Nginx) -> BTreeMap<String, String> {
    let owner = |code: String| {
        let targets = [
            ("GET", format!("/{code}")),
            ("HEAD", format!("/{code}?utm_source=x")),
            ("GET", format!("/{code}+")),
            ("PATCH", format!("/rest/v3/short-urls/{code}")),
            ("GET", format!("/rest/v3/short-urls/{code}/visits")),
        ];
        let names: BTreeSet<_> = targets.iter().map(|(method, target)| nginx.who(method, target)).collect();
        assert_eq!(names.len(), 1, "{code}: {names:?}");
        (code, names.into_iter().next().unwrap())
    };
    (0..40).map(|code| owner(format!("c{code}"))).collect()
}

#[test]
fn a_code_has_one_shortener_and_another_when_that_is_gone() {
    let shorteners = [Shortener::start("one"), Shortener::start("two")];
    let Some(nginx) = Nginx::start(&shorteners) else { return };
    let before = owners(&nginx);
    let share = before.values().filter(|name| *name == "one").count();
    assert!((5..=35).contains(&share), "{share} of 40 codes are at one shortener");
    assert_eq!(before, owners(&nginx));
    // Encoded or not, it is the same code.
    assert_eq!(nginx.who("GET", "/%63%37"), nginx.who("GET", "/c7"));
    // Creations go to both.
    let creators: BTreeSet<_> = (0..40).map(|_| nginx.who("GET", "/rest/v3/short-urls")).collect();
    assert_eq!(creators.len(), 2);

    shorteners[0].gone.store(true, Ordering::SeqCst);
    for code in before.keys() {
        assert_eq!(nginx.who("GET", &format!("/{code}")), "two");
    }
}

#[test]
fn what_may_not_be_repeated_is_not() {
    let shorteners = [Shortener::start("one"), Shortener::start("two")];
    let Some(nginx) = Nginx::start(&shorteners) else { return };
    let code = (0..).map(|n| format!("c{n}")).find(|code| nginx.who("GET", &format!("/{code}")) == "one");
    shorteners[0].gone.store(true, Ordering::SeqCst);
    let edit = format!("/rest/v3/short-urls/{}", code.unwrap());
    // It may have been carried out before the connection broke.
    assert!(nginx.ask("PATCH", &edit, "").starts_with("HTTP/1.1 502"));
    assert_eq!(nginx.who("GET", &edit), "two");
}

#[test]
fn a_shortener_is_told_who_the_client_is_and_a_client_where_to_go() {
    let shorteners = [Shortener::start("one"), Shortener::start("two")];
    let Some(nginx) = Nginx::start(&shorteners) else { return };
    let fields = "X-Forwarded-For: 203.0.113.9\r\nX-Forwarded-For: 198.51.100.1\r\nX-Forwarded-Proto: https\r\n\
        Forwarded: for=203.0.113.9\r\nX-Request-Id: abc\r\ntraceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n";
    let answer = nginx.ask("GET", "/a%2Fb//c?x=%00", fields);
    let (given, seen) = answer.split_once("\r\n\r\n").unwrap();
    assert!(given.contains("Location: http://shorteners/x?y\r\n"), "{given}");
    let seen = seen.to_lowercase();
    assert!(seen.starts_with("get /a%2fb//c?x=%00 http/1.1\n"), "{seen}");
    for line in
        ["host: s.example:8080", "x-forwarded-for: 127.0.0.1", "x-forwarded-proto: http", "x-request-id: abc"]
    {
        assert!(seen.contains(&format!("\n{line}\n")), "no {line} in {seen}");
    }
    assert!(seen.contains("traceparent: 00-0af7651916cd43dd"), "{seen}");
    assert!(!seen.contains("203.0.113") && !seen.contains("198.51.100"), "{seen}");
}
