//! Granted context numbers: the root grants them, and every node on the path records them, because
//! a route to a context is accepted only from where its number was granted to.
//!
//! The root takes single numbers for contexts that it starts itself. Other contexts get blocks,
//! which return when all contexts of a block or its owner are gone. No subtree holds more than
//! [`LIVE_PER_LINK`] at once. A number is not reused while there are unused ones, so that late
//! messages reach no other context.

use crate::collections::sorted_map::SortedMap;
use crate::id::ContextId;
use crate::id::LinkId;
use alloc::collections::VecDeque;

/// Number of context numbers in a block.
pub const BLOCK: u32 = 64;

/// Maximum number of granted numbers, used or not, of all contexts behind one link.
pub const LIVE_PER_LINK: u32 = 1 << 16;

/// Maximum number of blocks that contexts behind one link get at once.
pub(crate) const BLOCKS_AT_ONCE: u32 = LIVE_PER_LINK / BLOCK;

/// Number of blocks that contexts behind one link get each second after that. All numbers together
/// last for months.
pub(crate) const BLOCKS_EACH_SECOND: u32 = 4;

/// Maximum number of returned blocks that are kept until all numbers have been used.
const RETURNED: usize = 1 << 16;

struct Block {
    owner: ContextId,
    link: LinkId,
    /// Contexts of the block that are gone, one bit each; their numbers are not granted again.
    ended: u64,
}

/// The grants that a node knows of.
pub struct IdGrants {
    next: u32,
    blocks: SortedMap<u32, Block>,
    owners: SortedMap<(ContextId, u32), ()>,
    live: SortedMap<LinkId, u32>,
    returned: VecDeque<u32>,
}

impl Default for IdGrants {
    fn default() -> Self {
        Self::from(1)
    }
}

impl IdGrants {
    /// Creates grants that begin at `next`; lower numbers count as used.
    pub fn from(next: u32) -> Self {
        let (blocks, owners, live) = (
            SortedMap::default(),
            SortedMap::default(),
            SortedMap::default(),
        );
        Self {
            next,
            blocks,
            owners,
            live,
            returned: VecDeque::new(),
        }
    }

    /// Allocates the number of a context that the root starts.
    pub fn one(&mut self) -> Option<ContextId> {
        if self.next < u32::MAX {
            self.next += 1;
            return Some(ContextId(self.next - 1));
        }
        // The rest of a returned block remains unused.
        self.returned.pop_front().map(ContextId)
    }

    /// Grants a block to `owner`, a context behind `link`. Returns the first number and the count.
    pub fn block(&mut self, owner: ContextId, link: LinkId) -> Option<(ContextId, u32)> {
        let live = self.live.get(&link).copied().unwrap_or(0);
        if live + BLOCK > LIVE_PER_LINK {
            return None;
        }
        let first = if self.next < u32::MAX - BLOCK {
            self.next += BLOCK;
            self.next - BLOCK
        } else {
            self.returned.pop_front()?
        };
        self.learn(ContextId(first), owner, link);
        Some((ContextId(first), BLOCK))
    }

    fn block_of(&mut self, id: ContextId) -> Option<(u32, &mut Block)> {
        let (first, block) = self.blocks.at_or_before(&id.0)?;
        (id.0 - first < BLOCK).then_some((first, block))
    }

    /// Records that the root has granted a block to `owner`, a context behind `link`.
    pub fn learn(&mut self, first: ContextId, owner: ContextId, link: LinkId) {
        let live = self.live.get(&link).copied().unwrap_or(0);
        self.live.insert(link, live + BLOCK);
        self.blocks.insert(
            first.0,
            Block {
                owner,
                link,
                ended: 0,
            },
        );
        self.owners.insert((owner, first.0), ());
    }

    /// Returns true if the number was granted to a context behind `link`.
    pub(crate) fn is_granted(&self, id: ContextId, link: LinkId) -> bool {
        self.blocks
            .get_at_or_before(&id.0)
            .is_some_and(|(first, block)| {
                let at = id.0 - first;
                at < BLOCK && block.link == link && block.ended >> at & 1 == 0
            })
    }

    /// Records that a context is gone.
    pub fn ended(&mut self, id: ContextId) {
        if let Some((first, block)) = self.block_of(id) {
            block.ended |= 1 << (id.0 - first);
            if block.ended == u64::MAX {
                self.take_back(first);
            }
        }
        while let Some(((owner, first), ())) = self.owners.get_at_or_before(&(id, u32::MAX))
            && owner == id
        {
            self.take_back(first);
        }
    }

    /// Removes the grants of a link. [`IdGrants::ended`] was called for all contexts behind it.
    pub fn link_ended(&mut self, link: LinkId) {
        self.live.remove(&link);
    }

    fn take_back(&mut self, first: u32) {
        let Some(block) = self.blocks.remove(&first) else {
            return;
        };
        self.owners.remove(&(block.owner, first));
        if let Some(live) = self.live.get_mut(&block.link) {
            *live -= BLOCK;
        }
        if self.returned.len() < RETURNED {
            self.returned.push_back(first);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: LinkId = LinkId(1);
    const B: LinkId = LinkId(2);

    #[test]
    fn a_link_can_hold_a_limited_number_of_ids_freed_when_their_owner_ends() {
        let mut grants = IdGrants::default();
        assert_eq!(grants.one(), Some(ContextId(1)));
        let mut count = 0;
        while grants.block(ContextId(1), A).is_some() {
            count += 1;
        }
        assert_eq!(count, LIVE_PER_LINK / BLOCK);
        assert!(
            grants.block(ContextId(7), B).is_some(),
            "others are not touched"
        );
        grants.ended(ContextId(1));
        assert!(
            grants.block(ContextId(8), A).is_some(),
            "with its owner a block is free"
        );
        grants.ended(ContextId(8));
        grants.link_ended(A);
        assert_eq!(grants.live.get(&A), None);
        assert_eq!(grants.blocks.keys().len(), 1);
    }

    #[test]
    fn a_block_of_ids_is_returned_when_all_its_contexts_are_gone() {
        let mut grants = IdGrants::default();
        let (first, count) = grants.block(ContextId(1000), A).unwrap();
        for id in first.0..first.0 + count {
            assert!(grants.is_granted(ContextId(id), A) && !grants.is_granted(ContextId(id), B));
            grants.ended(ContextId(id));
        }
        assert!(!grants.is_granted(first, A));
        assert_eq!(grants.live.get(&A), Some(&0));
    }

    #[test]
    fn an_ended_id_is_not_granted_again_and_counts_once() {
        let mut grants = IdGrants::default();
        let (first, count) = grants.block(ContextId(1000), A).unwrap();
        for _ in 0..2 * count {
            grants.ended(first);
        }
        assert!(!grants.is_granted(first, A), "it was used");
        for id in first.0 + 1..first.0 + count {
            assert!(grants.is_granted(ContextId(id), A), "{id} was not");
        }
        assert_eq!(grants.live.get(&A), Some(&BLOCK), "the block is not back");
    }

    #[test]
    fn an_id_is_reused_only_when_all_others_are_used() {
        let mut grants = IdGrants::from(u32::MAX - 2 * BLOCK - 2);
        let (first, _) = grants.block(ContextId(1), A).unwrap();
        grants.ended(ContextId(1));
        let (second, _) = grants.block(ContextId(2), B).unwrap();
        assert_eq!(second.0, first.0 + BLOCK);
        assert_eq!(grants.block(ContextId(3), B).unwrap().0, first);
        while grants.one().is_some_and(|id| id.0 > second.0) {}
        assert_eq!(grants.one(), None, "ended, and not beyond the last");
    }
}
