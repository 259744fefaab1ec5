//! Output of the hostile child: well-formed frames with any content, and raw bytes.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, poll};
use offshoot_proto::wire;
use offshoot_proto::wire::{Frame, Header, Kind};
use offshoot_proto::{ContextId, Handle};

/// Milliseconds without room after which the reader counts as blocked.
const BLOCKED: u16 = 700;
/// Bytes per write.
const BATCH: usize = 64 << 10;

/// The reason why sending has ended.
#[derive(Copy, Clone, Debug)]
pub(crate) enum Over {
    /// Everything was sent.
    Done,
    /// Nobody reads.
    Blocked,
    /// The link is closed.
    Closed,
}

/// Writes frames to the parent.
pub(crate) struct FrameWriter {
    /// The child's own id.
    pub me: ContextId,
    /// The parent's id.
    pub parent: ContextId,
    /// The payload of a valid hello.
    pub hello: Vec<u8>,
    before: Vec<u8>,
    out: File,
    sequence: u32,
    waiting: Vec<u8>,
}

impl FrameWriter {
    /// Creates a writer that has sent nothing yet, not even the marker.
    pub(crate) fn new(before: Vec<u8>, hello: Vec<u8>, boot: Frame) -> io::Result<Self> {
        let out = File::from(io::stdout().as_fd().try_clone_to_owned()?);
        let flags = OFlag::from_bits_retain(fcntl(&out, FcntlArg::F_GETFL)?);
        fcntl(&out, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
        let (me, parent) = (boot.header.dst, boot.header.src);
        Ok(Self {
            me,
            parent,
            hello,
            before,
            out,
            sequence: 0,
            waiting: Vec::new(),
        })
    }

    /// Sends the marker, after which frames are expected.
    pub(crate) fn marker(&mut self) -> Result<(), Over> {
        let before = std::mem::take(&mut self.before);
        self.raw(&before)
    }

    /// Sends the marker and a valid hello.
    pub(crate) fn greet(&mut self) -> Result<(), Over> {
        self.marker()?;
        let hello = self.hello.clone();
        self.link(Kind::Hello, &hello)?;
        self.flush()
    }

    /// Returns a header with the child's own source.
    pub(crate) fn header(&self, kind: Kind, dst: u32) -> Header {
        Header::new(kind, self.me, ContextId(dst))
    }

    /// Sends a link frame.
    pub(crate) fn link(&mut self, kind: Kind, payload: &[u8]) -> Result<(), Over> {
        self.frame(&self.header(kind, 0), payload)
    }

    /// Sends an `Open` with the child's own source.
    pub(crate) fn open(
        &mut self,
        dst: u32,
        service: u32,
        reply_to: u32,
        payload: &[u8],
    ) -> Result<(), Over> {
        let header = Header {
            handle: Handle(service),
            reply_to: Handle(reply_to),
            flags: wire::Flags::OPENER,
            ..self.header(Kind::Open, dst)
        };
        self.frame(&header, payload)
    }

    /// Sends any frame.
    pub(crate) fn frame(&mut self, header: &Header, payload: &[u8]) -> Result<(), Over> {
        wire::encode(header, payload, self.sequence, &mut self.waiting);
        self.sequence = self.sequence.wrapping_add(1);
        if self.waiting.len() < BATCH {
            Ok(())
        } else {
            self.flush()
        }
    }

    /// Sends any bytes.
    pub(crate) fn raw(&mut self, bytes: &[u8]) -> Result<(), Over> {
        self.waiting.extend_from_slice(bytes);
        self.flush()
    }

    /// Takes the unsent bytes.
    pub(crate) fn take_unsaid(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.waiting)
    }

    /// Sends the buffered bytes.
    pub(crate) fn flush(&mut self) -> Result<(), Over> {
        let mut bytes = self.waiting.as_slice();
        while !bytes.is_empty() {
            match self.out.write(bytes) {
                Ok(count) => bytes = &bytes[count..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let mut room = [PollFd::new(self.out.as_fd(), PollFlags::POLLOUT)];
                    if poll(&mut room, BLOCKED).unwrap_or(0) == 0 {
                        return Err(Over::Blocked);
                    }
                }
                Err(_) => return Err(Over::Closed),
            }
        }
        self.waiting.clear();
        Ok(())
    }

    /// Closes the output for good.
    pub(crate) fn close(&mut self) {
        let null = File::open("/dev/null").expect("it is there");
        for fd in [1, self.out.as_raw_fd()] {
            // SAFETY: plain numbers; both stay open, as something else.
            unsafe { libc::dup2(null.as_raw_fd(), fd) };
        }
    }
}
