//! The writing end of a link. The thread that has made frames writes them, until the link blocks.

use offshoot_proto::LinkId;
use offshoot_proto::node::Node;
use offshoot_sys as sys;
use offshoot_sys::epoll::Epoll;
use offshoot_sys::epoll::EpollEvent;
use offshoot_sys::epoll::EpollFlags;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// The most bytes of frames in one write. An urgent frame waits for as many.
const BATCH: usize = 64 << 10;

/// The number of bytes after which a link's pipe is made larger, and its new size: fewer switches
/// between the two processes.
const WIDEN: (u64, usize) = (128 << 10, 256 << 10);

/// The writing side of a link.
pub(crate) struct LinkWriter {
    /// The descriptor; none once it has failed or was closed.
    pub fd: Option<OwnedFd>,
    /// The image that precedes all frames, and the number of its bytes that were written.
    pub preamble: Option<(Arc<[u8]>, usize)>,
    /// True while nothing may be written.
    pub hold: bool,
    /// The poller's token.
    pub token: u64,
    out: Vec<u8>,
    at: usize,
    /// True once the poller watches it. It does so from the first time that the link blocks,
    /// edge-triggered.
    polled: bool,
    blocked: bool,
    secret: bool,
    sent: u64,
    /// True if the link is closed once everything was written.
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
    /// Resets the buffer.
    fn empty(&mut self) {
        if std::mem::take(&mut self.secret) {
            offshoot_codec::zero(&mut self.out);
        }
        self.out.clear();
        self.at = 0;
    }

    /// Returns the descriptor, if bytes wait for it.
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
    /// Writes the frames that the node has for `link` until it blocks; the poller reports when it
    /// can continue. `scratch` is a buffer that all links share that do not block. Returns the
    /// number of bytes written.
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
                // The reading side reports the end of the link. A failed write only means that no
                // more can be written.
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
        // An idle link holds no buffer.
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
