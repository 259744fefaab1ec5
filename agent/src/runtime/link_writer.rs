//! How bytes leave: gathered from the node, written as far as a link takes them, by whichever
//! thread has made some.

use offshoot_proto::LinkId;
use offshoot_proto::node::Node;
use offshoot_sys as sys;
use offshoot_sys::epoll::Epoll;
use offshoot_sys::epoll::EpollEvent;
use offshoot_sys::epoll::EpollFlags;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// How many bytes of frames are gathered for one write. An urgent frame waits for as much.
const BATCH: usize = 64 << 10;

/// After how many bytes a link's pipe is made larger, and how large: fewer switches between its two
/// ends.
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
    /// Whether the poller tells of room: from the first time on that there was none, whenever it
    /// comes about.
    polled: bool,
    blocked: bool,
    secret: bool,
    sent: u64,
    /// Whether the link is to be closed when all has gone.
    pub close_when_empty: bool,
}

impl LinkWriter {
    pub(crate) fn new(fd: OwnedFd, token: u64) -> Self {
        Self {
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
    pub(crate) fn blocked(&self) -> Option<OwnedFd> {
        self.fd.as_ref().filter(|_| self.blocked)?.try_clone().ok()
    }
}

impl Drop for LinkWriter {
    fn drop(&mut self) {
        self.empty();
    }
}

impl LinkWriter {
    /// Writes what `link` of the node has to send, as far as it goes; the poller says when it goes
    /// on. `scratch` is memory that links which take everything at once share. Returns the number
    /// of bytes written.
    pub(crate) fn flush(
        &mut self,
        node: &mut Node,
        link: LinkId,
        epoll: &Epoll,
        scratch: &mut Vec<u8>,
    ) -> u64 {
        if self.hold {
            return 0;
        }
        let mut written = 0;
        let blocked = loop {
            if self.at == self.out.len() && self.preamble.is_none() && self.fd.is_some() {
                if self.out.capacity() == 0 {
                    self.out = std::mem::take(scratch);
                }
                self.empty();
                self.secret |= node.transmit(link, &mut self.out, BATCH);
            }
            let Some(fd) = &self.fd else { break false };
            let pending = match &self.preamble {
                Some((image, at)) => &image[*at..],
                None => &self.out[self.at..],
            };
            if pending.is_empty() {
                if self.close_when_empty {
                    self.fd = None;
                }
                break false;
            }
            match sys::write(fd, pending) {
                Ok(Some(count)) => {
                    let short = count < pending.len();
                    self.sent += count as u64;
                    if self.sent >= WIDEN.0 && self.sent - (count as u64) < WIDEN.0 {
                        sys::widen_pipe(fd, WIDEN.1);
                    }
                    written += count as u64;
                    match &mut self.preamble {
                        Some((image, at)) => {
                            *at += count;
                            if *at == image.len() {
                                self.preamble = None;
                            }
                        }
                        None => self.at += count,
                    }
                    if short {
                        break true;
                    }
                }
                Ok(None) => break true,
                // The reading side tells how it ended; a failed write only means that nothing more
                // goes.
                Err(_) => {
                    if self.polled {
                        let _ = epoll.delete(fd);
                        self.polled = false;
                    }
                    self.fd = None;
                    break false;
                }
            }
        };
        // A link that has nothing to send holds no memory.
        if !blocked {
            self.empty();
            *scratch = std::mem::take(&mut self.out);
        }
        self.blocked = blocked;
        if blocked
            && !self.polled
            && let Some(fd) = &self.fd
        {
            let event = EpollEvent::new(EpollFlags::EPOLLOUT | EpollFlags::EPOLLET, self.token);
            self.polled = epoll.add(fd, event).is_ok();
        }
        written
    }
}
