//! The wire of a delayed path: moves packets between two TUN devices, each after the same time.
//!
//! One thread, one loop. As the delay is the same for all, a queue per direction keeps the order and the next deadline is
//! that of its head.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;

/// Larger than any packet of a TUN device with the default MTU.
const PACKET: usize = 64 * 1024;

/// Carries packets from one device to the other for ever.
///
/// # Errors
/// When a device is gone.
pub fn carry(ends: [File; 2], one_way: Duration) -> io::Result<()> {
    let mut waiting: [VecDeque<(Instant, Vec<u8>)>; 2] = [VecDeque::new(), VecDeque::new()];
    let mut buffer = vec![0; PACKET];
    loop {
        let next = waiting.iter().filter_map(|queue| queue.front()).map(|(due, _)| *due).min();
        let timeout = next.map(|due| TimeSpec::from_duration(due.saturating_duration_since(Instant::now())));
        let mut polled = ends.each_ref().map(|end| PollFd::new(end.as_fd(), PollFlags::POLLIN));
        match ppoll(&mut polled, timeout, None) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        for (from, queue) in waiting.iter_mut().enumerate() {
            take_all(&ends[from], queue, one_way, &mut buffer)?;
            hand_over(&ends[1 - from], queue);
        }
    }
}

fn take_all(
    mut end: &File,
    queue: &mut VecDeque<(Instant, Vec<u8>)>,
    one_way: Duration,
    buffer: &mut [u8],
) -> io::Result<()> {
    loop {
        match end.read(buffer) {
            Ok(length) => queue.push_back((Instant::now() + one_way, buffer[..length].to_vec())),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

fn hand_over(mut end: &File, queue: &mut VecDeque<(Instant, Vec<u8>)>) {
    let now = Instant::now();
    while queue.front().is_some_and(|(due, _)| *due <= now) {
        if let Some((_, packet)) = queue.pop_front() {
            // A packet that the other side refuses is lost, as on any wire; TCP sends it again.
            let _ = end.write(&packet);
        }
    }
}
