//! A TCP proxy that does to connections what networks and dying servers do. It knows where a request of HTTP begins, so that
//! a fault can be aimed at one kind of request; to it any other protocol is bytes.

mod relay;
mod state;

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::place::free_port;
use state::State;

pub use state::{Injected, Mode};

/// What can happen to a single request, and to the connection it came on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The upstream gets this many bytes of it, and both sides see the connection end. None: it never hears of it.
    CutRequest(usize),
    /// The upstream does it and begins to answer; the client gets this many bytes of that (fewer than there are), and both
    /// see the connection end.
    CutAnswer(usize),
    /// The client is answered with this HTTP status, and the upstream never hears of it.
    Answer(u16),
    /// Nobody answers, ever; the upstream never hears of it.
    Hang,
}

/// A running proxy at a port of its own. Its connections are cut when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    state: Arc<State>,
}

impl Proxy {
    /// A proxy before `upstream` (`HOST:PORT`), without any fault.
    ///
    /// # Panics
    /// When it can't listen.
    pub fn start(upstream: &str) -> Self {
        let (listener, address) = loop {
            let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
            // Another process may have taken the port just now.
            if let Ok(listener) = TcpListener::bind(address) {
                break (listener, address);
            }
        };
        let state = Arc::new(State::new(upstream));
        let own = state.clone();
        thread::spawn(move || accept(listener, address, &own));
        Self { address, state }
    }

    /// Where clients connect: `127.0.0.1:PORT`.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Where new connections are forwarded to from now on.
    pub fn set_upstream(&self, upstream: &str) {
        self.state.control().upstream = upstream.to_owned();
    }

    /// What happens to all connections from now on.
    pub fn set_mode(&self, mode: Mode) {
        self.state.set_mode(Some(mode));
        if mode == Mode::Refuse {
            self.wake();
            self.cut_all();
        }
    }

    /// How long each piece waits before it is passed on, in either direction.
    pub fn set_latency(&self, latency: Duration) {
        self.state.control().latency = latency;
    }

    /// The next `times` requests whose first line holds `part` meet the fault; `INSERT+INTO+requests` is such a part. With an
    /// empty part every piece of any protocol counts as a request. Plans add up, and the oldest that fits is used.
    pub fn plan(&self, part: &str, fault: Fault, times: usize) {
        self.state.plan(part, fault, times);
    }

    /// Forgets what was planned and has not happened.
    pub fn clear_plans(&self) {
        self.state.control().plans.clear();
    }

    /// How many planned faults have not happened yet.
    pub fn planned(&self) -> usize {
        self.state.control().plans.iter().map(|plan| plan.left).fold(0, usize::saturating_add)
    }

    /// How many connections there are.
    pub fn connections(&self) -> usize {
        self.state.connections()
    }

    /// Cuts all connections there are, whatever they are in the middle of; how many that were.
    pub fn cut_all(&self) -> usize {
        self.state.cut_all()
    }

    /// What has been done to connections so far.
    pub fn injected(&self) -> Injected {
        self.state.control().injected
    }

    /// The acceptor waits for a connection and looks around only after that.
    fn wake(&self) {
        let _ = TcpStream::connect_timeout(&self.address, Duration::from_secs(1));
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.state.set_mode(None);
        self.wake();
        self.state.cut_all();
    }
}

/// Takes connections until the proxy is dropped. While it refuses there is no listener, so that clients are refused by the
/// system as they are when a server is down.
fn accept(listener: TcpListener, address: SocketAddr, state: &Arc<State>) {
    let mut open = Some(listener);
    while let Some(listener) = open {
        let accepted = listener.accept();
        match state.mode() {
            None => return,
            Some(Mode::Refuse) => {
                drop((listener, accepted));
                open = listen_again(address, state);
            }
            Some(Mode::Forward | Mode::Stall) => {
                if let Ok((client, _)) = accepted {
                    relay::start(client, state);
                }
                open = Some(listener);
            }
        }
    }
}

/// A listener at the same port, once that is wanted; none when it never will be.
fn listen_again(address: SocketAddr, state: &State) -> Option<TcpListener> {
    while state.wait_while(Mode::Refuse).is_some() {
        if let Ok(listener) = TcpListener::bind(address) {
            return Some(listener);
        }
        thread::sleep(Duration::from_millis(10));
    }
    None
}
