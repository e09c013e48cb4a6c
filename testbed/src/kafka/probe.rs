//! Whether a broker serves: it answers a request for metadata, and counts itself among the brokers. A socket that accepts
//! is not enough, for it accepts before the node has joined its own cluster, and topics can't be made until then.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

/// An answer takes milliseconds; one that takes longer than this is asked for again.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// Metadata, version 1, as request 7 of client "testbed", of no topics; preceded by its length.
const REQUEST: [u8; 25] = *b"\0\0\0\x15\0\x03\0\x01\0\0\0\x07\0\x07testbed\0\0\0\0";

pub(super) fn serves(port: u16) -> bool {
    brokers(port).is_ok_and(|count| count > 0)
}

/// The first field of the answer: how many brokers there are.
fn brokers(port: u16) -> io::Result<i32> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut broker = TcpStream::connect_timeout(&address, ANSWER_MAX)?;
    broker.set_read_timeout(Some(ANSWER_MAX))?;
    broker.write_all(&REQUEST)?;
    // Length, number of the request, count of brokers.
    let mut answer = [0; 12];
    broker.read_exact(&mut answer)?;
    Ok(i32::from_be_bytes([answer[8], answer[9], answer[10], answer[11]]))
}
