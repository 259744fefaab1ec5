//! A plan: what is done to a tree, as data. Printed with `{:?}` a step is the Rust that makes it.

/// One thing that is done. A step that makes no sense any more (its context is gone, or was never
/// made because the plan was shrunk) is passed over.
#[derive(Clone, PartialEq, Debug)]
pub enum Step {
    /// `by` orders `parent` to connect `child`. A hostile one is honest but for the frames of
    /// `Forge`.
    Connect {
        by: u32,
        parent: u32,
        child: u32,
        fate: Fate,
        wire: Wire,
        hostile: bool,
    },
    /// `from` calls `to` with `size` bytes. Nobody asks whether it may.
    Call {
        from: u32,
        to: u32,
        size: u32,
        answer: Answer,
    },
    /// `from` calls a service of `to` that is there for anyone.
    Visit {
        from: u32,
        to: u32,
        size: u32,
        answer: Answer,
    },
    /// The root lets two contexts talk, or no longer.
    Pair { one: u32, other: u32, open: bool },
    /// The clock of a context is an hour further from one moment to the next.
    Jump { at: u32 },
    /// `size` bytes flow between `from`, who opens, and `to`: down to it, or up from it.
    Stream {
        from: u32,
        to: u32,
        size: u32,
        up: bool,
        reader: Reader,
    },
    /// `from` asks the root what only the root knows.
    Ask { from: u32 },
    /// `from` sends a log record.
    Log { from: u32, size: u32 },
    /// The request that was made `back` requests ago is given up by who made it.
    Cancel { back: u32 },
    /// The link of `child` is cut: of what was on its way `keep` percent arrive, and each end sees
    /// it in its own time.
    Cut {
        child: u32,
        keep: u32,
        parent_ms: u32,
        child_ms: u32,
    },
    /// The process is gone from one moment to the next; its neighbours see it later.
    Vanish { child: u32, ms: u32 },
    /// Its parent tells it to end.
    Shutdown { child: u32 },
    /// Nothing is carried on one direction of the child's link for a while.
    Stall { child: u32, up: bool, ms: u32 },
    /// A bit of what goes over the child's link next is another.
    Corrupt { child: u32, up: bool, bit: u32 },
    /// Some of the bytes that go over the child's link next do not arrive.
    Truncate { child: u32, up: bool, bytes: u32 },
    /// A hostile context sends a frame that it should not, so many times.
    Forge { at: u32, times: u32, frame: Forgery },
    /// Time passes.
    Wait { ms: u32 },
}

/// What becomes of an order to connect.
#[derive(Copy, Clone, PartialEq, Debug)]
pub enum Fate {
    /// The agent is up after this time.
    Up { ms: u32 },
    /// The first attempt ends, a second one succeeds.
    Again { ms: u32, then_ms: u32 },
    /// It fails.
    Fails { ms: u32 },
    /// Nobody ever hears of it again.
    Hangs,
}

/// What the called does.
#[derive(Copy, Clone, PartialEq, Debug)]
pub enum Answer {
    /// Answers `size` bytes after a while.
    Reply { ms: u32, size: u32 },
    /// Gives the call up after a while.
    Refuse { ms: u32 },
    /// Never says anything.
    Silent,
}

/// How the bytes of a stream are taken.
#[derive(Copy, Clone, PartialEq, Debug)]
pub enum Reader {
    /// At once.
    Fast,
    /// So many in a millisecond.
    Slow { per_ms: u32 },
    /// At once, and after so many never again.
    Stops { after: u32 },
}

/// The two pipes of a link.
#[derive(Copy, Clone, PartialEq, Debug)]
pub struct Wire {
    pub latency_us: u32,
    pub us_per_kib: u32,
    pub capacity: u32,
}

impl Wire {
    /// A pipe between two processes of one machine.
    pub const NEAR: Wire = Wire {
        latency_us: 20,
        us_per_kib: 1,
        capacity: 65_536,
    };
}

/// As the `offset` of a forgery: the first of the numbers that were granted to the forger itself.
pub const OF_ITS_OWN: u64 = 1 << 40;

/// A frame by a forger's hand; `kind` is an index into `Kind::ALL`. The payload of one for routes
/// claims the number `offset`, any other carries the forger's mark.
#[derive(Copy, Clone, PartialEq, Debug)]
pub struct Forgery {
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
    /// The name under which it is counted.
    pub fn name(&self) -> &'static str {
        match self {
            Step::Connect {
                fate: Fate::Fails { .. } | Fate::Hangs,
                ..
            } => "failing connect",
            Step::Connect { .. } => "connect",
            Step::Call { .. } => "call",
            Step::Stream {
                reader: Reader::Fast,
                ..
            } => "stream",
            Step::Stream {
                reader: Reader::Slow { .. },
                ..
            } => "stream, slow reader",
            Step::Stream { .. } => "stream, reader stops",
            Step::Visit { .. } => "visit",
            Step::Pair { .. } => "pair",
            Step::Jump { .. } => "jump",
            Step::Ask { .. } => "ask",
            Step::Log { .. } => "log",
            Step::Cancel { .. } => "cancel",
            Step::Cut { .. } => "cut",
            Step::Vanish { .. } => "vanish",
            Step::Shutdown { .. } => "shutdown",
            Step::Stall { .. } => "stall",
            Step::Corrupt { .. } => "corrupt",
            Step::Truncate { .. } => "truncate",
            Step::Forge { .. } => "forge",
            Step::Wait { .. } => "wait",
        }
    }

    /// The same step with smaller numbers, most daring first; for a plan that is being shrunk.
    pub fn smaller(&self) -> Vec<Step> {
        let mut found = Vec::new();
        let mut push = |step: Step| {
            if step != *self {
                found.push(step);
            }
        };
        match self.clone() {
            Step::Connect {
                by,
                parent,
                child,
                fate,
                wire,
                hostile,
            } => {
                push(Step::Connect {
                    by,
                    parent,
                    child,
                    fate: Fate::Up { ms: 1 },
                    wire,
                    hostile,
                });
                push(Step::Connect {
                    by,
                    parent,
                    child,
                    fate,
                    wire: Wire::NEAR,
                    hostile,
                });
                push(Step::Connect {
                    by,
                    parent,
                    child,
                    fate,
                    wire,
                    hostile: false,
                });
                push(Step::Connect {
                    by: 0,
                    parent,
                    child,
                    fate,
                    wire,
                    hostile,
                });
            }
            Step::Call {
                from,
                to,
                size,
                answer,
            } => {
                let quick = Answer::Reply { ms: 1, size: 8 };
                push(Step::Call {
                    from,
                    to,
                    size: 8,
                    answer,
                });
                push(Step::Call {
                    from,
                    to,
                    size,
                    answer: quick,
                });
                push(Step::Call {
                    from,
                    to,
                    size: (size / 2).max(8),
                    answer,
                });
            }
            Step::Stream {
                from,
                to,
                size,
                up,
                reader,
            } => {
                push(Step::Stream {
                    from,
                    to,
                    size,
                    up,
                    reader: Reader::Fast,
                });
                push(Step::Stream {
                    from,
                    to,
                    size: size / 16,
                    up,
                    reader,
                });
                push(Step::Stream {
                    from,
                    to,
                    size: size / 2,
                    up,
                    reader,
                });
            }
            Step::Visit {
                from,
                to,
                size,
                answer,
            } => {
                push(Step::Visit {
                    from,
                    to,
                    size: 8,
                    answer,
                });
                push(Step::Visit {
                    from,
                    to,
                    size,
                    answer: Answer::Reply { ms: 1, size: 8 },
                });
            }
            Step::Cut { child, .. } => push(Step::Cut {
                child,
                keep: 100,
                parent_ms: 0,
                child_ms: 0,
            }),
            Step::Vanish { child, .. } => push(Step::Vanish { child, ms: 0 }),
            Step::Wait { ms } => {
                push(Step::Wait { ms: ms / 8 });
                push(Step::Wait { ms: ms / 2 });
                push(Step::Wait { ms: ms - ms.min(1) });
            }
            Step::Stall { child, up, ms } => push(Step::Stall {
                child,
                up,
                ms: ms / 2,
            }),
            Step::Forge { at, times, frame } => {
                push(Step::Forge {
                    at,
                    times: 1,
                    frame,
                });
                push(Step::Forge {
                    at,
                    times: times.div_ceil(2),
                    frame,
                });
                push(Step::Forge {
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
