//! Free ports on loopback. Whoever takes one binds it a moment later: a clash is improbable, not
//! impossible, so the services try again with another port when they meet one.

use std::collections::HashSet;
use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use anyhow::bail;

/// Below 32768, where the kernel starts to pick local ends for outgoing connections: such a connection
/// could take the port of a service that is just being restarted, and a client that knocks there could even
/// connect to itself.
const RANGE: Range<u16> = 15_000..32_000;

/// Ports that this process has got already: a stopped service still owns its port.
static TAKEN: Mutex<Option<HashSet<u16>>> = Mutex::new(None);

/// A port of 127.0.0.1 that nobody listens on and that this process has not been given before.
pub fn free_port() -> anyhow::Result<u16> {
    let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
    let taken = taken.get_or_insert_default();
    for _ in 0..1_000 {
        let port = rand::random_range(RANGE);
        if !taken.contains(&port) && TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            taken.insert(port);
            return Ok(port);
        }
    }
    bail!("no free port from {} to {}", RANGE.start, RANGE.end - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_port_is_given_twice_and_each_can_be_bound() {
        let ports: Vec<u16> = (0..200).map(|_| free_port().expect("a free port")).collect();
        assert_eq!(ports.iter().collect::<HashSet<_>>().len(), ports.len());
        TcpListener::bind((Ipv4Addr::LOCALHOST, ports[0])).expect("the port is free");
    }

    #[test]
    fn a_port_in_use_is_not_given() {
        let listeners: Vec<u16> = (0..50).map(|_| free_port().expect("a free port")).collect();
        let held = TcpListener::bind((Ipv4Addr::LOCALHOST, listeners[0])).expect("the port is free");
        let given = free_port().expect("a free port");
        assert_ne!(given, held.local_addr().expect("bound").port());
    }
}
