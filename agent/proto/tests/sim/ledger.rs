//! Requests and their outcomes, recorded without the nodes: who called whom, which bytes must
//! arrive, and how it ended. Also the true shape of the tree, and the contexts about which forgers
//! may have lied.

use super::plan::{Answer, Fate, Reader};
use super::rng::mixed;
use offshoot_proto::routing::BLOCK;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

/// Content of every forged payload.
pub(crate) const MARK: &[u8; 8] = b"FORGED!!";
/// Period of the content of every flow. No frame is as long, so that repeated bytes differ.
const PERIOD: usize = 65_521;

/// Purpose of a request.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Purpose {
    Call(Answer),
    /// A call to a service that admits every context.
    Visit(Answer),
    Stream {
        size: u32,
        up: bool,
        reader: Reader,
    },
    Ask,
    Connect {
        child: u32,
        fate: Fate,
    },
}

/// Outcome of a request.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Outcome {
    Value,
    Closed,
    /// The caller has cancelled it.
    Cancelled,
    /// The caller has ended.
    Orphaned,
}

/// A request.
pub(crate) struct Request {
    pub from: u32,
    pub to: u32,
    pub handle: u32,
    pub size: u32,
    pub purpose: Purpose,
    pub outcome: Option<Outcome>,
    /// Time of the request in microseconds.
    pub asked: u64,
    pub settled: u64,
    pub delivered: bool,
}

impl Request {
    /// Returns the length of the answer in bytes.
    pub(crate) fn answer_size(&self) -> u32 {
        match self.purpose {
            Purpose::Call(Answer::Reply { size, .. })
            | Purpose::Visit(Answer::Reply { size, .. }) => size,
            Purpose::Call(_) | Purpose::Visit(_) => 0,
            _ => 8,
        }
    }
}

/// All requests of a run, and the true tree.
#[derive(Default)]
pub(crate) struct Ledger {
    pub requests: Vec<Request>,
    parents: Vec<Option<u32>>,
    hostile: BTreeSet<u32>,
    /// Owners of blocks of numbers, by the first number.
    pub blocks: BTreeMap<u32, u32>,
    pairs: BTreeMap<(u32, u32), (bool, u64)>,
}

impl Ledger {
    pub(crate) fn pair(&mut self, one: u32, other: u32, open: bool, now: u64) {
        self.pairs
            .insert((one.min(other), one.max(other)), (open, now));
    }

    /// Returns true if the root has opened the path between two contexts, and the time of the
    /// change.
    pub(crate) fn paired(&self, one: u32, other: u32) -> Option<(bool, u64)> {
        self.pairs.get(&(one.min(other), one.max(other))).copied()
    }

    pub(crate) fn add(&mut self, request: Request) -> u32 {
        self.requests.push(request);
        self.requests.len() as u32 - 1
    }

    /// Records that `child` was ordered below `parent`. Returns false if the number was used
    /// before.
    pub(crate) fn order(&mut self, parent: u32, child: u32, hostile: bool) -> bool {
        let at = child as usize;
        if self.parents.len() <= at {
            self.parents.resize(at + 1, None);
        }
        if child == 0 || self.parents[at].is_some() {
            return false;
        }
        self.parents[at] = Some(parent);
        if hostile {
            self.hostile.insert(child);
        }
        true
    }

    pub(crate) fn parent(&self, id: u32) -> Option<u32> {
        self.parents.get(id as usize).copied().flatten()
    }

    pub(crate) fn is_hostile(&self, id: u32) -> bool {
        self.hostile.contains(&id)
    }

    /// Returns `id` and its ancestors up to the root.
    pub(crate) fn chain(&self, id: u32) -> impl Iterator<Item = u32> + '_ {
        std::iter::successors(Some(id), |id| self.parent(*id))
    }

    pub(crate) fn is_below(&self, id: u32, ancestor: u32) -> bool {
        id != ancestor && self.chain(id).any(|other| other == ancestor)
    }

    /// Returns the first number that was granted to `owner`.
    pub(crate) fn block_of(&self, owner: u32) -> Option<u32> {
        self.blocks
            .iter()
            .find(|(_, other)| **other == owner)
            .map(|(first, _)| *first)
    }

    /// Returns true if frames in the name of `id` may come from a forger without a violation: a
    /// forger speaks for all contexts below it, and for the numbers granted to them.
    pub(crate) fn is_doubtful(&self, id: u32) -> bool {
        if self.hostile.is_empty() {
            return false;
        }
        let owner = || {
            self.blocks
                .range(..=id)
                .next_back()
                .filter(|(first, _)| id - **first < BLOCK)
        };
        let known = match self.parent(id) {
            None if id != 0 => owner().map_or(id, |(_, owner)| *owner),
            _ => id,
        };
        self.chain(known).any(|other| self.hostile.contains(&other))
    }

    /// Returns true if a forger may have interfered with a request.
    pub(crate) fn is_tainted(&self, request: u32) -> bool {
        let request = &self.requests[request as usize];
        let child = match request.purpose {
            Purpose::Connect { child, .. } => child,
            _ => request.to,
        };
        self.is_doubtful(request.from) || self.is_doubtful(request.to) || self.is_doubtful(child)
    }
}

fn table() -> &'static [u8] {
    static TABLE: OnceLock<Vec<u8>> = OnceLock::new();
    TABLE.get_or_init(|| {
        let once: Vec<u8> = (0..PERIOD as u64)
            .map(|at| (mixed(at) >> 24) as u8)
            .collect();
        // Twice, so that content from any offset in the first copy is contiguous.
        [once.as_slice(), once.as_slice()].concat()
    })
}

/// One direction of one flow of a request: 0 the request, 1 its answer, 2 its stream.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Lane {
    pub request: u32,
    pub number: u8,
}

impl Lane {
    /// Returns `length` bytes of content from `offset` on. A request begins with its number in
    /// eight bytes.
    pub(crate) fn content(self, offset: u64, length: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(length);
        if self.number == 0 && offset < 8 {
            let name = u64::from(self.request).to_le_bytes();
            let piece = &name[offset as usize..];
            bytes.extend_from_slice(&piece[..piece.len().min(length)]);
        }
        let start = mixed(u64::from(self.request) << 8 | u64::from(self.number)) % PERIOD as u64;
        while bytes.len() < length {
            let at = ((start + offset + bytes.len() as u64) % PERIOD as u64) as usize;
            let piece = (length - bytes.len()).min(PERIOD);
            bytes.extend_from_slice(&table()[at..at + piece]);
        }
        bytes
    }

    pub(crate) fn fits(self, offset: u64, bytes: &[u8]) -> bool {
        self.content(offset, bytes.len()) == bytes
    }
}
