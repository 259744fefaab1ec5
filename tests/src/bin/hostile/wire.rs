//! Output of the hostile child: well-formed frames with any content, and raw bytes.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, poll};
use offshoot_proto::wire;
use offshoot_proto::wire::{Frame, Header, Kind};
use offshoot_proto::{ContextId, Handle};

/// Milliseconds without room after which nobody is taken to read.
const BLOCKED: u16 = 700;
/// How many bytes are written at once.
const BATCH: usize = 64 << 10;

/// Why nothing more can be said.
#[derive(Copy, Clone, Debug)]
pub enum Over {
    /// All was said.
    Done,
    /// Nobody reads it.
    Blocked,
    /// The link is gone.
    Closed,
}

/// What is said, and by whom.
pub struct FrameWriter {
    /// Its own number.
    pub me: ContextId,
    /// Its parent's.
    pub parent: ContextId,
    /// The payload of a good greeting.
    pub hello: Vec<u8>,
    before: Vec<u8>,
    out: File,
    sequence: u32,
    waiting: Vec<u8>,
}

impl FrameWriter {
    /// One that has said nothing yet, not even the marker.
    pub fn new(before: Vec<u8>, hello: Vec<u8>, boot: Frame) -> io::Result<FrameWriter> {
        let out = File::from(io::stdout().as_fd().try_clone_to_owned()?);
        let flags = OFlag::from_bits_retain(fcntl(&out, FcntlArg::F_GETFL)?);
        fcntl(&out, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
        let (me, parent) = (boot.header.dst, boot.header.src);
        Ok(FrameWriter { me, parent, hello, before, out, sequence: 0, waiting: Vec::new() })
    }

    /// The marker, behind which frames are expected.
    pub fn marker(&mut self) -> Result<(), Over> {
        let before = std::mem::take(&mut self.before);
        self.raw(&before)
    }

    /// The marker and a good greeting.
    pub fn greet(&mut self) -> Result<(), Over> {
        self.marker()?;
        let hello = self.hello.clone();
        self.link(Kind::Hello, &hello)?;
        self.flush()
    }

    /// A header in its own name.
    pub fn header(&self, kind: Kind, dst: u32) -> Header {
        Header::new(kind, self.me, ContextId(dst))
    }

    /// A frame that concerns the link.
    pub fn link(&mut self, kind: Kind, payload: &[u8]) -> Result<(), Over> {
        self.frame(&self.header(kind, 0), payload)
    }

    /// An `Open` in its own name.
    pub fn open(&mut self, dst: u32, service: u32, reply_to: u32, payload: &[u8]) -> Result<(), Over> {
        let header = Header {
            handle: Handle(service),
            reply_to: Handle(reply_to),
            flags: wire::Flags::OPENER,
            ..self.header(Kind::Open, dst)
        };
        self.frame(&header, payload)
    }

    /// Any frame.
    pub fn frame(&mut self, header: &Header, payload: &[u8]) -> Result<(), Over> {
        wire::encode(header, payload, self.sequence, &mut self.waiting);
        self.sequence = self.sequence.wrapping_add(1);
        if self.waiting.len() < BATCH { Ok(()) } else { self.flush() }
    }

    /// Any bytes.
    pub fn raw(&mut self, bytes: &[u8]) -> Result<(), Over> {
        self.waiting.extend_from_slice(bytes);
        self.flush()
    }

    /// The bytes of a frame that were not said.
    pub fn take_unsaid(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.waiting)
    }

    /// Says what waits.
    pub fn flush(&mut self) -> Result<(), Over> {
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

    /// Closes the way to the parent for good.
    pub fn close(&mut self) {
        let null = File::open("/dev/null").expect("it is there");
        for fd in [1, self.out.as_raw_fd()] {
            // SAFETY: plain numbers; both stay open, as something else.
            unsafe { libc::dup2(null.as_raw_fd(), fd) };
        }
    }
}
