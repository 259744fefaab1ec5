//! The wire of a delayed path: forwards packets between two TUN devices, each after the same delay,
//! no faster than the rate.
//!
//! One thread, one loop. The delay is the same for all packets, so a queue per direction keeps the
//! order and its head has the next deadline. The queue has no bound, so the wire itself loses
//! nothing but what it is told to: the windows of the senders bound the packets in flight.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;

/// Larger than any packet of a TUN device with the default MTU.
const PACKET: usize = 64 * 1024;

/// One direction of the wire: packets in flight with their due times.
#[derive(Debug)]
struct Direction {
    one_way: Duration,
    /// Bytes per second; `None` without a limit.
    rate: Option<f64>,
    /// The time at which the last packet has left the sender.
    free: Option<Instant>,
    /// Loses each packet whose number is a multiple of this; 0 for none.
    lost: u32,
    packets: u32,
    waiting: VecDeque<(Instant, Vec<u8>)>,
}

impl Direction {
    fn new(one_way: Duration, rate: Option<f64>, lost: u32) -> Self {
        Self {
            one_way,
            rate,
            free: None,
            lost,
            packets: 0,
            waiting: VecDeque::new(),
        }
    }

    /// Queues a packet: it is sent after the previous one at the rate, then delayed.
    fn take(&mut self, now: Instant, packet: &[u8]) {
        let begins = self.free.map_or(now, |free| free.max(now));
        let sending = self.rate.map_or(Duration::ZERO, |rate| {
            Duration::from_secs_f64(packet.len() as f64 / rate)
        });
        self.free = Some(begins + sending);
        self.packets = self.packets.wrapping_add(1);
        if self.lost > 0 && self.packets.is_multiple_of(self.lost) {
            return;
        }
        self.waiting
            .push_back((begins + sending + self.one_way, packet.to_vec()));
    }
}

/// Carries packets between two devices forever, at most `rate` bytes per second each way. Each
/// packet whose number is a multiple of `lost` is lost, unless that is 0.
///
/// # Errors
/// Returns an error if a device is gone.
pub fn carry(ends: [File; 2], one_way: Duration, rate: Option<f64>, lost: u32) -> io::Result<()> {
    let mut directions = [(); 2].map(|()| Direction::new(one_way, rate, lost));
    let mut buffer = vec![0; PACKET];
    loop {
        let heads = directions
            .iter()
            .filter_map(|direction| direction.waiting.front());
        let next = heads.map(|(due, _)| *due).min();
        let timeout =
            next.map(|due| TimeSpec::from_duration(due.saturating_duration_since(Instant::now())));
        let mut polled = ends
            .each_ref()
            .map(|end| PollFd::new(end.as_fd(), PollFlags::POLLIN));
        match ppoll(&mut polled, timeout, None) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        for (from, direction) in directions.iter_mut().enumerate() {
            take_all(&ends[from], direction, &mut buffer)?;
            hand_over(&ends[1 - from], &mut direction.waiting);
        }
    }
}

fn take_all(mut end: &File, direction: &mut Direction, buffer: &mut [u8]) -> io::Result<()> {
    loop {
        match end.read(buffer) {
            Ok(length) => direction.take(Instant::now(), &buffer[..length]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

fn hand_over(mut end: &File, queue: &mut VecDeque<(Instant, Vec<u8>)>) {
    let now = Instant::now();
    while queue.front().is_some_and(|(due, _)| *due <= now) {
        if let Some((_, packet)) = queue.pop_front() {
            // A packet that the other side refuses is lost, as on any wire; TCP retransmits it.
            let _ = end.write(&packet);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_is_delayed_after_the_packets_before_it() {
        let (now, delay) = (Instant::now(), Duration::from_millis(100));
        let due = |rate: Option<f64>| {
            let mut direction = Direction::new(delay, rate, 0);
            direction.take(now, &[0; 1000]);
            direction.take(now, &[0; 500]);
            direction.take(now + Duration::from_secs(2), &[0; 1000]);
            direction
                .waiting
                .iter()
                .map(|(due, _)| (*due - now).as_millis())
                .collect::<Vec<_>>()
        };
        assert_eq!(due(None), [100, 100, 2100]);
        assert_eq!(due(Some(1000.0)), [1100, 1600, 3100]);
    }
}
