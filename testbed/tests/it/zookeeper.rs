//! A ZooKeeper that answers, also after it was killed.

use std::io::{Read, Write};
use std::net::TcpStream;

use testbed::ZooKeeper;

fn mode(address: &str) -> Option<String> {
    let mut server = TcpStream::connect(address).ok()?;
    server.write_all(b"srvr").unwrap();
    let mut answer = String::new();
    server.read_to_string(&mut answer).unwrap();
    answer.lines().find_map(|line| line.strip_prefix("Mode: ")).map(str::to_owned)
}

#[test]
fn it_serves_and_comes_back() {
    let Some(server) = ZooKeeper::start() else { return };
    assert_eq!(mode(&server.address()).unwrap(), "standalone", "{}", server.log());
    server.kill();
    assert_eq!(mode(&server.address()), None);
    server.restart();
    assert_eq!(mode(&server.address()).unwrap(), "standalone", "{}", server.log());
}
