//! PostgreSQL as one server, or one and its replica, from the programs of its Debian package. It runs no statements but `CREATE DATABASE`; what is in
//! a database is the test's affair.

use std::fs::Permissions;
use std::net::TcpStream;
use std::ops::Deref;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::process::{Pid, Signal, geteuid, kill_process};

use crate::java::needs;
use crate::part::Part;
use crate::place::free_port;
use crate::process::Tie;
use crate::tls::Tls;

/// The server's superuser, who needs no password.
const USER: &str = "hoplog";

/// The system's user, made by the package, that the server runs as where the tests run as root: it refuses root.
const SYSTEM_USER: &str = "postgres";

/// Killed servers lose nothing without `fsync`: only a machine that goes down does. A collation that is not C shows
/// statements that take the database's order for the order of bytes.
const SETTINGS: &[&str] = &[
    "listen_addresses=127.0.0.1",
    "unix_socket_directories=",
    "max_connections=300",
    "fsync=off",
    "full_page_writes=off",
    // In the data directory and not in /dev/shm, where those of killed servers would stay.
    "dynamic_shared_memory_type=mmap",
];

/// A running server. See [`Part`] for its log; how it is stopped, killed and halted is its own, since it is many processes.
#[derive(Debug)]
pub struct Postgres {
    programs: PathBuf,
    port: u16,
    settings: Vec<String>,
    databases: AtomicU32,
    part: Part,
}

impl Postgres {
    /// A new server without databases, which answers. None, said by a line `NOT COVERED: …`, where the machine lacks what it
    /// needs.
    ///
    /// # Panics
    /// When the server does not start.
    pub fn start() -> Option<Self> {
        Self::start_with(&[])
    }

    /// The same with settings that win over the testbed's own, such as `"fsync=on"`.
    ///
    /// # Panics
    /// As [`start`](Self::start).
    pub fn start_with(settings: &[&str]) -> Option<Self> {
        match find() {
            Ok(programs) => Some(Self::create(programs, settings, false)),
            Err(why) => {
                crate::not_covered("a real PostgreSQL", &why);
                None
            }
        }
    }

    /// The same for clients that speak TLS: whoever speaks plainly is refused.
    ///
    /// # Panics
    /// As [`start`](Self::start).
    pub fn start_with_tls() -> Option<Self> {
        match find().and_then(|programs| needs("openssl").map(|()| programs)) {
            Ok(programs) => Some(Self::create(programs, &[], true)),
            Err(why) => {
                crate::not_covered("a PostgreSQL with TLS", &why);
                None
            }
        }
    }

    /// The certificate of who signed that of a server with TLS, as a file.
    pub fn authority(&self) -> PathBuf {
        Tls::of(&self.part).authority
    }

    fn create(programs: PathBuf, settings: &[&str], tls: bool) -> Self {
        let settings = SETTINGS.iter().chain(settings).map(|&setting| setting.to_owned()).collect();
        let mut server = Self::new(programs, settings);
        server.initialise();
        if tls {
            server.speak_tls();
        }
        server.restart();
        server
    }

    /// A replica of this server: another one on a port of its own that has the same databases, gets what is written here, and
    /// answers reads.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start_replica(&self) -> Self {
        let replica = Self::new(self.programs.clone(), self.settings.clone());
        replica.make_data_directory();
        let mut command = replica.command("pg_basebackup");
        command.args(["--no-sync", "--checkpoint", "fast", "--write-recovery-conf", "--username", USER]);
        command.args(["--host", "127.0.0.1", "--port"]).arg(self.port.to_string());
        run(command.arg("--pgdata").arg(replica.data()));
        replica.restart();
        replica
    }

    /// One that has no data yet.
    fn new(programs: PathBuf, settings: Vec<String>) -> Self {
        let part = Part::new("postgres");
        // The system's user passes through; the data directory below is its own.
        if geteuid().is_root() {
            let directory = part.file("");
            for passage in directory.ancestors().take(2) {
                std::fs::set_permissions(passage, Permissions::from_mode(0o711)).expect("it is ours");
            }
        }
        Self { programs, port: free_port(), settings, databases: AtomicU32::new(0), part }
    }

    /// With TLS and no other way.
    fn speak_tls(&mut self) {
        let tls = Tls::create(&self.part);
        // It takes no key that others may read, or that is not its own.
        std::fs::set_permissions(&tls.key, Permissions::from_mode(0o600)).expect("it is ours");
        if geteuid().is_root() {
            run(Command::new("chown").arg(SYSTEM_USER).arg(&tls.key));
        }
        std::fs::write(
            self.data().join("pg_hba.conf"),
            "hostssl all all 127.0.0.1/32 trust
",
        )
        .expect("it is ours");
        let file = |name: &str, file: &Path| format!("{name}={}", file.display());
        self.settings.push("ssl=on".to_owned());
        self.settings.push(file("ssl_cert_file", &tls.certificate));
        self.settings.push(file("ssl_key_file", &tls.key));
    }

    /// Makes an empty database and returns its URL.
    ///
    /// # Panics
    /// When the server does not answer.
    pub fn database(&self) -> String {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        let mut command = Command::new(self.programs.join("createdb"));
        command.args(["--host", "127.0.0.1", "--username", USER, "--port"]).arg(self.port.to_string());
        run(command.arg(&name));
        format!("postgres://{USER}@127.0.0.1:{}/{name}", self.port)
    }

    /// What `psql` prints for statements in the database at a URL of [`database`](Self::database), without headings.
    ///
    /// # Panics
    /// When the server is not there or refuses.
    pub fn query(&self, url: &str, statements: &str) -> String {
        let mut command = Command::new(self.programs.join("psql"));
        command.args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1"]);
        run(command.args(["--command", statements, url]))
    }

    /// Where it listens: `127.0.0.1:PORT`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Starts it on the same data and port, stopping it before if it runs, and waits until it serves.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn restart(&self) {
        self.stop();
        let mut command = self.command("postgres");
        command.arg("-D").arg(self.data()).arg("-p").arg(self.port.to_string());
        for setting in &self.settings {
            command.arg("-c").arg(setting);
        }
        self.part.restart(&command, Tie::Kernel, || self.serves());
    }

    /// Ends it in good order, also when it is halted, and waits for that. Clients are disconnected, not waited for.
    pub fn stop(&self) {
        self.signal_all(Signal::CONT);
        self.part.end(Signal::INT);
    }

    /// Ends all its processes as `kill -9` does.
    pub fn kill(&self) {
        self.part.kill();
        // Those of the connections see that themselves, but a new server must not find any.
        while self.signal_all(Signal::KILL) > 0 {
            std::thread::yield_now();
        }
    }

    /// Halts all its processes (SIGSTOP): connections stay open and nothing answers.
    pub fn pause(&self) {
        // First the one that makes others.
        self.part.pause();
        self.signal_all(Signal::STOP);
    }

    /// Lets it go on after [`pause`](Self::pause).
    pub fn resume(&self) {
        self.signal_all(Signal::CONT);
    }

    fn data(&self) -> PathBuf {
        self.part.file("data")
    }

    /// It takes none that others may look into.
    fn make_data_directory(&self) {
        let data = self.data();
        std::fs::create_dir(&data).expect("the directory of a part can be written to");
        std::fs::set_permissions(&data, Permissions::from_mode(0o700)).expect("it is ours");
        if geteuid().is_root() {
            run(Command::new("chown").arg(SYSTEM_USER).arg(&data));
        }
    }

    fn initialise(&self) {
        self.make_data_directory();
        let mut command = self.command("initdb");
        command.args(["--no-sync", "--auth", "trust", "--username", USER, "--encoding", "UTF8"]);
        command.args(["--locale", "C.UTF-8", "--locale-provider", "icu", "--icu-locale", "en-US"]);
        run(command.arg("-D").arg(self.data()));
    }

    /// One of its programs, as the user that it runs as.
    fn command(&self, program: &str) -> Command {
        let program = self.programs.join(program);
        if !geteuid().is_root() {
            return Command::new(program);
        }
        let mut command = Command::new("setpriv");
        command.args(["--reuid", SYSTEM_USER, "--regid", SYSTEM_USER, "--clear-groups"]);
        // With another user the kernel forgets whose end ends it.
        command.args(["setpriv", "--pdeathsig", "KILL"]).arg(program);
        command
    }

    /// It listens before it has recovered, and says so to `pg_isready`.
    fn serves(&self) -> bool {
        let mut command = Command::new(self.programs.join("pg_isready"));
        command.args(["--quiet", "--host", "127.0.0.1", "--port"]).arg(self.port.to_string());
        let listens = TcpStream::connect(("127.0.0.1", self.port)).is_ok();
        listens && command.stdin(Stdio::null()).status().is_ok_and(|status| status.success())
    }

    /// Signals all its processes, which work in its data directory; how many there were.
    fn signal_all(&self, signal: Signal) -> usize {
        let data = self.data();
        let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        let ours = processes
            .filter(|process| std::fs::read_link(process.path().join("cwd")).is_ok_and(|cwd| cwd == data));
        let ids = ours.filter_map(|process| process.file_name().to_str()?.parse().ok());
        ids.filter_map(Pid::from_raw).filter(|&id| kill_process(id, signal).is_ok()).count()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // Before the directory goes.
        self.kill();
    }
}

impl Deref for Postgres {
    type Target = Part;

    fn deref(&self) -> &Part {
        &self.part
    }
}

/// Where the programs are: of the latest version that is there.
fn find() -> Result<PathBuf, String> {
    needs("setpriv")?;
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let numbers = versions.filter_map(|version| version.file_name().to_str()?.parse::<u32>().ok());
    let latest = numbers.max().ok_or("nothing in /usr/lib/postgresql; Debian's package is postgresql")?;
    Ok(Path::new("/usr/lib/postgresql").join(latest.to_string()).join("bin"))
}

/// Runs a program to its end.
/// What it prints.
fn run(command: &mut Command) -> String {
    // It works where the other user may be too.
    let output = command.current_dir("/").stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} failed: {said}{errors}");
    said
}

/// The server that all tests of this process share, started by the first; none as in [`Postgres::start`]. Tests use databases
/// of their own, and don't stop it.
pub fn shared_postgres() -> Option<&'static Postgres> {
    static POSTGRES: OnceLock<Result<Postgres, String>> = OnceLock::new();
    let postgres = POSTGRES.get_or_init(|| Ok(Postgres::create(find()?, &[], false)));
    postgres.as_ref().map_err(|why| crate::not_covered("a real PostgreSQL", why)).ok()
}
