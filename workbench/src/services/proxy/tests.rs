//! The proxy's faults, by their verdicts and on sockets.

use super::*;

#[test]
fn each_fault_is_where_it_was_asked_for() {
    let mut state = State {
        lose: Some(Lost::Answer),
        ..State::default()
    };
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
