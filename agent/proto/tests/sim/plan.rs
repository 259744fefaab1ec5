//! A plan: actions on a tree, as data. `{:?}` prints a step as the Rust that creates it.

/// One action. A step that makes no sense any more, because its context is gone or its connect was
/// removed while shrinking, is skipped.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Step {
    /// `by` orders `parent` to connect `child`. A hostile child is honest except for its `Forge`
    /// steps.
    Connect {
        by: u32,
        parent: u32,
        child: u32,
        fate: Fate,
        wire: Wire,
        hostile: bool,
    },
    /// `from` calls `to` with `size` bytes, whether or not it may.
    Call {
        from: u32,
        to: u32,
        size: u32,
        answer: Answer,
    },
    /// `from` calls a service of `to` that admits every context.
    Visit {
        from: u32,
        to: u32,
        size: u32,
        answer: Answer,
    },
    /// The root opens or closes the path between two contexts.
    Pair { one: u32, other: u32, open: bool },
    /// The clock of a context jumps ahead by an hour.
    Jump { at: u32 },
    /// `from` opens a stream of `size` bytes: to `to`, or from it if `up`.
    Stream {
        from: u32,
        to: u32,
        size: u32,
        up: bool,
        reader: Reader,
    },
    /// `from` makes a request that only the root can answer.
    Ask { from: u32 },
    /// `from` sends a log record.
    Log { from: u32, size: u32 },
    /// The caller of the request made `back` requests ago cancels it.
    Cancel { back: u32 },
    /// The link of `child` is cut: `keep` percent of the bytes in transit arrive, and each end
    /// notices at its own time.
    Cut {
        child: u32,
        keep: u32,
        parent_ms: u32,
        child_ms: u32,
    },
    /// The process vanishes; its neighbours notice later.
    Vanish { child: u32, ms: u32 },
    /// Its parent shuts it down.
    Shutdown { child: u32 },
    /// One direction of the child's link stalls for a while.
    Stall { child: u32, up: bool, ms: u32 },
    /// A bit of the next bytes on the child's link is flipped.
    Corrupt { child: u32, up: bool, bit: u32 },
    /// Some of the next bytes on the child's link are lost.
    Truncate { child: u32, up: bool, bytes: u32 },
    /// A hostile context sends a forged frame `times` times.
    Forge { at: u32, times: u32, frame: Forgery },
    /// Time passes.
    Wait { ms: u32 },
}

/// Outcome of a connect request.
#[derive(Copy, Clone, PartialEq, Debug)]
pub(crate) enum Fate {
    /// The agent is up after this time.
    Up { ms: u32 },
    /// The first attempt fails, the second succeeds.
    Again { ms: u32, then_ms: u32 },
    /// The hop fails.
    Fails { ms: u32 },
    /// Nothing happens, ever.
    Hangs,
}

/// Behaviour of a callee.
#[derive(Copy, Clone, PartialEq, Debug)]
pub(crate) enum Answer {
    /// Answers with `size` bytes after a while.
    Reply { ms: u32, size: u32 },
    /// Cancels the call after a while.
    Refuse { ms: u32 },
    /// Never answers.
    Silent,
}

/// Behaviour of a stream's reader.
#[derive(Copy, Clone, PartialEq, Debug)]
pub(crate) enum Reader {
    /// Reads at once.
    Fast,
    /// Reads this many bytes per millisecond.
    Slow { per_ms: u32 },
    /// Reads at once, but nothing after this many bytes.
    Stops { after: u32 },
}

/// The two pipes of a link.
#[derive(Copy, Clone, PartialEq, Debug)]
pub(crate) struct Wire {
    pub latency_us: u32,
    pub us_per_kib: u32,
    pub capacity: u32,
}

impl Wire {
    /// A pipe between two processes of one machine.
    pub(crate) const NEAR: Self = Self {
        latency_us: 20,
        us_per_kib: 1,
        capacity: 65_536,
    };
}

/// As the `offset` of a forgery: the first number that was granted to the forger itself.
pub(crate) const OF_ITS_OWN: u64 = 1 << 40;

/// A forged frame; `kind` is an index into `Kind::ALL`. Forged route news claim the number
/// `offset`, other payloads carry the forger's mark.
#[derive(Copy, Clone, PartialEq, Debug)]
pub(crate) struct Forgery {
    pub kind: u8,
    pub flags: u16,
    pub dst: u32,
    pub src: u32,
    pub auth: u32,
    pub handle: u32,
    pub reply_to: u32,
    pub streams: u8,
    pub answering: u8,
    pub offset: u64,
    pub size: u32,
}

impl Step {
    /// Returns the name under which the step is counted.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Connect {
                fate: Fate::Fails { .. } | Fate::Hangs,
                ..
            } => "failing connect",
            Self::Connect { .. } => "connect",
            Self::Call { .. } => "call",
            Self::Stream {
                reader: Reader::Fast,
                ..
            } => "stream",
            Self::Stream {
                reader: Reader::Slow { .. },
                ..
            } => "stream, slow reader",
            Self::Stream { .. } => "stream, reader stops",
            Self::Visit { .. } => "visit",
            Self::Pair { .. } => "pair",
            Self::Jump { .. } => "jump",
            Self::Ask { .. } => "ask",
            Self::Log { .. } => "log",
            Self::Cancel { .. } => "cancel",
            Self::Cut { .. } => "cut",
            Self::Vanish { .. } => "vanish",
            Self::Shutdown { .. } => "shutdown",
            Self::Stall { .. } => "stall",
            Self::Corrupt { .. } => "corrupt",
            Self::Truncate { .. } => "truncate",
            Self::Forge { .. } => "forge",
            Self::Wait { .. } => "wait",
        }
    }

    /// Returns the step with smaller numbers, boldest first, for shrinking.
    pub(crate) fn smaller(&self) -> Vec<Self> {
        let mut found = Vec::new();
        let mut push = |step: Self| {
            if step != *self {
                found.push(step);
            }
        };
        match self.clone() {
            Self::Connect {
                by,
                parent,
                child,
                fate,
                wire,
                hostile,
            } => {
                push(Self::Connect {
                    by,
                    parent,
                    child,
                    fate: Fate::Up { ms: 1 },
                    wire,
                    hostile,
                });
                push(Self::Connect {
                    by,
                    parent,
                    child,
                    fate,
                    wire: Wire::NEAR,
                    hostile,
                });
                push(Self::Connect {
                    by,
                    parent,
                    child,
                    fate,
                    wire,
                    hostile: false,
                });
                push(Self::Connect {
                    by: 0,
                    parent,
                    child,
                    fate,
                    wire,
                    hostile,
                });
            }
            Self::Call {
                from,
                to,
                size,
                answer,
            } => {
                let quick = Answer::Reply { ms: 1, size: 8 };
                push(Self::Call {
                    from,
                    to,
                    size: 8,
                    answer,
                });
                push(Self::Call {
                    from,
                    to,
                    size,
                    answer: quick,
                });
                push(Self::Call {
                    from,
                    to,
                    size: (size / 2).max(8),
                    answer,
                });
            }
            Self::Stream {
                from,
                to,
                size,
                up,
                reader,
            } => {
                push(Self::Stream {
                    from,
                    to,
                    size,
                    up,
                    reader: Reader::Fast,
                });
                push(Self::Stream {
                    from,
                    to,
                    size: size / 16,
                    up,
                    reader,
                });
                push(Self::Stream {
                    from,
                    to,
                    size: size / 2,
                    up,
                    reader,
                });
            }
            Self::Visit {
                from,
                to,
                size,
                answer,
            } => {
                push(Self::Visit {
                    from,
                    to,
                    size: 8,
                    answer,
                });
                push(Self::Visit {
                    from,
                    to,
                    size,
                    answer: Answer::Reply { ms: 1, size: 8 },
                });
            }
            Self::Cut { child, .. } => push(Self::Cut {
                child,
                keep: 100,
                parent_ms: 0,
                child_ms: 0,
            }),
            Self::Vanish { child, .. } => push(Self::Vanish { child, ms: 0 }),
            Self::Wait { ms } => {
                push(Self::Wait { ms: ms / 8 });
                push(Self::Wait { ms: ms / 2 });
                push(Self::Wait { ms: ms - ms.min(1) });
            }
            Self::Stall { child, up, ms } => push(Self::Stall {
                child,
                up,
                ms: ms / 2,
            }),
            Self::Forge { at, times, frame } => {
                push(Self::Forge {
                    at,
                    times: 1,
                    frame,
                });
                push(Self::Forge {
                    at,
                    times: times.div_ceil(2),
                    frame,
                });
                push(Self::Forge {
                    at,
                    times,
                    frame: Forgery { size: 8, ..frame },
                });
            }
            _ => {}
        }
        found
    }
}
