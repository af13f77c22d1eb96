//! Owns one HTTP request to a program on this machine: status and body.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, ensure};

/// The program is on this machine: whoever takes longer hangs.
const LIMIT: Duration = Duration::from_secs(1);

/// One request: status and body.
pub fn get(address: SocketAddr, path: &str) -> anyhow::Result<(u16, String)> {
    get_within(LIMIT, address, path)
}

/// The same, of a program that may take its time between two bytes.
pub fn get_within(limit: Duration, address: SocketAddr, path: &str) -> anyhow::Result<(u16, String)> {
    // HTTP 1.0: no chunks.
    let line = format!("GET {path} HTTP/1.0");
    let (status, _, body) = ask(limit, address, &line, &address.to_string(), "")?;
    Ok((status, body))
}

/// A request by its first line (`POST /path HTTP/1.1`), with a body, for a host by any name: status, head and body. The
/// answer must come in one piece: what is sent in chunks is not put together.
pub fn ask(
    limit: Duration,
    address: SocketAddr,
    line: &str,
    host: &str,
    body: &str,
) -> anyhow::Result<(u16, String, String)> {
    let mut stream = TcpStream::connect_timeout(&address, limit)?;
    stream.set_read_timeout(Some(limit))?;
    stream.set_write_timeout(Some(limit))?;
    let length = body.len();
    write!(
        stream,
        "{line}\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
    )?;
    read(stream)
}

/// The answer's end is where it says, or else the connection's: some keep that open whatever they are told.
fn read(stream: TcpStream) -> anyhow::Result<(u16, String, String)> {
    let mut answer = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        ensure!(answer.read_line(&mut head)? > 0, "half an answer");
    }
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let named = name.eq_ignore_ascii_case("content-length");
        named.then(|| value.trim().parse::<u64>().ok())?
    });
    let mut body = String::new();
    answer
        .take(length.unwrap_or(u64::MAX))
        .read_to_string(&mut body)?;
    let status = head.split(' ').nth(1).context("no status")?.parse()?;
    Ok((status, head, body))
}
