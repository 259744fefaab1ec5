//! A relay of TCP connections on loopback that breaks after a number of bytes: the path to a host
//! that dies.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddrV4, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// End of a connection when enough bytes have passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Death {
    /// Both sides see the end of the connection.
    Cut,
    /// Nothing passes any more in either direction, and neither side is told.
    Silence,
}

/// A direction of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the client to the host.
    There,
    /// From the host to the client.
    Back,
}

/// Where and how a path dies: after so many bytes in this direction.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    /// The direction whose bytes are counted.
    pub direction: Direction,
    /// The number of bytes that still arrive.
    pub after: u64,
    /// How the path dies.
    pub death: Death,
}

#[derive(Debug)]
struct State {
    fault: Option<Fault>,
    /// Bytes that have passed: there and back, over all connections.
    passed: [AtomicU64; 2],
    over: AtomicBool,
}

/// A relay; dropped, it ends its connections and its threads.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddrV4,
    state: Arc<State>,
    accepting: Option<std::thread::JoinHandle<()>>,
}

impl Relay {
    /// Relays connections to `host`, with this fault in each of them.
    ///
    /// # Panics
    /// Panics if the system gives no port or thread.
    pub fn new(host: SocketAddrV4, fault: Option<Fault>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("lo is up");
        let port = listener.local_addr().expect("it is bound").port();
        let state = Arc::new(State {
            fault,
            passed: [AtomicU64::new(0), AtomicU64::new(0)],
            over: AtomicBool::new(false),
        });
        let shared = Arc::clone(&state);
        let accepting = std::thread::spawn(move || {
            let mut running = Vec::new();
            let mut open = Vec::new();
            for client in listener.incoming() {
                if shared.over.load(Ordering::SeqCst) {
                    break;
                }
                let pair = client.and_then(|client| Ok((client, TcpStream::connect(host)?)));
                let Ok((client, server)) = pair else { continue };
                let silent = Arc::new(AtomicBool::new(false));
                for (direction, from, to) in [
                    (Direction::There, &client, &server),
                    (Direction::Back, &server, &client),
                ] {
                    let ends = from
                        .try_clone()
                        .and_then(|from| Ok((from, to.try_clone()?)));
                    let Ok((from, to)) = ends else { continue };
                    let (shared, silent) = (Arc::clone(&shared), Arc::clone(&silent));
                    running.push(std::thread::spawn(move || {
                        // An error ends this direction; the other notices.
                        let _ = shared.carry(direction, (&from, &to), &silent);
                    }));
                }
                open.extend([client, server]);
            }
            for stream in open {
                let _ = stream.shutdown(Shutdown::Both);
            }
            for thread in running {
                let _ = thread.join();
            }
        });
        Self {
            address: SocketAddrV4::new(Ipv4Addr::LOCALHOST, port),
            state,
            accepting: Some(accepting),
        }
    }

    /// Returns its address.
    pub fn address(&self) -> SocketAddrV4 {
        self.address
    }

    /// Returns the number of bytes that have passed in a direction.
    pub fn passed(&self, direction: Direction) -> u64 {
        self.state.passed[direction as usize].load(Ordering::SeqCst)
    }
}

impl State {
    /// Carries one direction of a connection, which is silent if `silent` says so.
    fn carry(
        &self,
        direction: Direction,
        (mut from, mut to): (&TcpStream, &TcpStream),
        silent: &AtomicBool,
    ) -> io::Result<()> {
        let mut buffer = [0; 16 * 1024];
        let fault = self.fault.filter(|fault| fault.direction == direction);
        let mut left = fault.map(|fault| fault.after);
        loop {
            let want = left.map_or(buffer.len(), |left| buffer.len().min(left as usize));
            match fault {
                Some(fault) if want == 0 && fault.death == Death::Cut => {
                    from.shutdown(Shutdown::Both)?;
                    return to.shutdown(Shutdown::Both);
                }
                Some(_) if want == 0 => {
                    silent.store(true, Ordering::SeqCst);
                    left = None;
                    continue;
                }
                _ => {}
            }
            let count = from.read(&mut buffer[..want])?;
            if silent.load(Ordering::SeqCst) {
                // Reads on, so that no sender sees a full buffer, until the relay is dropped.
                if count == 0 {
                    return Ok(());
                }
                continue;
            }
            if count == 0 {
                return to.shutdown(Shutdown::Write);
            }
            to.write_all(&buffer[..count])?;
            left = left.map(|left| left - count as u64);
            self.passed[direction as usize].fetch_add(count as u64, Ordering::SeqCst);
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.state.over.store(true, Ordering::SeqCst);
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.address);
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}
