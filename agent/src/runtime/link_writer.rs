//! How bytes leave: gathered from the node, written as far as a link takes them, by whichever thread has made some.

use crate::runtime::handle::NodeHandle;
use crate::runtime::state::NodeState;
use offshoot_proto::LinkId;
use offshoot_sys as sys;
use offshoot_sys::epoll::EpollEvent;
use offshoot_sys::epoll::EpollFlags;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// How many bytes of frames are gathered for one write. An urgent frame waits for as much.
const BATCH: usize = 64 << 10;

/// After how many bytes a link's pipe is made larger, and how large: fewer switches between its two ends.
const WIDEN: (u64, usize) = (128 << 10, 256 << 10);

/// The writing side of a link.
pub(crate) struct LinkWriter {
    /// Where bytes go; none once it failed or was closed.
    pub fd: Option<OwnedFd>,
    /// An image that goes before all frames, and how much of it has gone.
    pub preamble: Option<(Arc<[u8]>, usize)>,
    /// Whether nothing may go yet.
    pub hold: bool,
    /// What the poller calls it.
    pub token: u64,
    out: Vec<u8>,
    at: usize,
    /// Whether the poller tells of room: from the first time on that there was none, whenever it comes about.
    polled: bool,
    blocked: bool,
    secret: bool,
    sent: u64,
    /// Whether the link is to be closed when all has gone.
    pub close_when_empty: bool,
}

impl LinkWriter {
    pub fn new(fd: OwnedFd, token: u64) -> LinkWriter {
        LinkWriter {
            fd: Some(fd),
            preamble: None,
            hold: false,
            token,
            out: Vec::new(),
            at: 0,
            polled: false,
            blocked: false,
            secret: false,
            sent: 0,
            close_when_empty: false,
        }
    }
}

impl LinkWriter {
    /// Forgets what has been sent.
    fn empty(&mut self) {
        if std::mem::take(&mut self.secret) {
            offshoot_codec::zero(&mut self.out);
        }
        self.out.clear();
        self.at = 0;
    }

    /// Where bytes wait for room, if they do.
    pub fn blocked(&self) -> Option<OwnedFd> {
        self.fd.as_ref().filter(|_| self.blocked)?.try_clone().ok()
    }
}

impl Drop for LinkWriter {
    fn drop(&mut self) {
        self.empty();
    }
}

impl NodeHandle {
    /// Writes to every link that has something to send, as far as it goes.
    pub fn flush(&self, core: &mut NodeState) {
        loop {
            let dirty = core.node.take_dirty();
            if dirty.is_empty() {
                break;
            }
            for link in dirty {
                self.flush_link(core, link);
            }
        }
        core.unseen |= core.node.has_events();
    }

    /// Writes to one link as far as it goes; the poller says when it goes on.
    pub fn flush_link(&self, core: &mut NodeState, link: LinkId) {
        let NodeState { node, io, scratch, .. } = core;
        let Some(io) = io.get_mut(&link) else { return };
        if io.hold {
            return;
        }
        let blocked = loop {
            if io.at == io.out.len() && io.preamble.is_none() && io.fd.is_some() {
                if io.out.capacity() == 0 {
                    io.out = std::mem::take(scratch);
                }
                io.empty();
                io.secret |= node.transmit(link, &mut io.out, BATCH);
            }
            let Some(fd) = &io.fd else { break false };
            let pending = match &io.preamble {
                Some((image, at)) => &image[*at..],
                None => &io.out[io.at..],
            };
            if pending.is_empty() {
                if io.close_when_empty {
                    io.fd = None;
                }
                break false;
            }
            match sys::write(fd, pending) {
                Ok(Some(count)) => {
                    let short = count < pending.len();
                    io.sent += count as u64;
                    if io.sent >= WIDEN.0 && io.sent - (count as u64) < WIDEN.0 {
                        sys::widen_pipe(fd, WIDEN.1);
                    }
                    self.sent.fetch_add(count as u64, Ordering::Relaxed);
                    match &mut io.preamble {
                        Some((image, at)) => {
                            *at += count;
                            if *at == image.len() {
                                io.preamble = None;
                            }
                        }
                        None => io.at += count,
                    }
                    if short {
                        break true;
                    }
                }
                Ok(None) => break true,
                // The reading side tells how it ended; a failed write only means that nothing more goes.
                Err(_) => {
                    if io.polled {
                        let _ = self.epoll.delete(fd);
                        io.polled = false;
                    }
                    io.fd = None;
                    break false;
                }
            }
        };
        // A link that has nothing to send holds no memory.
        if !blocked {
            io.empty();
            *scratch = std::mem::take(&mut io.out);
        }
        io.blocked = blocked;
        if blocked
            && !io.polled
            && let Some(fd) = &io.fd
        {
            let event = EpollEvent::new(EpollFlags::EPOLLOUT | EpollFlags::EPOLLET, io.token);
            io.polled = self.epoll.add(fd, event).is_ok();
        }
    }
}
