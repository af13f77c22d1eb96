//! Owns the answer to `storage-consumer healthcheck`: what the running process on this machine says of itself. For the
//! health checks of containers whose image holds nothing else that speaks HTTP.

use serde::Deserialize;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

/// It is on this machine: whoever takes longer hangs. Below Docker's own 30 seconds.
const LIMIT: Duration = Duration::from_secs(5);

/// No answer is longer; a stranger on that port may say anything.
const LONGEST: u64 = 64 * 1024;

/// What `/live` and `/ready` say beside their status.
#[derive(Deserialize)]
struct Answer {
    reasons: Vec<String>,
}

/// What only this command takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::Args)]
pub struct Options {
    /// Ask whether it is alive, in place of whether it is ready
    #[arg(long)]
    live: bool,
}

/// Asks `/ready`, or `/live`; prints the answer on one line, and returns the exit code: 0 for yes, otherwise 1.
pub fn run(http_listen: Option<SocketAddr>, options: Options) -> u8 {
    let question = if options.live { "live" } else { "ready" };
    let (code, text) = match http_listen {
        None => (1, "nobody to ask: --http-listen (HTTP_LISTEN) is off".to_owned()),
        Some(address) => match ask(reachable(address), question) {
            Ok(reasons) if reasons.is_empty() => (0, question.to_owned()),
            Ok(reasons) => (1, format!("not {question}: {}", reasons.join("; "))),
            Err(error) => (
                1,
                format!(
                    "no answer from {address}: {error}; is it --http-listen (HTTP_LISTEN) of the running process?"
                ),
            ),
        },
    };
    // Whoever closed our output does not want to hear more.
    drop(writeln!(io::stdout(), "{text}"));
    code
}

/// Where a listener on all addresses of the machine is reached from the machine itself.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

/// Nothing for yes, otherwise why not.
fn ask(address: SocketAddr, question: &str) -> io::Result<Vec<String>> {
    let mut stream = TcpStream::connect_timeout(&address, LIMIT)?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.set_write_timeout(Some(LIMIT))?;
    // HTTP 1.0: no chunks, and the end of the answer is the end of the connection.
    write!(stream, "GET /{question} HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(LONGEST).read_to_end(&mut answer)?;
    reasons(&String::from_utf8_lossy(&answer)).ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            "it speaks otherwise than storage-consumer does",
        )
    })
}

/// The reasons in an answer; `None` for one that we did not write.
fn reasons(answer: &str) -> Option<Vec<String>> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?;
    let Answer { reasons } = serde_json::from_str(body).ok()?;
    let expected = if reasons.is_empty() { "200" } else { "503" };
    (status == expected).then_some(reasons)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_is_read() {
        let answer =
            |status: &str, body: &str| reasons(&format!("HTTP/1.0 {status} X\r\na: b\r\n\r\n{body}"));
        assert_eq!(answer("200", r#"{"ready":true,"reasons":[]}"#), Some(Vec::new()));
        assert_eq!(
            answer("503", r#"{"ready":false,"reasons":["a","b"]}"#),
            Some(vec!["a".to_owned(), "b".to_owned()])
        );
        assert_eq!(answer("200", "<html>a stranger</html>"), None);
        assert_eq!(answer("404", r#"{"reasons":[]}"#), None);
        assert_eq!(reasons("no HTTP"), None);
    }

    #[test]
    fn a_listener_on_all_addresses_is_asked_on_loopback() {
        let of = |text: &str| reachable(text.parse().expect("an address")).to_string();
        assert_eq!(of("0.0.0.0:9090"), "127.0.0.1:9090");
        assert_eq!(of("[::]:9090"), "[::1]:9090");
        assert_eq!(of("10.1.2.3:80"), "10.1.2.3:80");
    }
}
