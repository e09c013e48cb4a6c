//! A child process that ends with ours, its output in a file. What it is and when it is ready is not known here.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::sync::mpsc::{Sender, SyncSender, channel, sync_channel};

use rustix::process::{Pid, Signal, kill_process};

/// How much of a log is shown when a part fails: enough for a stack trace.
const LOG_SHOWN_BYTES: usize = 8000;

/// What ends a child when our process is gone, however that went.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Tie {
    /// The kernel sends it SIGKILL, by `setpriv`.
    Kernel,
    /// It ends by itself when its standard input closes.
    StandardInput,
}

/// A child process. Killed when it is dropped.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts it; its output is appended to `log`.
    pub(crate) fn start(command: &Command, tie: Tie, log: &Path) -> Self {
        let mut tied = match tie {
            Tie::Kernel => Command::new("setpriv"),
            Tie::StandardInput => Command::new(command.get_program()),
        };
        if let Tie::Kernel = tie {
            tied.args(["--pdeathsig", "KILL"]).arg(command.get_program());
        }
        let output = File::options().create(true).append(true).open(log).expect("no log can be written");
        let errors = output.try_clone().expect("no log can be written");
        tied.args(command.get_args()).stdin(Stdio::piped()).stdout(output).stderr(errors);
        let child = spawn(tied).unwrap_or_else(|error| panic!("{command:?} can't be started: {error}"));
        Self { child, log: log.to_owned() }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a child has an id");
        // It may have ended just now.
        let _ = kill_process(pid, signal);
    }

    /// Sends the signal and waits until it has ended, also when it was halted.
    pub(crate) fn end(mut self, signal: Signal) {
        self.signal(signal);
        self.signal(Signal::CONT);
        self.child.wait().expect("a child can be waited for");
    }

    /// # Panics
    /// When it has ended by itself.
    pub(crate) fn assert_running(&mut self) {
        if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
            let log = std::fs::read(&self.log).unwrap_or_default();
            let end = String::from_utf8_lossy(&log[log.len().saturating_sub(LOG_SHOWN_BYTES)..]);
            panic!("it ended by itself ({status}); {}:\n{end}", self.log.display());
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Spawns from a thread that lives as long as the process: the kernel ties a child to the thread that spawned it, and the
/// thread of a test ends with the test.
fn spawn(command: Command) -> io::Result<Child> {
    type Job = (Command, SyncSender<io::Result<Child>>);
    static SPAWNER: LazyLock<Sender<Job>> = LazyLock::new(|| {
        let (sender, jobs) = channel::<Job>();
        std::thread::spawn(move || {
            for (mut command, done) in jobs {
                // Nobody waits if the test has panicked meanwhile.
                let _ = done.send(command.spawn());
            }
        });
        sender
    });
    let (done, child) = sync_channel(1);
    SPAWNER.send((command, done)).map_err(io::Error::other)?;
    child.recv().map_err(io::Error::other)?
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::path::Path;
    use std::process::{Command, Stdio};
    use std::time::Duration;

    use super::{Process, Tie};

    /// Set for the run of this test that is killed.
    const VICTIM: &str = "TESTBED_TEST_VICTIM";

    fn runs(pid: &str) -> bool {
        // A zombie has no command line.
        std::fs::read(Path::new("/proc").join(pid).join("cmdline")).is_ok_and(|line| !line.is_empty())
    }

    #[test]
    fn a_child_dies_with_us_and_not_with_the_thread_that_asked_for_it() {
        let log = tempfile::NamedTempFile::new().unwrap();
        let path = log.path().to_owned();
        let start = move |tie, program: &str, argument: &str| {
            let mut command = Command::new(program);
            Process::start(command.arg(argument), tie, &path)
        };
        if std::env::var_os(VICTIM).is_some() {
            let asked = std::thread::spawn(move || {
                [start(Tie::Kernel, "sleep", "600"), start(Tie::StandardInput, "cat", "-")]
            });
            let mut children = asked.join().unwrap();
            // The thread that asked is gone; that its children run is what the other process sees.
            std::thread::sleep(Duration::from_millis(100));
            children.iter_mut().for_each(Process::assert_running);
            println!("\npids {} {}", children[0].child.id(), children[1].child.id());
            std::thread::sleep(Duration::from_secs(600));
        }
        let own = std::env::current_exe().unwrap();
        let name = "process::tests::a_child_dies_with_us_and_not_with_the_thread_that_asked_for_it";
        let mut victim = Command::new(own)
            .args(["--exact", name, "--nocapture"])
            .env(VICTIM, "1")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(victim.stdout.take().unwrap()).lines();
        let pids = lines.map_while(Result::ok).find_map(|line| Some(line.strip_prefix("pids ")?.to_owned()));
        let pids = pids.unwrap();
        assert!(pids.split(' ').all(runs), "{pids}");
        victim.kill().unwrap();
        victim.wait().unwrap();
        while pids.split(' ').any(runs) {
            std::thread::yield_now();
        }
    }
}
