//! Apache ZooKeeper as one server, from its jars. ClickHouse's replicated tables need one; what they keep in it is not
//! known here.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::ops::Deref;
use std::time::Duration;

use crate::java::Java;
use crate::part::Part;
use crate::place::free_port;
use crate::process::Tie;

/// An answer takes milliseconds; one that takes longer than this is asked for again.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// Client sessions may be as short as two ticks. A transaction log is not allocated 64 MiB ahead.
const COMMON: &str = "\
tickTime=500
clientPortAddress=127.0.0.1
admin.enableServer=false
4lw.commands.whitelist=srvr
maxClientCnxns=0
preAllocSize=1024
";

/// A server's heap; it holds a few thousand nodes at the most.
const HEAP_MB: u32 = 128;

/// A running server. See [`Part`] for how it is stopped, killed and halted.
#[derive(Debug)]
pub struct ZooKeeper {
    java: Java,
    port: u16,
    part: Part,
}

impl ZooKeeper {
    /// A new, empty server, which answers. None, said by a line `NOT COVERED: …`, where the machine lacks what it needs.
    ///
    /// # Panics
    /// When the server does not start.
    pub fn start() -> Option<Self> {
        let pom = include_str!("../../xtask/zookeeper/pom.xml");
        let java = Java::find("zookeeper", "TESTBED_ZOOKEEPER_LIBS", pom);
        let java = java.map_err(|why| crate::not_covered("a real ZooKeeper", &why)).ok()?;
        let (port, part) = (free_port(), Part::new("zookeeper"));
        let data = part.file("data").display().to_string();
        part.write("zoo.cfg", &format!("{COMMON}clientPort={port}\ndataDir={data}\n"));
        let server = Self { java, port, part };
        server.restart();
        Some(server)
    }

    /// Where clients connect: `127.0.0.1:PORT`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Starts it on the same data and port, stopping it before if it runs, and waits until it serves.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn restart(&self) {
        let main = "org.apache.zookeeper.server.ZooKeeperServerMain";
        let mut command = self.java.command(HEAP_MB, &[], main);
        command.arg(self.part.file("zoo.cfg"));
        self.part.restart(&command, Tie::Kernel, || self.serves().unwrap_or(false));
    }

    /// `srvr` answers with the version once requests are served, and says so while they aren't.
    fn serves(&self) -> std::io::Result<bool> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        let mut server = TcpStream::connect_timeout(&address, ANSWER_MAX)?;
        server.set_read_timeout(Some(ANSWER_MAX))?;
        server.write_all(b"srvr")?;
        let mut answer = String::new();
        server.read_to_string(&mut answer)?;
        Ok(answer.starts_with("Zookeeper version"))
    }
}

impl Deref for ZooKeeper {
    type Target = Part;

    fn deref(&self) -> &Part {
        &self.part
    }
}
