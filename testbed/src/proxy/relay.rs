//! One connection: a thread for what the client sends, where requests are told apart and meet their faults, and one for
//! what the upstream answers.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::Fault;
use super::state::{Mode, State};

/// As much as a socket's buffer usually yields.
const PIECE_BYTES: usize = 1 << 16;

/// A first line that is longer is passed on unseen. ClickHouse takes no longer ones.
const LINE_BYTES_MAX: usize = 1 << 20;

/// How requests of HTTP begin that a fault can be aimed at.
const METHODS: [&[u8]; 4] = [b"GET ", b"POST ", b"PUT ", b"DELETE "];

/// How many bytes of the next answer the client gets before the connection is cut; none planned at the largest value.
struct AnswerCut(AtomicUsize);

impl AnswerCut {
    const NONE: usize = usize::MAX;

    fn planned(&self) -> Option<usize> {
        Some(self.0.load(Ordering::SeqCst)).filter(|bytes| *bytes != Self::NONE)
    }
}

/// Serves the client until either side ends the connection or a fault does.
pub(super) fn start(client: TcpStream, state: &Arc<State>) {
    let state = state.clone();
    thread::spawn(move || {
        let upstream = state.control().upstream.clone();
        // Nobody there: to the client it looks like a connection that was cut at once.
        let Ok(server) = TcpStream::connect(upstream) else { return };
        let _ = relay(&client, &server, &state);
    });
}

fn relay(client: &TcpStream, server: &TcpStream, state: &Arc<State>) -> io::Result<()> {
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let number = state.opened(client.try_clone()?, server.try_clone()?);
    let cut = AnswerCut(AtomicUsize::new(AnswerCut::NONE));
    thread::scope(|threads| {
        threads.spawn(|| {
            if answers(server, client, state, &cut).is_err() {
                state.close(number);
            }
        });
        if requests(client, server, state, &cut).is_err() {
            state.close(number);
        }
    });
    state.close(number);
    Ok(())
}

/// From the upstream to the client. An error ends the connection for both; an end is passed on as one.
fn answers(mut server: &TcpStream, mut client: &TcpStream, state: &State, cut: &AnswerCut) -> io::Result<()> {
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let read = server.read(&mut piece)?;
        pass_gate(state)?;
        if read == 0 {
            return client.shutdown(Shutdown::Write);
        }
        if let Some(bytes) = cut.planned() {
            let given = read.min(bytes);
            client.write_all(&piece[..given])?;
            if given == bytes {
                state.control().injected.count(Fault::CutAnswer(bytes));
                return Err(ErrorKind::ConnectionAborted.into());
            }
            cut.0.store(bytes - given, Ordering::SeqCst);
        } else {
            client.write_all(&piece[..read])?;
        }
    }
}

/// From the client to the upstream, in the same way.
fn requests(
    mut client: &TcpStream,
    mut server: &TcpStream,
    state: &State,
    cut: &AnswerCut,
) -> io::Result<()> {
    let mut piece = vec![0; PIECE_BYTES];
    // How much more of a request is let through that is to be cut.
    let mut until_cut: Option<usize> = None;
    loop {
        let mut read = client.read(&mut piece)?;
        // Only a planned fault is a reason to wait for the rest of a line.
        while state.is_planned() && is_partial_line(&piece[..read]) {
            piece.resize(read + PIECE_BYTES, 0);
            match client.read(&mut piece[read..])? {
                0 => break,
                more => read += more,
            }
        }
        pass_gate(state)?;
        if read == 0 {
            return server.shutdown(Shutdown::Write);
        }
        if until_cut.is_none() {
            match state.take_fault(first_line(&piece[..read])) {
                None => {}
                Some(Fault::CutAnswer(bytes)) => cut.0.store(bytes, Ordering::SeqCst),
                Some(Fault::CutRequest(bytes)) => until_cut = Some(bytes),
                Some(fault @ Fault::Answer(status)) => {
                    state.control().injected.count(fault);
                    give(client, status)?;
                    return swallow(client);
                }
                Some(Fault::Hang) => {
                    state.control().injected.count(Fault::Hang);
                    return swallow(client);
                }
            }
        }
        let given = until_cut.map_or(read, |left| left.min(read));
        server.write_all(&piece[..given])?;
        if let Some(left) = &mut until_cut {
            *left -= given;
            if *left == 0 {
                state.control().injected.count(Fault::CutRequest(0));
                return Err(ErrorKind::ConnectionAborted.into());
            }
        }
    }
}

/// Waits as long as nothing is to pass, and the latency.
fn pass_gate(state: &State) -> io::Result<()> {
    match state.wait_while(Mode::Stall) {
        Some(Mode::Forward | Mode::Stall) => {}
        Some(Mode::Refuse) | None => return Err(ErrorKind::ConnectionAborted.into()),
    }
    let latency = state.control().latency;
    if !latency.is_zero() {
        thread::sleep(latency);
    }
    Ok(())
}

/// Answers in the upstream's place.
fn give(mut client: &TcpStream, status: u16) -> io::Result<()> {
    let head = format!("HTTP/1.1 {status} Injected\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    client.write_all(head.as_bytes())?;
    client.shutdown(Shutdown::Write)
}

/// Reads what the client still sends, into nothing: closing before would have the system reset the connection, and the
/// client might never see its answer. Ends with an error, for the upstream is not to wait for more.
fn swallow(mut client: &TcpStream) -> io::Result<()> {
    io::copy(&mut client, &mut io::sink())?;
    Err(ErrorKind::ConnectionAborted.into())
}

fn is_request(piece: &[u8]) -> bool {
    METHODS.iter().any(|method| piece.starts_with(method))
}

fn is_partial_line(piece: &[u8]) -> bool {
    is_request(piece) && piece.len() < LINE_BYTES_MAX && !piece.contains(&b'\r')
}

/// Where a request begins its first line, elsewhere nothing.
fn first_line(piece: &[u8]) -> &str {
    let line = piece.split(|byte| *byte == b'\r').next().filter(|_| is_request(piece));
    line.and_then(|line| str::from_utf8(line).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{first_line, is_partial_line};

    #[test]
    fn a_request_is_known_by_its_first_line() {
        for (piece, line, partial) in [
            (
                &b"POST /?query=INSERT+INTO+t HTTP/1.1\r\nhost: x\r\n"[..],
                "POST /?query=INSERT+INTO+t HTTP/1.1",
                false,
            ),
            (b"POST /?query=INS", "POST /?query=INS", true),
            (b"POSTERIOR\r\n", "", false),
            (b"\x03\x00 INSERT", "", false),
            (b"", "", false),
        ] {
            assert_eq!((first_line(piece), is_partial_line(piece)), (line, partial), "{piece:?}");
        }
    }
}
