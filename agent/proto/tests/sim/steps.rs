//! Short forms of steps for tests.

use super::plan::{Answer, Fate, Forgery, Reader, Step, Wire};

pub(crate) fn connect(parent: u32, child: u32) -> Step {
    Step::Connect {
        by: 0,
        parent,
        child,
        fate: Fate::Up { ms: 1 },
        wire: Wire::NEAR,
        hostile: false,
    }
}

pub(crate) fn hostile(parent: u32, child: u32) -> Step {
    Step::Connect {
        by: 0,
        parent,
        child,
        fate: Fate::Up { ms: 1 },
        wire: Wire::NEAR,
        hostile: true,
    }
}

pub(crate) fn call(from: u32, to: u32) -> Step {
    Step::Call {
        from,
        to,
        size: 5000,
        answer: Answer::Reply { ms: 5, size: 3000 },
    }
}

pub(crate) fn stream(to: u32, size: u32) -> Step {
    Step::Stream {
        from: 0,
        to,
        size,
        up: false,
        reader: Reader::Fast,
    }
}

pub(crate) fn wait(ms: u32) -> Step {
    Step::Wait { ms }
}

/// `by` orders the connect, with a number that the root has granted.
pub(crate) fn connect_by(by: u32, parent: u32, child: u32) -> Step {
    Step::Connect {
        by,
        parent,
        child,
        fate: Fate::Up { ms: 1 },
        wire: Wire::NEAR,
        hostile: false,
    }
}

/// A child whose link carries 200 KiB per second.
pub(crate) fn connect_slowly(parent: u32, child: u32) -> Step {
    let wire = Wire {
        latency_us: 1000,
        us_per_kib: 5000,
        capacity: 65_536,
    };
    Step::Connect {
        by: 0,
        parent,
        child,
        fate: Fate::Up { ms: 1 },
        wire,
        hostile: false,
    }
}

pub(crate) fn visit(from: u32, to: u32, answer: Answer) -> Step {
    Step::Visit {
        from,
        to,
        size: 100,
        answer,
    }
}

/// A forged frame that, except for its kind, an honest context could send to its parent or the
/// root.
pub(crate) fn forge(at: u32, kind: u8, times: u32, change: impl Fn(&mut Forgery)) -> Step {
    let mut frame = Forgery {
        kind,
        flags: 1,
        dst: 0,
        src: at,
        auth: at,
        handle: 5000,
        reply_to: 0,
        streams: 0,
        answering: 0,
        offset: 0,
        size: 8,
    };
    change(&mut frame);
    Step::Forge { at, times, frame }
}
