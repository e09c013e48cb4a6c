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
