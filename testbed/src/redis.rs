//! Redis, one server or a cluster of three, from the system's `redis-server`. It keeps nothing on disk: who is killed
//! comes back empty, as a cache does. What is kept in it is not known here.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use crate::java::needs;
use crate::part::Part;
use crate::place::free_port;
use crate::process::Tie;
use crate::tls::Tls;

/// An answer takes less than a millisecond; one that takes longer than this is asked for again.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// The fewest nodes that a Redis Cluster can be made of.
const NODES: usize = 3;

/// How Redis is started.
#[derive(Debug, Clone, Copy, Default)]
pub struct RedisOptions {
    /// Three nodes that share the slots of a Redis Cluster, without replicas.
    pub cluster: bool,
    /// Clients of [`Redis::url`] speak TLS, to a server whose certificate [`Redis::authority`] has signed. Not in a cluster.
    pub tls: bool,
}

/// A running Redis.
#[derive(Debug)]
pub struct Redis {
    options: RedisOptions,
    nodes: Vec<Node>,
}

#[derive(Debug)]
struct Node {
    /// Without TLS: for what is asked here.
    port: u16,
    bus_port: u16,
    tls_port: u16,
    part: Part,
}

impl Redis {
    /// A new, empty Redis, which answers. None, said by a line `NOT COVERED: …`, where the machine lacks what it needs.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start(options: RedisOptions) -> Option<Self> {
        Self::create(options).map_err(|why| crate::not_covered("a real Redis", &why)).ok()
    }

    fn create(options: RedisOptions) -> Result<Self, String> {
        for program in ["redis-server", "redis-cli", "setpriv"] {
            needs(program)?;
        }
        if options.tls {
            needs("openssl")?;
        }
        let node = |_| Node {
            port: free_port(),
            bus_port: free_port(),
            tls_port: free_port(),
            part: Part::new("redis"),
        };
        let nodes = (0..if options.cluster { NODES } else { 1 }).map(node).collect();
        let redis = Self { options, nodes };
        if options.tls {
            redis.nodes.iter().for_each(|node| drop(Tls::create(&node.part)));
        }
        redis.nodes.iter().for_each(|node| node.start(options));
        if options.cluster {
            redis.form_cluster();
        }
        Ok(redis)
    }

    /// Where clients connect: `redis://127.0.0.1:PORT`, of a cluster all nodes, separated by commas; `rediss://…` with TLS.
    pub fn url(&self) -> String {
        if self.options.tls {
            return format!("rediss://127.0.0.1:{}", self.nodes[0].tls_port);
        }
        let urls: Vec<_> = self.nodes.iter().map(|node| format!("redis://127.0.0.1:{}", node.port)).collect();
        urls.join(",")
    }

    /// The certificate of who signed the server's, as a file.
    pub fn authority(&self) -> PathBuf {
        Tls::of(&self.nodes[0].part).authority
    }

    /// What its nodes have logged.
    pub fn log(&self) -> String {
        self.nodes.iter().map(|node| node.part.log()).collect()
    }

    /// Ends all of it as `kill -9` does.
    pub fn kill(&self) {
        self.nodes.iter().for_each(|node| node.part.kill());
    }

    /// Ends one node of a cluster as `kill -9` does.
    ///
    /// # Panics
    /// When there is no such node.
    pub fn kill_node(&self, node: usize) {
        self.nodes[node].part.kill();
    }

    /// Halts all of it (SIGSTOP): connections stay open and nothing answers.
    pub fn pause(&self) {
        self.nodes.iter().for_each(|node| node.part.pause());
    }

    /// Lets it go on after [`pause`](Self::pause).
    pub fn resume(&self) {
        self.nodes.iter().for_each(|node| node.part.resume());
    }

    /// Starts what does not run, empty, on the same ports, and waits until all of it serves.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn restart(&self) {
        self.nodes.iter().filter(|node| !node.answers()).for_each(|node| node.start(self.options));
        if self.options.cluster {
            self.wait_for_cluster();
        }
    }

    /// What `redis-cli` prints for a command, such as `["SET", "a", "b"]`, in a cluster at the node that it concerns.
    ///
    /// # Panics
    /// When Redis is not there or refuses.
    pub fn command(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("redis-cli");
        command.args(["-e", "-p", &self.nodes[0].port.to_string()]);
        if self.options.cluster {
            command.arg("-c");
        }
        run(command.args(arguments))
    }

    fn form_cluster(&self) {
        let mut command = Command::new("redis-cli");
        command.args(["--cluster", "create"]);
        command.args(self.nodes.iter().map(|node| format!("127.0.0.1:{}", node.port)));
        run(command.arg("--cluster-yes"));
        self.wait_for_cluster();
    }

    fn wait_for_cluster(&self) {
        // Each node finds out by itself that all slots are served, and where the others are: until then, what is published at
        // one does not reach who has subscribed at another.
        let is_up = |node: &Node| {
            node.ask("CLUSTER INFO", "cluster_state:ok") && node.links() == Some(self.nodes.len())
        };
        while !self.nodes.iter().all(is_up) {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Node {
    fn start(&self, options: RedisOptions) {
        let mut command = Command::new("redis-server");
        command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--daemonize", "no"]);
        command.args(["--port", &self.port.to_string()]);
        // The directory of its log: what a node knows of its cluster is kept there.
        let directory = self.part.file("data");
        std::fs::create_dir_all(&directory).expect("the directory of a part can be written to");
        command.arg("--dir").arg(directory);
        if options.cluster {
            command.args(["--cluster-enabled", "yes", "--cluster-port", &self.bus_port.to_string()]);
            // A dead node is known after a second, and the others go on serving what they have.
            command.args(["--cluster-node-timeout", "1000", "--cluster-require-full-coverage", "no"]);
        }
        if options.tls {
            let tls = Tls::of(&self.part);
            command.args(["--tls-port", &self.tls_port.to_string(), "--tls-auth-clients", "no"]);
            command.arg("--tls-cert-file").arg(tls.certificate).arg("--tls-key-file").arg(tls.key);
            command.arg("--tls-ca-cert-file").arg(tls.authority);
        }
        self.part.restart(&command, Tie::Kernel, || self.answers());
    }

    fn answers(&self) -> bool {
        self.ask("PING", "+PONG")
    }

    /// Whether the answer to a command holds a text.
    fn ask(&self, command: &str, expected: &str) -> bool {
        self.call(command).is_ok_and(|answer| answer.contains(expected))
    }

    /// How many nodes of its cluster it has a link to, itself included. None while it meets one.
    fn links(&self) -> Option<usize> {
        let nodes = self.call("CLUSTER NODES").ok().filter(|nodes| !nodes.contains("handshake"))?;
        Some(nodes.lines().filter(|node| node.contains(" connected")).count())
    }

    fn call(&self, command: &str) -> std::io::Result<String> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        let mut server = TcpStream::connect_timeout(&address, ANSWER_MAX)?;
        server.set_read_timeout(Some(ANSWER_MAX))?;
        server.write_all(format!("{command}\r\nQUIT\r\n").as_bytes())?;
        let mut answer = String::new();
        server.read_to_string(&mut answer)?;
        Ok(answer)
    }
}

/// Runs a tool to its end; what it printed.
fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} failed: {said}{errors}");
    said
}

/// The Redis that all tests of this process share, started by the first; none as in [`Redis::start`]. Tests use prefixes
/// of their own, and don't stop it.
pub fn shared_redis() -> Option<&'static Redis> {
    static REDIS: OnceLock<Result<Redis, String>> = OnceLock::new();
    let redis = REDIS.get_or_init(|| Redis::create(RedisOptions::default()));
    redis.as_ref().map_err(|why| crate::not_covered("a real Redis", why)).ok()
}
