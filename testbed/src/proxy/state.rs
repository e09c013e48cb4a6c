//! What a proxy was told and what it has done, shared by the handle and the threads of its connections.

use std::net::{Shutdown, TcpStream};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::Fault;

/// What happens to all connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Everything is passed on.
    Forward,
    /// Nothing is passed on, in either direction; it is when the mode changes back. Connections are accepted.
    Stall,
    /// There is nobody at the port, and connections that were there are cut.
    Refuse,
}

/// What has been done, by kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Injected {
    /// Requests cut short: [`Fault::CutRequest`].
    pub requests_cut: u64,
    /// Answers cut short: [`Fault::CutAnswer`].
    pub answers_cut: u64,
    /// Requests answered in the upstream's place: [`Fault::Answer`].
    pub answered: u64,
    /// Requests that nobody answers: [`Fault::Hang`].
    pub hung: u64,
    /// Connections cut by [`Proxy::cut_all`](super::Proxy::cut_all) and by refusing.
    pub connections_cut: u64,
}

impl Injected {
    pub(super) fn count(&mut self, fault: Fault) {
        let number = match fault {
            Fault::CutRequest(_) => &mut self.requests_cut,
            Fault::CutAnswer(_) => &mut self.answers_cut,
            Fault::Answer(_) => &mut self.answered,
            Fault::Hang => &mut self.hung,
        };
        *number += 1;
    }
}

#[derive(Debug)]
pub(super) struct Plan {
    part: String,
    fault: Fault,
    pub(super) left: usize,
}

#[derive(Debug)]
pub(super) struct Control {
    pub(super) upstream: String,
    pub(super) latency: Duration,
    pub(super) plans: Vec<Plan>,
    pub(super) injected: Injected,
    /// None once the proxy was dropped.
    mode: Option<Mode>,
    /// Both ends of each connection, by its number.
    connections: Vec<(u64, TcpStream, TcpStream)>,
    next: u64,
}

#[derive(Debug)]
pub(super) struct State {
    control: Mutex<Control>,
    changed: Condvar,
}

impl State {
    pub(super) fn new(upstream: &str) -> Self {
        let control = Control {
            upstream: upstream.to_owned(),
            latency: Duration::ZERO,
            plans: Vec::new(),
            injected: Injected::default(),
            mode: Some(Mode::Forward),
            connections: Vec::new(),
            next: 0,
        };
        Self { control: Mutex::new(control), changed: Condvar::new() }
    }

    pub(super) fn control(&self) -> MutexGuard<'_, Control> {
        self.control.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn mode(&self) -> Option<Mode> {
        self.control().mode
    }

    pub(super) fn set_mode(&self, mode: Option<Mode>) {
        self.control().mode = mode;
        self.changed.notify_all();
    }

    /// Returns the mode once it is another one.
    pub(super) fn wait_while(&self, mode: Mode) -> Option<Mode> {
        let waited = self.changed.wait_while(self.control(), |control| control.mode == Some(mode));
        waited.unwrap_or_else(PoisonError::into_inner).mode
    }

    pub(super) fn plan(&self, part: &str, fault: Fault, times: usize) {
        self.control().plans.push(Plan { part: part.to_owned(), fault, left: times });
    }

    /// The fault that the request with this first line is to meet; it is used up by that.
    pub(super) fn take_fault(&self, line: &str) -> Option<Fault> {
        let mut control = self.control();
        let plan = control.plans.iter_mut().find(|plan| line.contains(&plan.part))?;
        let fault = plan.fault;
        plan.left = plan.left.saturating_sub(1);
        control.plans.retain(|plan| plan.left > 0);
        Some(fault)
    }

    pub(super) fn is_planned(&self) -> bool {
        !self.control().plans.is_empty()
    }

    /// Notes a connection, so that it can be cut; its number.
    pub(super) fn opened(&self, client: TcpStream, server: TcpStream) -> u64 {
        let mut control = self.control();
        control.next += 1;
        let number = control.next;
        control.connections.push((number, client, server));
        number
    }

    /// Ends a connection for both sides.
    pub(super) fn close(&self, number: u64) {
        let mut control = self.control();
        if let Some(at) = control.connections.iter().position(|(known, ..)| *known == number) {
            let (_, client, server) = control.connections.swap_remove(at);
            end(&client, &server);
        }
    }

    pub(super) fn connections(&self) -> usize {
        self.control().connections.len()
    }

    pub(super) fn cut_all(&self) -> usize {
        let mut control = self.control();
        let all = std::mem::take(&mut control.connections);
        control.injected.connections_cut += all.len() as u64;
        for (_, client, server) in &all {
            end(client, server);
        }
        all.len()
    }
}

/// The threads of the connection hold sockets of their own, so closing ours would not be enough.
fn end(client: &TcpStream, server: &TcpStream) {
    for side in [client, server] {
        let _ = side.shutdown(Shutdown::Both);
    }
}
