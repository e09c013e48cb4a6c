//! What all parts have in common: a directory, a process that can be ended, halted and started again on the same data, and
//! a log. What runs in it and how one sees that it answers is the part's own affair.

use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::place;
use crate::process::{Process, Tie};

/// How long a part may take to come up on a machine that is busy with something else. Never a statement about speed.
const PATIENCE: Duration = Duration::from_secs(120);

/// A process with a directory. Every part is one: `kafka.kill()` is this type's.
///
/// When it is dropped the process is killed and the directory removed.
#[derive(Debug)]
pub struct Part {
    // Before the directory: fields are dropped in this order.
    process: Mutex<Option<Process>>,
    directory: TempDir,
}

impl Part {
    /// Nothing runs yet.
    pub(crate) fn new(name: &str) -> Self {
        Self { process: Mutex::default(), directory: place::directory(name) }
    }

    /// Ends it in good order (SIGTERM), also when it is halted, and waits for that.
    pub fn stop(&self) {
        self.end(Signal::TERM);
    }

    /// Ends it as `kill -9` does.
    pub fn kill(&self) {
        self.end(Signal::KILL);
    }

    /// Halts it (SIGSTOP): connections stay open and nothing answers.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on after [`pause`](Self::pause).
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// What it has logged so far, over all its lives.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// A file in its directory, which is there or not.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A file that it reads at its start.
    pub(crate) fn write(&self, name: &str, content: &str) {
        std::fs::write(self.file(name), content).expect("the directory of a part can be written to");
    }

    /// Starts it, stopping it before if it runs, and waits until it is ready.
    ///
    /// # Panics
    /// When it ends by itself before, or takes longer than anyone would wait.
    pub(crate) fn restart(&self, command: &Command, tie: Tie, mut is_ready: impl FnMut() -> bool) {
        self.stop();
        *self.process() = Some(Process::start(command, tie, &self.log_path()));
        let started = Instant::now();
        while !is_ready() {
            match &mut *self.process() {
                Some(process) => process.assert_running(),
                // Another thread has ended it; it will know what it does.
                None => return,
            }
            assert!(started.elapsed() < PATIENCE, "waited in vain for {command:?}\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn log_path(&self) -> PathBuf {
        self.file("log")
    }

    fn process(&self) -> MutexGuard<'_, Option<Process>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends it with this signal, also when it is halted, and waits for that.
    pub(crate) fn end(&self, signal: Signal) {
        let process = self.process().take();
        if let Some(process) = process {
            process.end(signal);
        }
    }

    fn signal(&self, signal: Signal) {
        if let Some(process) = &*self.process() {
            process.signal(signal);
        }
    }
}
