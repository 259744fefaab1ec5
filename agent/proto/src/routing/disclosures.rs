//! Disclosures: the contexts of which a process has told others, and the check of contexts that a
//! message names.
//!
//! A named context is used with the authority of the reader. A sender that is not obeyed may
//! therefore name only itself, contexts below it, and contexts of which it was told. Senders and
//! receivers of channels of this process and its ancestors need no such rule, because their hub
//! asks for a key that only their owners have.

use crate::id::ContextId;
use crate::routing::policy::Policy;
use crate::routing::routes::RoutingTable;
use alloc::collections::BTreeMap;
use alloc::collections::BTreeSet;
use alloc::sync::Arc;

/// Maximum number of remembered disclosures.
pub const REMEMBERED: usize = 1 << 20;

/// Number of disclosures from which on those about lost contexts are removed.
const CLEARED: usize = 1 << 10;

/// The sender of a message.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Origin {
    /// Context that has sent the message.
    pub peer: ContextId,
    /// Context on whose behalf it was sent.
    pub auth: ContextId,
}

impl Origin {
    /// Returns the origin of a message that a context sends on its own behalf.
    pub fn of(peer: ContextId) -> Self {
        Self { peer, auth: peer }
    }
}

/// The use of a context that a message names.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum NameKind {
    /// The context itself.
    Context,
    /// The hub of a channel, to which the message has a key.
    Hub,
}

/// The disclosures of a process.
#[derive(Default)]
pub struct Disclosures {
    /// Pairs of a context and one of which it was told.
    pub pairs: BTreeSet<(ContextId, ContextId)>,
    /// Names of the contexts of which others were told.
    pub names: BTreeMap<ContextId, Arc<str>>,
    /// Number of disclosures at which those about lost contexts are removed next.
    full: usize,
}

impl Disclosures {
    /// Records that `who` was told of the context `of`.
    pub fn add(&mut self, who: ContextId, of: ContextId, routes: &RoutingTable) {
        if self.pairs.len() >= self.full.max(CLEARED) {
            let is_there = |id| routes.link_to(id).is_some() && routes.lost.why(id).is_none();
            self.pairs
                .retain(|(who, of)| is_there(*who) && (is_there(*of) || *of == routes.id()));
            self.full = self.pairs.len() * 2;
            let told: BTreeSet<ContextId> = self.pairs.iter().map(|(_, of)| *of).collect();
            self.names.retain(|of, _| told.contains(of));
        }
        if self.pairs.len() < REMEMBERED {
            self.pairs.insert((who, of));
        }
    }

    /// Returns true if `who` was told of the context `of`.
    pub fn knows(&self, who: ContextId, of: ContextId) -> bool {
        self.pairs.contains(&(who, of))
    }
}

impl Disclosures {
    /// Returns true if the sender may name the context `id` for this use.
    pub fn permits(
        &self,
        routes: &RoutingTable,
        origin: Origin,
        named: NameKind,
        id: ContextId,
    ) -> bool {
        let whose = origin.peer;
        let is_above = || id == routes.id() || routes.ancestors().contains(&id);
        routes.permits(Policy::Ancestors, origin.auth, None)
            || id == whose
            || routes.between(id).any(|above| above == whose)
            || named == NameKind::Hub && is_above()
            // The context is gone for good.
            || routes.lost.why(id).is_some()
            || routes.path(whose, id) == Some(true)
            || self.knows(whose, id)
            // Contexts between see all frames to it, and may pass on what they were told.
            || routes.between(whose).any(|above| self.knows(above, id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::reason::Reason;
    use crate::id::LinkId;

    const A: LinkId = LinkId(1);
    const B: LinkId = LinkId(2);

    /// 5, below 2 and the root; with 10 above 11 and 12 over one link, 20 above 21 over another.
    fn routes() -> RoutingTable {
        let mut routes = RoutingTable::new(
            ContextId(5),
            vec![ContextId(2), ContextId::ROOT],
            Some(LinkId(0)),
        );
        for (id, link, parent) in [
            (10, A, 5),
            (11, A, 10),
            (12, A, 10),
            (20, B, 5),
            (21, B, 20),
        ] {
            assert!(routes.add(ContextId(id), link, ContextId(parent)));
        }
        routes
    }

    fn names(told: &Disclosures, routes: &RoutingTable, whose: u32, named: NameKind) -> Vec<u32> {
        let origin = Origin::of(ContextId(whose));
        let all = [0, 2, 5, 10, 11, 12, 20, 21, 77];
        all.into_iter()
            .filter(|id| told.permits(routes, origin, named, ContextId(*id)))
            .collect()
    }

    #[test]
    fn a_peer_without_authority_may_name_descendants_and_disclosed_contexts() {
        let (mut told, routes) = (Disclosures::default(), routes());
        for (whose, expected) in [
            (10, vec![10, 11, 12]),
            (11, vec![11]),
            (21, vec![21]),
            (77, vec![77]),
        ] {
            assert_eq!(
                names(&told, &routes, whose, NameKind::Context),
                expected,
                "{whose}"
            );
            // The hubs of this process and of those above it have keys.
            let hubs = [vec![0, 2, 5], expected].concat();
            assert_eq!(names(&told, &routes, whose, NameKind::Hub), hubs, "{whose}");
        }
        // A context may pass on to its descendants what was disclosed to it.
        told.add(ContextId(10), ContextId(20), &routes);
        told.add(ContextId(11), ContextId(5), &routes);
        assert_eq!(
            names(&told, &routes, 10, NameKind::Context),
            [10, 11, 12, 20]
        );
        assert_eq!(names(&told, &routes, 11, NameKind::Context), [5, 11, 20]);
        assert_eq!(names(&told, &routes, 12, NameKind::Context), [12, 20]);
        assert_eq!(names(&told, &routes, 20, NameKind::Context), [20, 21]);
    }

    #[test]
    fn a_peer_with_authority_may_name_any_context() {
        let (told, routes) = (Disclosures::default(), routes());
        for whose in [0, 2, 5] {
            assert_eq!(
                names(&told, &routes, whose, NameKind::Context).len(),
                9,
                "{whose}"
            );
        }
        // A process that has joined, with the authority of this process.
        let origin = Origin {
            peer: ContextId(20),
            auth: ContextId(5),
        };
        assert!(told.permits(&routes, origin, NameKind::Context, ContextId(10)));
        let origin = Origin {
            peer: ContextId(5),
            auth: ContextId(20),
        };
        assert!(!told.permits(&routes, origin, NameKind::Context, ContextId(10)));
    }

    #[test]
    fn a_context_on_an_open_path_or_already_gone_may_be_named() {
        let (told, mut routes) = (Disclosures::default(), routes());
        routes.pair(ContextId(11), ContextId(21), true);
        assert_eq!(names(&told, &routes, 11, NameKind::Context), [11, 21]);
        assert_eq!(names(&told, &routes, 21, NameKind::Context), [11, 21]);
        // The open paths of a guest belong to the guest alone.
        routes.admit(ContextId(20));
        let header =
            crate::wire::Header::new(crate::wire::Kind::Open, ContextId(20), ContextId(12));
        routes.note(B, A, &header);
        assert_eq!(names(&told, &routes, 12, NameKind::Context), [12]);
        routes.lost.remember(&[ContextId(77)], Reason::Lost, "");
        assert_eq!(names(&told, &routes, 12, NameKind::Context), [12, 77]);
    }

    #[test]
    fn disclosures_to_lost_contexts_are_forgotten() {
        let (mut told, mut routes) = (Disclosures::default(), routes());
        for of in 0..CLEARED as u32 / 2 {
            told.add(ContextId(10), ContextId(of), &routes);
            told.add(ContextId(20), ContextId(of), &routes);
        }
        assert_eq!(told.pairs.len(), CLEARED);
        let gone = routes.remove_link(B);
        routes.lost.remember(&gone, Reason::Lost, "");
        told.add(ContextId(10), ContextId(5), &routes);
        assert!(told.pairs.len() <= CLEARED / 2 + 1);
        assert!(
            told.knows(ContextId(10), ContextId(2)) && !told.knows(ContextId(20), ContextId(2))
        );
        // The number of disclosures is limited.
        told.full = usize::MAX;
        told.pairs
            .extend((0..REMEMBERED as u32).map(|of| (ContextId(11), ContextId(of))));
        told.add(ContextId(12), ContextId(5), &routes);
        assert!(!told.knows(ContextId(12), ContextId(5)));
    }
}
