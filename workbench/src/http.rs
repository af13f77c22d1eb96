//! Owns one HTTP request to a program on this machine: status and body.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::Context as _;

/// The program is on this machine: whoever takes longer hangs.
const LIMIT: Duration = Duration::from_secs(1);

/// One request: status and body.
pub fn get(address: SocketAddr, path: &str) -> anyhow::Result<(u16, String)> {
    get_within(LIMIT, address, path)
}

/// The same, of a program that may take its time between two bytes.
pub fn get_within(limit: Duration, address: SocketAddr, path: &str) -> anyhow::Result<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&address, limit)?;
    stream.set_read_timeout(Some(limit))?;
    stream.set_write_timeout(Some(limit))?;
    // HTTP 1.0: no chunks, and the answer's end is the connection's.
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("half an answer")?;
    let status = head.split(' ').nth(1).context("no status")?.parse()?;
    Ok((status, body.to_owned()))
}
