//! What was asked for and what came of it, kept beside the nodes and without their help: who asked
//! whom, what bytes have to come, whether there was an outcome. Also who is below whom in truth,
//! and who may have been lied about.

use super::plan::{Answer, Fate, Reader};
use super::rng::mixed;
use offshoot_proto::routing::BLOCK;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

/// What every forged payload consists of.
pub const MARK: &[u8; 8] = b"FORGED!!";
/// The content of every flow has this period: no frame is as long, so that a piece that comes twice
/// does not fit.
const PERIOD: usize = 65_521;

/// What a request is for.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Purpose {
    Call(Answer),
    /// A call to a service that is there for anyone.
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

/// How a request ended.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Outcome {
    Value,
    Closed,
    /// Given up by who asked.
    Cancelled,
    /// Who asked is no more.
    Orphaned,
}

/// One request.
pub struct Request {
    pub from: u32,
    pub to: u32,
    pub handle: u32,
    pub size: u32,
    pub purpose: Purpose,
    pub outcome: Option<Outcome>,
    /// When it was asked, in microseconds.
    pub asked: u64,
    pub settled: u64,
    pub delivered: bool,
}

impl Request {
    /// How long its answer is.
    pub fn answer_size(&self) -> u32 {
        match self.purpose {
            Purpose::Call(Answer::Reply { size, .. })
            | Purpose::Visit(Answer::Reply { size, .. }) => size,
            Purpose::Call(_) | Purpose::Visit(_) => 0,
            _ => 8,
        }
    }
}

/// All requests of a run, and the truth about the tree.
#[derive(Default)]
pub struct Ledger {
    pub requests: Vec<Request>,
    parents: Vec<Option<u32>>,
    hostile: BTreeSet<u32>,
    /// To whom blocks of numbers were granted, by the first of them.
    pub blocks: BTreeMap<u32, u32>,
    pairs: BTreeMap<(u32, u32), (bool, u64)>,
}

impl Ledger {
    pub fn pair(&mut self, one: u32, other: u32, open: bool, now: u64) {
        self.pairs
            .insert((one.min(other), one.max(other)), (open, now));
    }

    /// Whether the root lets two contexts talk, and since when.
    pub fn paired(&self, one: u32, other: u32) -> Option<(bool, u64)> {
        self.pairs.get(&(one.min(other), one.max(other))).copied()
    }

    pub fn add(&mut self, request: Request) -> u32 {
        self.requests.push(request);
        self.requests.len() as u32 - 1
    }

    /// `child` was ordered below `parent`. Not if the number was used before.
    pub fn order(&mut self, parent: u32, child: u32, hostile: bool) -> bool {
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

    pub fn parent(&self, id: u32) -> Option<u32> {
        self.parents.get(id as usize).copied().flatten()
    }

    pub fn is_hostile(&self, id: u32) -> bool {
        self.hostile.contains(&id)
    }

    /// `id` and its ancestors up to the root.
    pub fn chain(&self, id: u32) -> impl Iterator<Item = u32> + '_ {
        std::iter::successors(Some(id), |id| self.parent(*id))
    }

    pub fn is_below(&self, id: u32, ancestor: u32) -> bool {
        id != ancestor && self.chain(id).any(|other| other == ancestor)
    }

    /// The first number that was granted to `owner`.
    pub fn block_of(&self, owner: u32) -> Option<u32> {
        self.blocks
            .iter()
            .find(|(_, other)| **other == owner)
            .map(|(first, _)| *first)
    }

    /// Whether what is said in the name of `id` may be a forger's word without any rule being
    /// broken: a forger speaks for all below it and for the numbers that were granted to those.
    pub fn is_doubtful(&self, id: u32) -> bool {
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

    /// Whether a forger may have had its hands in a request.
    pub fn is_tainted(&self, request: u32) -> bool {
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
        // Twice, so that what begins anywhere in the first is in one piece.
        [once.as_slice(), once.as_slice()].concat()
    })
}

/// One direction of one flow of a request: 0 is the request itself, 1 its answer, 2 its stream.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Lane {
    pub request: u32,
    pub number: u8,
}

impl Lane {
    /// What it carries from `offset` on: `length` bytes. The first eight of a request say which one
    /// it is.
    pub fn content(self, offset: u64, length: usize) -> Vec<u8> {
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

    pub fn fits(self, offset: u64, bytes: &[u8]) -> bool {
        self.content(offset, bytes.len()) == bytes
    }
}
