//! A real PostgreSQL: its data outlive it, and it ends as a whole.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use testbed::Postgres;

/// Asks whether the server would speak TLS, which takes no login: `N`, unless it does not answer.
fn asks(address: &str) -> std::io::Result<u8> {
    let mut stream = TcpStream::connect(address)?;
    // Far above the time of an answer; only a halted server uses it up.
    stream.set_read_timeout(Some(Duration::from_millis(500)))?;
    stream.write_all(&[0, 0, 0, 8, 4, 210, 22, 47])?;
    let mut answer = [0];
    stream.read_exact(&mut answer)?;
    Ok(answer[0])
}

#[test]
fn it_is_killed_halted_and_started_again_on_the_same_data() {
    let Some(server) = Postgres::start() else { return };
    let (one, other) = (server.database(), server.database());
    assert_ne!(one, other);
    let address = server.address();
    assert_eq!(asks(&address).unwrap(), b'N');
    server.pause();
    let silence = asks(&address).unwrap_err().kind();
    assert!(matches!(silence, ErrorKind::WouldBlock | ErrorKind::TimedOut), "{silence:?}");
    server.resume();
    assert_eq!(asks(&address).unwrap(), b'N');
    server.kill();
    assert_eq!(asks(&address).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    server.restart();
    assert_eq!(asks(&address).unwrap(), b'N');
    server.stop();
    assert!(server.log().contains("database system is shut down"), "{}", server.log());
    server.restart();
    // The databases are still there: a third gets another name.
    assert_ne!(server.database(), other);
}
