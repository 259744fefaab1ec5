//! The routing table of a node: where a frame goes, and whether its link may bring it.
//!
//! A frame goes down if its destination is below, else up; never back over its link, and not from
//! one child's link to another's unless the root has opened a path between the two contexts. A link
//! is trusted only for contexts that are reached over it.

use crate::collections::index_map::IndexMap;
use crate::collections::sorted_map::SortedMap;
use crate::error::reason::Reason;
use crate::id::ContextId;
use crate::id::Handle;
use crate::id::LinkId;
use crate::routing::lost_contexts::LostContexts;
use crate::routing::policy::Policy;
use crate::wire::Header;
use crate::wire::Kind;
use alloc::vec::Vec;

/// The routing decision for a frame.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// The destination is this node.
    Here,
    /// The frame is forwarded over this link.
    Forward(LinkId),
    /// The frame is returned to its source.
    Return(Reason),
}

/// Maximum number of contexts that may be reached over one link.
pub const ROUTES_PER_LINK: usize = 1 << 17;

/// The contexts reached over one link. Removed ones stay in the list until they are half of it.
#[derive(Default)]
struct Behind {
    contexts: Vec<ContextId>,
    gone: usize,
}

/// The route to one context below, with its parent as reported by the contexts above it.
#[derive(Copy, Clone)]
struct Way {
    link: LinkId,
    parent: ContextId,
}

/// Maximum number of ancestors that are followed. A child can report any number.
const DEEPEST: usize = 256;

/// The routes of one node.
pub struct RoutingTable {
    id: ContextId,
    ancestors: Vec<ContextId>,
    up: Option<LinkId>,
    routes: IndexMap<ContextId, Way>,
    behind: SortedMap<LinkId, Behind>,
    /// Pairs of contexts below that may talk past this node, stored in both orders: true if the
    /// root has opened the path, false if one of them is a guest and has begun. A guest is a pair
    /// with itself.
    pairs: SortedMap<(ContextId, ContextId), bool>,
    /// Contexts that were reached from here and are lost.
    pub lost: LostContexts,
}

impl RoutingTable {
    /// Creates the table of the context `id`, whose `ancestors` are listed nearest first and
    /// reached over `up`.
    pub fn new(id: ContextId, ancestors: Vec<ContextId>, up: Option<LinkId>) -> Self {
        let (routes, behind) = (IndexMap::default(), SortedMap::default());
        Self {
            id,
            ancestors,
            up,
            routes,
            behind,
            pairs: SortedMap::default(),
            lost: LostContexts::default(),
        }
    }

    /// Returns the number of this node.
    pub fn id(&self) -> ContextId {
        self.id
    }

    /// Returns the ancestors of this node, nearest first.
    pub fn ancestors(&self) -> &[ContextId] {
        &self.ancestors
    }

    /// Returns the link to the parent; `None` at the root.
    pub fn up(&self) -> Option<LinkId> {
        self.up
    }

    /// Sets the identity of this node, which an agent learns from the first frame of its parent.
    pub(crate) fn become_context(&mut self, id: ContextId, ancestors: Vec<ContextId>) {
        self.id = id;
        self.ancestors = ancestors;
    }

    /// Adds a route over `link` to `id`, a child of `parent`. Returns false if `id` is this node,
    /// an ancestor, or reached over another link, or if the link has too many routes.
    pub fn add(&mut self, id: ContextId, link: LinkId, parent: ContextId) -> bool {
        if id == self.id || self.ancestors.contains(&id) {
            return false;
        }
        if let Some(other) = self.link_down(id) {
            return other == link;
        }
        if self.behind.get(&link).is_none() {
            self.behind.insert(link, Behind::default());
        }
        let Some(behind) = self.behind.get_mut(&link) else {
            return false;
        };
        if behind.contexts.len() - behind.gone >= ROUTES_PER_LINK {
            return false;
        }
        behind.contexts.push(id);
        self.routes.insert(id, Way { link, parent });
        true
    }

    /// Removes the route to `id`. Returns false if it does not lead over `link`.
    pub fn remove(&mut self, id: ContextId, link: LinkId) -> bool {
        if self.link_down(id) != Some(link) {
            return false;
        }
        self.routes.remove(&id);
        if let Some(behind) = self.behind.get_mut(&link) {
            behind.gone += 1;
            if behind.gone > behind.contexts.len() / 2 {
                let routes = &self.routes;
                behind
                    .contexts
                    .retain(|id| routes.get(id).is_some_and(|way| way.link == link));
                behind.gone = 0;
            }
        }
        true
    }

    /// Removes all routes over `link`. Returns their contexts, sorted.
    pub(crate) fn remove_link(&mut self, link: LinkId) -> Vec<ContextId> {
        let mut gone = self.behind(link);
        self.behind.remove(&link);
        gone.sort_unstable();
        for id in &gone {
            self.routes.remove(id);
        }
        gone
    }

    /// Returns the contexts that are reached over the link of a child.
    pub fn behind(&self, link: LinkId) -> Vec<ContextId> {
        let contexts = self
            .behind
            .get(&link)
            .map_or(&[][..], |behind| &behind.contexts);
        contexts
            .iter()
            .filter(|id| self.link_down(**id) == Some(link))
            .copied()
            .collect()
    }

    /// Returns the link over which `id` is reached, which may be that to the parent.
    pub fn link_to(&self, id: ContextId) -> Option<LinkId> {
        if id == self.id {
            None
        } else {
            self.link_down(id).or(self.up)
        }
    }

    /// Returns the link over which `id` is reached, if it is below.
    pub fn link_down(&self, id: ContextId) -> Option<LinkId> {
        self.routes.get(&id).map(|way| way.link)
    }

    /// Returns the contexts below with their links.
    pub fn below(&self) -> impl Iterator<Item = (ContextId, LinkId)> + '_ {
        self.routes.iter().map(|(id, way)| (*id, way.link))
    }

    /// Returns the contexts between this node and `id`, which is below, nearest to `id` first. The
    /// information comes from the neighbours on the path, each of which is trusted for contexts
    /// behind it.
    pub fn between(&self, id: ContextId) -> impl Iterator<Item = ContextId> + '_ {
        let parent = |id: &ContextId| self.routes.get(id).map(|way| way.parent);
        core::iter::successors(parent(&id), parent)
            .take_while(|id| *id != self.id)
            .take(DEEPEST)
    }

    /// Returns true if `link` may bring a frame with this header: its source and authority must
    /// both be reached over the link.
    pub(crate) fn believes(&self, link: LinkId, header: &Header) -> bool {
        let reached = |id| self.link_to(id) == Some(link) && id != self.id;
        reached(header.src) && (header.auth == header.src || reached(header.auth))
    }

    /// Opens or closes the path between two contexts below.
    pub fn pair(&mut self, one: ContextId, other: ContextId, open: bool) {
        for key in [(one, other), (other, one)] {
            if open {
                self.pairs.insert(key, true);
            } else {
                self.pairs.remove(&key);
            }
        }
    }

    /// Lets a context below, a guest, talk to all others below, as this node may.
    pub fn admit(&mut self, guest: ContextId) {
        self.pair(guest, guest, true);
    }

    /// Returns the kind of path between two contexts below: true if the root has opened it, false
    /// if one of them is a guest and has begun.
    pub fn path(&self, one: ContextId, other: ContextId) -> Option<bool> {
        self.pairs.get(&(one, other)).copied()
    }

    /// Returns true if a frame of `party`, a context below, may pass this node to another one
    /// below.
    ///
    /// Frames to a guest are limited to flows that it has opened, and to its own channels and
    /// pipes. Contexts that it has addressed use these, and may pass them on below.
    fn may_pass(&self, party: ContextId, header: &Header) -> bool {
        let dst = header.dst;
        let unasked = header.kind == Kind::Open && header.handle < Handle::FIRST_HUB;
        let given = |one: ContextId| self.path(one, dst) == Some(false);
        self.path(party, dst) == Some(true)
            || self.path(party, party).is_some()
            || !unasked
                && self.path(dst, dst).is_some()
                && (given(party) || self.between(party).any(given))
    }

    /// Records that a frame passes this node between two contexts below, because each must learn of
    /// the other's loss. Paths that the root has opened are known; paths of guests arise with their
    /// frames.
    pub fn note(&mut self, from: LinkId, to: LinkId, header: &Header) {
        let (one, other) = (header.src, header.dst);
        let past = Some(from) != self.up && Some(to) != self.up && header.kind != Kind::Dead;
        if past && self.path(one, other).is_none() {
            self.pairs.insert((one, other), false);
            self.pairs.insert((other, one), false);
        }
    }

    /// Removes the pairs of lost contexts (sorted). Returns each surviving context with the lost
    /// one.
    pub(crate) fn remove_pairs(&mut self, gone: &[ContextId]) -> Vec<(ContextId, ContextId)> {
        let mut lost = Vec::new();
        for id in gone {
            while let Some(((_, other), _)) = self
                .pairs
                .get_at_or_before(&(*id, ContextId(u32::MAX)))
                .filter(|((one, _), _)| one == id)
            {
                self.pair(*id, other, false);
                if gone.binary_search(&other).is_err() {
                    lost.push((other, *id));
                }
            }
        }
        lost
    }

    /// Returns the decision for a frame that came over `from`, or from this node if `None`.
    pub fn route(&self, from: Option<LinkId>, header: &Header) -> Verdict {
        let dst = header.dst;
        if dst == self.id {
            return Verdict::Here;
        }
        let Some(to) = self.link_to(dst) else {
            return Verdict::Return(Reason::NoRoute);
        };
        if from == Some(to) {
            return Verdict::Return(Reason::NoRoute);
        }
        // News about a context may pass wherever its own frames may.
        let party = if header.kind == Kind::Dead {
            ContextId(header.reply_to.0)
        } else {
            header.src
        };
        if from.is_some() && from != self.up && Some(to) != self.up && !self.may_pass(party, header)
        {
            return Verdict::Return(Reason::Isolated);
        }
        Verdict::Forward(to)
    }

    /// Returns true if a context with the authority of `auth` satisfies `policy` at this node.
    /// `neighbour` is the context at the other end of the link that the request came over.
    pub fn permits(&self, policy: Policy, auth: ContextId, neighbour: Option<ContextId>) -> bool {
        auth == self.id
            || match policy {
                Policy::Ancestors => self.ancestors.contains(&auth),
                Policy::Parent => self.ancestors.first() == Some(&auth),
                Policy::Descendants => self.routes.contains_key(&auth),
                Policy::Children => neighbour == Some(auth) && self.routes.contains_key(&auth),
                Policy::Anyone => true,
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Flags, Kind};

    const UP: LinkId = LinkId(0);
    const A: LinkId = LinkId(1);
    const B: LinkId = LinkId(2);

    fn middle() -> RoutingTable {
        let mut router =
            RoutingTable::new(ContextId(5), vec![ContextId(2), ContextId::ROOT], Some(UP));
        for (id, link, parent) in [(10, A, 5), (11, A, 10), (12, A, 11), (20, B, 5)] {
            assert!(router.add(ContextId(id), link, ContextId(parent)));
        }
        router
    }

    fn to(dst: u32) -> Header {
        Header::new(Kind::Data, ContextId(77), ContextId(dst))
    }

    #[test]
    fn a_frame_is_routed_down_or_up_but_never_back() {
        let router = middle();
        assert_eq!(router.route(Some(UP), &to(11)), Verdict::Forward(A));
        assert_eq!(router.route(Some(A), &to(0)), Verdict::Forward(UP));
        assert_eq!(
            router.route(Some(UP), &to(99)),
            Verdict::Return(Reason::NoRoute)
        );
        assert_eq!(
            router.route(Some(A), &to(10)),
            Verdict::Return(Reason::NoRoute)
        );
        assert_eq!(router.route(Some(A), &to(5)), Verdict::Here);
        assert_eq!(router.route(None, &to(20)), Verdict::Forward(B));
    }

    #[test]
    fn siblings_are_isolated() {
        assert_eq!(
            middle().route(Some(A), &to(20)),
            Verdict::Return(Reason::Isolated)
        );
        assert_eq!(
            middle().route(Some(B), &to(10)),
            Verdict::Return(Reason::Isolated)
        );
    }

    #[test]
    fn a_link_is_trusted_only_for_contexts_behind_it() {
        let router = middle();
        let frame = |src: u32, auth: u32| Header {
            auth: ContextId(auth),
            ..Header::new(Kind::Data, ContextId(src), ContextId(5))
        };
        assert!(router.believes(A, &frame(10, 10)) && router.believes(A, &frame(11, 10)));
        assert!(router.believes(UP, &frame(0, 0)) && router.believes(UP, &frame(77, 0)));
        assert!(!router.believes(A, &frame(20, 20)) && !router.believes(A, &frame(10, 0)));
        assert!(!router.believes(A, &frame(0, 0)) && !router.believes(A, &frame(5, 5)));
        assert!(!router.believes(UP, &frame(10, 10)) && !router.believes(UP, &frame(0, 20)));
        assert!(!router.believes(UP, &frame(5, 5)));
    }

    #[test]
    fn a_route_cannot_be_taken_over_by_another_link() {
        let mut router = middle();
        assert!(
            [10, 2, 5]
                .into_iter()
                .all(|id| !router.add(ContextId(id), B, ContextId(5)))
        );
        assert!(!router.remove(ContextId(10), B));
        assert_eq!(router.remove_link(A), [10, 11, 12].map(ContextId));
        assert_eq!(
            router.route(Some(UP), &to(10)),
            Verdict::Return(Reason::NoRoute)
        );
    }

    #[test]
    fn only_ancestors_are_obeyed() {
        let router = middle();
        assert!(
            router.permits(Policy::Ancestors, ContextId::ROOT, None)
                && router.permits(Policy::Ancestors, ContextId(5), None)
        );
        assert!(
            !router.permits(Policy::Ancestors, ContextId(10), None)
                && !router.permits(Policy::Ancestors, ContextId(77), None)
        );
        assert!(router.permits(Policy::Descendants, ContextId(20), None));
        assert!(
            !router.permits(Policy::Descendants, ContextId(77), None)
                && !router.permits(Policy::Descendants, ContextId(2), None)
        );
    }

    #[test]
    fn parent_and_children_policies_admit_only_direct_neighbours() {
        let router = middle();
        for (policy, auth, neighbour, permitted) in [
            (Policy::Children, 10, Some(10), true),
            (Policy::Children, 11, Some(10), false),
            (Policy::Children, 77, Some(77), false),
            (Policy::Parent, 2, Some(2), true),
            (Policy::Parent, 0, Some(2), false),
            (Policy::Anyone, 77, None, true),
            (Policy::Children, 5, None, true),
        ] {
            let found = router.permits(policy, ContextId(auth), neighbour.map(ContextId));
            assert_eq!(found, permitted, "{policy:?} {auth}");
        }
    }

    #[test]
    fn a_paired_context_may_talk_both_ways_and_gets_dead_letters() {
        let mut router = middle();
        router.pair(ContextId(20), ContextId(10), true);
        let frame = |src, dst| Header::new(Kind::Data, ContextId(src), ContextId(dst));
        assert_eq!(router.route(Some(A), &frame(10, 20)), Verdict::Forward(B));
        assert_eq!(router.route(Some(B), &frame(20, 10)), Verdict::Forward(A));
        assert_eq!(
            router.route(Some(A), &frame(11, 20)),
            Verdict::Return(Reason::Isolated)
        );
        let dead = |about| Header {
            reply_to: Handle(about),
            ..Header::new(Kind::Dead, ContextId(11), ContextId(20))
        };
        assert_eq!(router.route(Some(A), &dead(10)), Verdict::Forward(B));
        assert_eq!(
            router.route(Some(A), &dead(11)),
            Verdict::Return(Reason::Isolated)
        );
        assert_eq!(
            router.remove_pairs(&[ContextId(10), ContextId(11)]),
            [(ContextId(20), ContextId(10))]
        );
        assert_eq!(
            router.route(Some(B), &frame(20, 10)),
            Verdict::Return(Reason::Isolated)
        );
    }

    #[test]
    fn the_ancestors_between_a_context_and_this_node_are_listed_even_in_a_cycle() {
        let mut router = middle();
        let between = |router: &RoutingTable, id| {
            router
                .between(ContextId(id))
                .map(|id| id.0)
                .collect::<Vec<_>>()
        };
        assert_eq!(between(&router, 12), [11, 10]);
        assert!(
            [10, 20, 5, 0, 99]
                .into_iter()
                .all(|id| between(&router, id).is_empty())
        );
        // A hostile child makes a context its own ancestor, by a number that comes back.
        assert!(router.remove(ContextId(11), A) && router.add(ContextId(11), A, ContextId(12)));
        assert_eq!(between(&router, 12).len(), DEEPEST);
    }

    #[test]
    fn a_joined_context_is_reached_only_by_contexts_it_has_called() {
        let mut router = middle();
        let guest = ContextId(20);
        router.admit(guest);
        let frame = |kind, src, flags, handle| Header {
            flags,
            handle: Handle(handle),
            ..Header::new(kind, ContextId(src), guest)
        };
        let hub = Handle::FIRST_HUB.0 + 300;
        let kinds = [
            frame(Kind::Open, 11, Flags::OPENER, 1),
            frame(Kind::Open, 11, Flags::OPENER, 256),
            frame(Kind::Open, 11, Flags::OPENER, hub),
            frame(Kind::Data, 11, Flags::default(), 1000),
            frame(Kind::Credit, 11, Flags::OPENER, 1000),
            frame(Kind::Reset, 11, Flags::default(), 1000),
        ];
        let let_through = |router: &RoutingTable, header: &Header| {
            router.route(Some(A), header) == Verdict::Forward(B)
        };
        assert!(
            !kinds.iter().any(|header| let_through(&router, header)),
            "it has asked for nothing"
        );
        // It speaks to 10, which may answer, and use its channels as those below may to whom it
        // gave their ends.
        let asked = Header::new(Kind::Open, guest, ContextId(10));
        assert_eq!(router.route(Some(B), &asked), Verdict::Forward(A));
        router.note(B, A, &asked);
        for src in [10, 11, 12] {
            for header in &kinds {
                let unasked = header.kind == Kind::Open && header.handle.0 < hub;
                let header = Header {
                    src: ContextId(src),
                    auth: ContextId(src),
                    ..*header
                };
                assert_eq!(let_through(&router, &header), !unasked, "{src}: {header:?}");
            }
        }
        // To 11 alone it has not spoken; the one above that is no party to it.
        let mut router = middle();
        router.admit(guest);
        router.note(B, A, &Header::new(Kind::Open, guest, ContextId(11)));
        for header in kinds {
            assert!(!let_through(
                &router,
                &Header {
                    src: ContextId(10),
                    auth: ContextId(10),
                    ..header
                }
            ));
        }
        // A path that was opened is one for both.
        router.pair(guest, ContextId(10), true);
        assert!(let_through(
            &router,
            &Header {
                src: ContextId(10),
                auth: ContextId(10),
                ..kinds[0]
            }
        ));
    }

    #[test]
    fn removed_contexts_leave_the_list_of_their_link() {
        let mut router = middle();
        for id in 100..200 {
            assert!(router.add(ContextId(id), A, ContextId(10)));
        }
        for id in 100..200 {
            assert!(router.remove(ContextId(id), A));
        }
        assert_eq!(router.behind(A), [10, 11, 12].map(ContextId));
        assert!(
            router
                .behind
                .get(&A)
                .is_some_and(|behind| behind.contexts.len() < 8)
        );
    }
}
