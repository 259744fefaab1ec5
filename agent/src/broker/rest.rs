//! The broker's pause, while the process is stopped by job control.

use crate::broker::Broker;
use crate::runtime::link_writer::LinkWriter;
use crate::runtime::wait;
use offshoot_sys::poll::PollFd;
use offshoot_sys::poll::PollFlags;
use offshoot_sys::poll::PollTimeout;
use offshoot_sys::poll::poll;
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::sync::mpsc::SyncSender;
use std::time::Duration;
use std::time::Instant;

/// How long full links may delay the stop.
const PATIENCE: Duration = Duration::from_millis(500);

impl Broker {
    /// Tells all neighbours that this node pauses, reports that to `told`, and waits until `go_on`
    /// hangs up. All timers move by the length of the pause, so that a hop under way keeps its
    /// whole time limit.
    pub(crate) fn rest(&mut self, told: &SyncSender<()>, go_on: &Receiver<()>) {
        let begun = wait::now();
        let shared = Arc::clone(&self.shared);
        let mut core = shared.lock();
        core.node.rest(true);
        self.release(core);
        self.empty_links(begun + PATIENCE);
        // The caller may have stopped waiting. Then `go_on` has hung up as well.
        let _ = told.send(());
        while go_on.recv().is_ok() {}
        self.reactor.postpone(begun.elapsed());
        let mut core = shared.lock();
        core.node.set_time(self.now());
        core.node.rest(false);
        self.reactor.set_keepalive(&core);
        self.release(core);
    }

    /// Writes buffered frames to the parent and to children that are up, until `end`.
    fn empty_links(&mut self, end: Instant) {
        let shared = Arc::clone(&self.shared);
        let up: Vec<_> = self
            .children
            .iter()
            .filter(|(_, child)| child.is_up())
            .map(|(link, _)| *link)
            .collect();
        for link in up.into_iter().chain(self.role.up()) {
            loop {
                let mut core = shared.lock();
                shared.flush_link(&mut core, link);
                let blocked = core.io.get(&link).and_then(LinkWriter::blocked);
                self.release(core);
                let left = wait::left(end);
                let Some(fd) = blocked.filter(|_| !left.is_zero()) else {
                    break;
                };
                let mut room = [PollFd::new(fd.as_fd(), PollFlags::POLLOUT)];
                let _ = poll(
                    &mut room,
                    PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO),
                );
            }
        }
    }
}
