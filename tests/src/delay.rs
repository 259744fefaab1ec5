//! A network path with a chosen delay: two namespaces joined by a pair of TUN devices whose packets
//! wait in user space.
//!
//! The kernels of small test machines have no netem, so the program `delay-link` stands in for the
//! wire: it holds the TUN device of each side and forwards every packet when it is due. Order is
//! kept, and packets are lost and bandwidth is limited only on request.

pub mod interface;
pub mod link;

use std::io::Read as _;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::netns::NetNs;
use crate::process;

/// Two namespaces and the delayed path between them; gone when dropped.
#[derive(Debug)]
pub struct DelayedPath {
    /// The side of the client, with the address [`DelayedPath::NEAR`].
    pub near: NetNs,
    /// The side of the server, with the address [`DelayedPath::FAR`].
    pub far: NetNs,
    link: Child,
}

impl DelayedPath {
    /// The client's address.
    pub const NEAR: Ipv4Addr = Ipv4Addr::new(10, 231, 9, 1);
    /// The server's address.
    pub const FAR: Ipv4Addr = Ipv4Addr::new(10, 231, 9, 2);

    /// Joins two new namespaces; `program` is the path of `delay-link`.
    ///
    /// # Panics
    /// Panics if the link does not come up.
    pub fn new(program: &Path, round_trip: Duration) -> Self {
        Self::with_rate(program, round_trip, None)
    }

    /// Like [`DelayedPath::new`], with a rate in megabits per second each way.
    ///
    /// # Panics
    /// Panics if the link does not come up.
    pub fn with_rate(program: &Path, round_trip: Duration, megabits: Option<u32>) -> Self {
        Self::with_losses(program, round_trip, megabits, 0)
    }

    /// Like [`DelayedPath::with_rate`], and loses each packet whose number is a multiple of `lost`.
    ///
    /// # Panics
    /// Panics if the link does not come up.
    pub fn with_losses(
        program: &Path,
        round_trip: Duration,
        megabits: Option<u32>,
        lost: u32,
    ) -> Self {
        let (near, far) = (NetNs::new(), NetNs::new());
        let one_way = round_trip / 2;
        let mut command = Command::new(program);
        command
            .arg(near.path())
            .arg(Self::NEAR.to_string())
            .arg(far.path())
            .arg(Self::FAR.to_string());
        command
            .arg(format!("{}", one_way.as_secs_f64() * 1000.0))
            .args([megabits.unwrap_or(0), lost].map(|number| number.to_string()))
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let mut link = process::die_with_parent(&mut command)
            .spawn()
            .expect("delay-link is built");
        let mut ready = [0; 6];
        let pipe = link.stdout.as_mut().expect("stdout is piped");
        pipe.read_exact(&mut ready)
            .expect("delay-link says `ready` when both ends are up");
        Self { near, far, link }
    }

    /// Makes the path drop all packets silently.
    ///
    /// # Panics
    /// Panics if the kernel refuses it.
    pub fn cut(&self) {
        self.far
            .within(|| interface::bring_down("delayed"))
            .expect("root may take its own interface down");
    }
}

impl Drop for DelayedPath {
    fn drop(&mut self) {
        let _ = self.link.kill();
        let _ = self.link.wait();
    }
}
