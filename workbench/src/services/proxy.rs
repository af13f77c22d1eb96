//! A TCP proxy between a client and PostgreSQL that breaks the network on purpose: cuts, goes silent, loses the answer
//! to a COMMIT, or stops the conversation at a chosen message. It reads the protocol's messages, so that a fault is
//! where the test wants it and not somewhere near.

mod message; // where messages end, and which ones the faults look for

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::Context as _;

use self::message::{Kind, Side, is_plain_request, length};
use super::wait_until;

/// How often a quiet connection looks whether a fault has begun or ended.
const TURN: Duration = Duration::from_millis(10);

/// What is lost of a COMMIT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// The request: the server does not commit.
    Request,
    /// The answer: the server has committed, and the client does not hear of it.
    Answer,
}

/// Where a transaction can be stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// The server has done an UPDATE (the fence); its answer, and all that follows, is withheld.
    AfterFence,
    /// The server has the first piece of a COPY's rows; the rest is withheld.
    InCopy,
    /// All of the transaction is done but COMMIT, which is withheld.
    BeforeCommit,
    /// The server has committed; its answer is withheld.
    CommitSent,
}

/// What has happened so far, so that a test can tell that its fault did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connections that were taken and passed on.
    pub connections: u64,
    /// Connections that were closed at once.
    pub refused: u64,
    /// Connections that were cut, by whatever fault.
    pub cut: u64,
    /// Those of them that were cut within a piece of a COPY's rows by [`Proxy::cut_after`].
    pub cut_in_copy: u64,
    /// COMMITs, or answers to one, that were lost.
    pub commits_lost: u64,
    /// Bytes that came while the proxy was silent.
    pub silenced_bytes: u64,
}

/// A running proxy. Ends, and cuts what goes through it, when dropped.
///
/// The two ends are told of a cut by an orderly close of the connection, or by a reset where the kernel still has bytes
/// that nobody read. TLS is declined by the proxy itself: it must be able to read.
///
/// Migrations and the catalog's questions are transactions as well: arm faults that look for messages once the client
/// is past its start.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    upstream: u16,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    over: bool,
    refuse: bool,
    silent: bool,
    lose: Option<Lost>,
    cut_after: Option<usize>,
    hold: Hold,
    counts: Counts,
    links: Vec<Arc<Link>>,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum Hold {
    #[default]
    Nothing,
    Armed(Point),
    /// What comes from this side of this connection is withheld.
    Held(u64, Side),
}

/// One connection, as its two halves.
#[derive(Debug)]
struct Link {
    id: u64,
    client: TcpStream,
    server: TcpStream,
}

impl Link {
    fn close(&self) {
        let _ = self.client.shutdown(Shutdown::Both);
        let _ = self.server.shutdown(Shutdown::Both);
    }
}

/// What becomes of a message.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Forward,
    /// Not now, as the proxy is silent.
    Silence,
    /// Not now, as the conversation is held here.
    Wait,
    /// So many of its bytes are forwarded, and the connection is cut.
    Cut(usize),
}

impl Proxy {
    /// Starts it on a free port of 127.0.0.1, in front of another one.
    pub fn start(upstream_port: u16) -> anyhow::Result<Self> {
        let listener =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("the proxy can't listen on loopback")?;
        let port = listener.local_addr()?.port();
        let shared = Arc::new(Shared {
            upstream: upstream_port,
            state: Mutex::default(),
        });
        let acceptor = thread::spawn({
            let shared = Arc::clone(&shared);
            move || accept(&listener, &shared)
        });
        Ok(Self {
            port,
            shared,
            acceptor: Some(acceptor),
        })
    }

    /// Where it listens, on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What has happened so far.
    pub fn counts(&self) -> Counts {
        self.shared.state().counts
    }

    /// Cuts all connections now, and says how many there were.
    pub fn cut(&self) -> usize {
        let mut state = self.shared.state();
        let links = std::mem::take(&mut state.links);
        state.counts.cut += links.len() as u64;
        for link in &links {
            link.close();
        }
        links.len()
    }

    /// Whether new connections are closed at once. Those that are open stay.
    pub fn refuse(&self, refuse: bool) {
        self.shared.state().refuse = refuse;
    }

    /// Whether nothing gets through, in either direction, while all connections stay open, and new ones are accepted
    /// and hear nothing. Bytes are taken and kept, and so is the end of a connection; when the silence ends they are
    /// all delivered, as a network does that comes back before TCP has given up. Call [`Proxy::cut`] first if they
    /// should not.
    pub fn silence(&self, silent: bool) {
        self.shared.state().silent = silent;
    }

    /// Loses the next COMMIT, or the answer to it, and cuts the connection there.
    pub fn lose_commit(&self, lost: Lost) {
        self.shared.state().lose = Some(lost);
    }

    /// Cuts the connection that carries the last of so many further bytes to the server, exactly after it.
    pub fn cut_after(&self, bytes: usize) {
        self.shared.state().cut_after = Some(bytes);
    }

    /// Stops the first conversation that reaches this point. What follows there is kept until [`Proxy::release`]; the
    /// other direction, and other connections, go on. A client that ends meanwhile is gone for the server as well.
    pub fn hold_at(&self, point: Point) {
        self.shared.state().hold = Hold::Armed(point);
    }

    /// Waits until a conversation is held, and says whether one is.
    pub fn wait_held(&self, limit: Duration) -> bool {
        wait_until(limit, || matches!(self.shared.state().hold, Hold::Held(..)))
    }

    /// Lets the held conversation go on, or disarms the hold.
    pub fn release(&self) {
        self.shared.state().hold = Hold::Nothing;
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.state().over = true;
        self.cut();
        // Wakes the thread that accepts.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for client in listener.incoming() {
        let mut state = shared.state();
        if state.over {
            return;
        }
        let Ok(client) = client else { continue };
        if state.refuse {
            state.counts.refused += 1;
            continue;
        }
        drop(state);
        // The server is on this machine: it takes the connection at once, or it is not there, which the client then
        // hears.
        let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, shared.upstream)) else {
            continue;
        };
        // An error here is a connection that has ended already.
        let _ = join(client, server, shared);
    }
}

/// Makes a connection of the two halves, with a thread for each direction.
fn join(client: TcpStream, server: TcpStream, shared: &Arc<Shared>) -> io::Result<()> {
    for half in [&client, &server] {
        half.set_nodelay(true)?;
        half.set_read_timeout(Some(TURN))?;
    }
    let mut state = shared.state();
    state.counts.connections += 1;
    let link = Arc::new(Link {
        id: state.counts.connections,
        client,
        server,
    });
    state.links.push(Arc::clone(&link));
    drop(state);
    for from in [Side::Client, Side::Server] {
        let (shared, link) = (Arc::clone(shared), Arc::clone(&link));
        thread::spawn(move || {
            // An error is the end of the connection, like any other end.
            let _ = pump(&shared, &link, from);
            link.close();
            shared.state().links.retain(|other| other.id != link.id);
        });
    }
    Ok(())
}

/// Carries messages from one side to the other until one of them ends, or the connection is cut.
fn pump(shared: &Shared, link: &Link, from: Side) -> io::Result<()> {
    let (mut source, mut target) = match from {
        Side::Client => (&link.client, &link.server),
        Side::Server => (&link.server, &link.client),
    };
    let mut waiting = Vec::new();
    let mut chunk = vec![0; 128 * 1024];
    let mut starting = from == Side::Client;
    let mut ended = false;
    loop {
        if ended {
            thread::sleep(TURN);
        } else {
            match source.read(&mut chunk) {
                Ok(0) => ended = true,
                Ok(count) => {
                    waiting.extend_from_slice(&chunk[..count]);
                    let mut state = shared.state();
                    if state.silent {
                        state.counts.silenced_bytes += count as u64;
                    }
                }
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => ended = true,
            }
        }

        let mut done = 0;
        let mut silent = false;
        while let Some(length) = length(&waiting[done..], starting) {
            let message = &waiting[done..done + length];
            if starting && is_plain_request(message) {
                (&link.client).write_all(b"N")?;
                done += length;
                continue;
            }
            let kind = Kind::of(message, from, starting);
            match shared.state().verdict(link.id, from, kind, length) {
                Verdict::Forward => target.write_all(message)?,
                Verdict::Silence => {
                    silent = true;
                    break;
                }
                Verdict::Wait => break,
                Verdict::Cut(bytes) => return target.write_all(&message[..bytes]),
            }
            starting = false;
            done += length;
        }
        waiting.drain(..done);
        // An end is told like a byte: after those before it, and not into a silence.
        if ended && !silent && !shared.state().silent {
            return Ok(());
        }
    }
}

impl State {
    fn verdict(&mut self, link: u64, from: Side, kind: Kind, length: usize) -> Verdict {
        if self.silent {
            return Verdict::Silence;
        }
        if self.hold == Hold::Held(link, from) {
            return Verdict::Wait;
        }
        let lost = match kind {
            Kind::Commit => self.lose == Some(Lost::Request),
            Kind::Committed => self.lose == Some(Lost::Answer),
            _ => false,
        };
        if lost {
            self.lose = None;
            self.counts.commits_lost += 1;
            self.counts.cut += 1;
            return Verdict::Cut(0);
        }
        let point = match kind {
            Kind::Updated => Some(Point::AfterFence),
            Kind::Rows => Some(Point::InCopy),
            Kind::Commit => Some(Point::BeforeCommit),
            Kind::Committed => Some(Point::CommitSent),
            Kind::Other => None,
        };
        if let Some(point) = point
            && self.hold == Hold::Armed(point)
        {
            self.hold = Hold::Held(link, from);
            // The first rows go, what comes after them is kept.
            if point != Point::InCopy {
                return Verdict::Wait;
            }
        }
        if from == Side::Client
            && let Some(left) = self.cut_after
        {
            if left <= length {
                self.cut_after = None;
                self.counts.cut += 1;
                self.counts.cut_in_copy += u64::from(kind == Kind::Rows);
                return Verdict::Cut(left);
            }
            self.cut_after = Some(left - length);
        }
        Verdict::Forward
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fault_is_where_it_was_asked_for() {
        let mut state = State::default();
        state.lose = Some(Lost::Answer);
        assert_eq!(state.verdict(1, Side::Client, Kind::Commit, 12), Verdict::Forward);
        assert_eq!(
            state.verdict(1, Side::Server, Kind::Committed, 12),
            Verdict::Cut(0)
        );
        assert_eq!(
            state.verdict(1, Side::Server, Kind::Committed, 12),
            Verdict::Forward
        );
        assert_eq!(state.counts.commits_lost, 1);

        state.cut_after = Some(100);
        assert_eq!(state.verdict(1, Side::Client, Kind::Other, 90), Verdict::Forward);
        assert_eq!(state.verdict(1, Side::Server, Kind::Other, 90), Verdict::Forward);
        assert_eq!(state.verdict(1, Side::Client, Kind::Rows, 90), Verdict::Cut(10));
        assert_eq!(state.counts.cut_in_copy, 1);

        state.hold = Hold::Armed(Point::InCopy);
        assert_eq!(state.verdict(1, Side::Client, Kind::Rows, 9), Verdict::Forward);
        assert_eq!(state.verdict(1, Side::Client, Kind::Rows, 9), Verdict::Wait);
        assert_eq!(state.verdict(1, Side::Server, Kind::Other, 9), Verdict::Forward);
        assert_eq!(state.verdict(2, Side::Client, Kind::Rows, 9), Verdict::Forward);
        state.hold = Hold::Armed(Point::CommitSent);
        assert_eq!(state.verdict(1, Side::Server, Kind::Committed, 9), Verdict::Wait);
        state.hold = Hold::Nothing;
        assert_eq!(
            state.verdict(1, Side::Server, Kind::Committed, 9),
            Verdict::Forward
        );
    }

    /// A connection through a proxy to a server that is this test.
    fn connected(proxy: &Proxy, server: &TcpListener) -> (TcpStream, TcpStream) {
        let client = TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port())).expect("connected");
        let (server, _) = server.accept().expect("passed on");
        for half in [&client, &server] {
            half.set_read_timeout(Some(Duration::from_secs(10)))
                .expect("a timeout");
        }
        (client, server)
    }

    #[test]
    fn what_silence_held_flows_on_and_a_cut_ends_both_halves() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let proxy = Proxy::start(listener.local_addr().expect("bound").port()).expect("a proxy");
        let (mut client, mut server) = connected(&proxy, &listener);
        client
            .write_all(b"\0\0\0\x08\x04\xd2\x16\x2f") // an SSLRequest
            .expect("written");
        let mut answer = [0];
        client.read_exact(&mut answer).expect("an answer");
        assert_eq!(&answer, b"N");

        proxy.silence(true);
        let startup = b"\0\0\0\x09\0\x03\0\0\0";
        client.write_all(startup).expect("written");
        let held = || proxy.counts().silenced_bytes == startup.len() as u64;
        assert!(wait_until(Duration::from_secs(10), held), "{:?}", proxy.counts());
        proxy.silence(false);
        let mut received = [0; 9];
        server.read_exact(&mut received).expect("what was held");
        assert_eq!(&received, startup);

        assert_eq!(proxy.cut(), 1);
        assert_eq!(client.read(&mut answer).expect("an end"), 0);
        assert_eq!(server.read(&mut answer).expect("an end"), 0);
        proxy.refuse(true);
        let mut refused = TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port())).expect("connected");
        assert_eq!(refused.read(&mut answer).expect("an end"), 0);
        assert_eq!(proxy.counts().refused, 1);
    }
}
