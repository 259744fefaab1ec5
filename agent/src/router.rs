//! Where a frame goes, and whether it may come from where it came: the rules of the tree, pure.
//!
//! Exact match, else up; never back over the link it came from; never from one child's link to another's, unless the
//! root has opened that pair of contexts. A link is believed only for contexts that are reached over it.

use crate::error::Reason;
use crate::id::{ContextId, LinkId};
use crate::lost::Lost;
use crate::map::Map;
use crate::table::Table;
use crate::wire::{Header, Kind};

/// Where a frame is to go.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It is for this node.
    Here,
    /// It goes on over this link.
    Forward(LinkId),
    /// It cannot go on.
    Return(Reason),
}

/// Who may open a flow to a service. There is no service without one of these.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Policy {
    /// Only those this node obeys: its ancestors, and itself.
    Ancestors,
    /// The node above, and itself.
    Parent,
    /// Any context below, and itself.
    Descendants,
    /// The contexts directly below, and itself.
    Children,
    /// Whoever a frame may come from at all: ancestors, descendants, and those the root has opened a path to.
    Anyone,
}

/// The most contexts that may be reached over one link.
pub const ROUTES_PER_LINK: usize = 1 << 17;

/// What is reached over one link. Entries whose route is gone are left where they are until they are half of it.
#[derive(Default)]
struct Behind {
    contexts: Vec<ContextId>,
    gone: usize,
}

/// The routes of one node.
pub struct Routes {
    id: ContextId,
    ancestors: Vec<ContextId>,
    up: Option<LinkId>,
    routes: Map<ContextId, LinkId>,
    behind: Table<LinkId, Behind>,
    pairs: Table<(ContextId, ContextId), ()>,
    /// Contexts that were reached from here and are not any more, and why.
    pub lost: Lost,
}

impl Routes {
    /// The router of the context `id`, whose `ancestors` are listed nearest first and reached over `up`.
    pub fn new(id: ContextId, ancestors: Vec<ContextId>, up: Option<LinkId>) -> Routes {
        let (routes, behind) = (Map::default(), Table::default());
        Routes { id, ancestors, up, routes, behind, pairs: Table::default(), lost: Lost::default() }
    }

    /// This node.
    pub fn id(&self) -> ContextId {
        self.id
    }

    /// This node's ancestors, nearest first.
    pub fn ancestors(&self) -> &[ContextId] {
        &self.ancestors
    }

    /// The link to the parent.
    pub fn up(&self) -> Option<LinkId> {
        self.up
    }

    /// Sets who this node is: an agent learns it from its parent's first frame.
    pub fn become_context(&mut self, id: ContextId, ancestors: Vec<ContextId>) {
        self.id = id;
        self.ancestors = ancestors;
    }

    /// Makes `id` reachable over `link`, unless it is this node, an ancestor, or already reached another way.
    pub fn add(&mut self, id: ContextId, link: LinkId) -> bool {
        if id == self.id || self.ancestors.contains(&id) {
            return false;
        }
        if let Some(other) = self.routes.get(&id) {
            return *other == link;
        }
        if self.behind.get(&link).is_none() {
            self.behind.insert(link, Behind::default());
        }
        let Some(behind) = self.behind.get_mut(&link) else { return false };
        if behind.contexts.len() - behind.gone >= ROUTES_PER_LINK {
            return false;
        }
        behind.contexts.push(id);
        self.routes.insert(id, link);
        true
    }

    /// Forgets `id`, if it is reached over `link`.
    pub fn remove(&mut self, id: ContextId, link: LinkId) -> bool {
        if self.routes.get(&id) != Some(&link) {
            return false;
        }
        self.routes.remove(&id);
        if let Some(behind) = self.behind.get_mut(&link) {
            behind.gone += 1;
            if behind.gone > behind.contexts.len() / 2 {
                let routes = &self.routes;
                behind.contexts.retain(|id| routes.get(id) == Some(&link));
                behind.gone = 0;
            }
        }
        true
    }

    /// Forgets all that is reached over `link`, and says what that was, in order.
    pub fn remove_link(&mut self, link: LinkId) -> Vec<ContextId> {
        let mut gone = self.behind(link);
        self.behind.remove(&link);
        gone.sort_unstable();
        for id in &gone {
            self.routes.remove(id);
        }
        gone
    }

    /// The contexts that are reached over the link of a child.
    pub fn behind(&self, link: LinkId) -> Vec<ContextId> {
        let contexts = self.behind.get(&link).map_or(&[][..], |behind| &behind.contexts);
        contexts.iter().filter(|id| self.routes.get(id) == Some(&link)).copied().collect()
    }

    /// The link over which `id` is reached, up included.
    pub fn link_to(&self, id: ContextId) -> Option<LinkId> {
        if id == self.id { None } else { self.routes.get(&id).copied().or(self.up) }
    }

    /// The link of the child over which `id` is reached, if it is below.
    pub fn link_down(&self, id: ContextId) -> Option<LinkId> {
        self.routes.get(&id).copied()
    }

    /// The contexts below, with the link of each.
    pub fn below(&self) -> impl Iterator<Item = (ContextId, LinkId)> + '_ {
        self.routes.iter().map(|(id, link)| (*id, *link))
    }

    /// Whether a frame with this header may come over `link`: both who sent it and on whose behalf must be reached
    /// over that link.
    pub fn believes(&self, link: LinkId, header: &Header) -> bool {
        let reached = |id| self.link_to(id) == Some(link) && id != self.id;
        reached(header.src) && (header.auth == header.src || reached(header.auth))
    }

    /// Lets two contexts below talk past this node, or forbids it again.
    pub fn pair(&mut self, one: ContextId, other: ContextId, open: bool) {
        let key = (one.min(other), one.max(other));
        if open {
            self.pairs.insert(key, ());
        } else {
            self.pairs.remove(&key);
        }
    }

    /// Lets a context below talk to all others below, as this node itself may.
    pub fn admit(&mut self, guest: ContextId) {
        self.pair(guest, guest, true);
    }

    /// Whether two contexts may talk past this node: the root has opened a path between them here, or one is a guest.
    pub fn paired(&self, one: ContextId, other: ContextId) -> bool {
        let open = |one, other| self.pairs.get(&(one, other)).is_some();
        open(one.min(other), one.max(other)) || open(one, one) || open(other, other)
    }

    /// A frame goes past this node, from one below to another: when one of them is gone, the other has to know. Paths that
    /// the root has opened are known; those of guests come to be with what goes over them.
    pub fn note(&mut self, from: LinkId, to: LinkId, header: &Header) {
        if Some(from) != self.up && Some(to) != self.up && header.kind != Kind::Dead {
            self.pair(header.src, header.dst, true);
        }
    }

    /// Forgets the pairs of contexts that are `gone` (in order), and says who has lost whom.
    pub fn widow(&mut self, gone: &[ContextId]) -> Vec<(ContextId, ContextId)> {
        let is_gone = |id: &ContextId| gone.binary_search(id).is_ok();
        let over: Vec<_> =
            self.pairs.keys().into_iter().filter(|(one, other)| is_gone(one) || is_gone(other)).collect();
        for pair in &over {
            self.pairs.remove(pair);
        }
        let survivors = over.into_iter().filter(|(one, other)| !(is_gone(one) && is_gone(other)));
        survivors.map(|(one, other)| if is_gone(&one) { (other, one) } else { (one, other) }).collect()
    }

    /// Where a frame with this header goes that came over `from` (or was made here).
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
        // What is said about a context may go where that context's own frames may.
        let party = if header.kind == Kind::Dead { ContextId(header.reply_to.0) } else { header.src };
        if from.is_some() && from != self.up && Some(to) != self.up && !self.paired(party, dst) {
            return Verdict::Return(Reason::Isolated);
        }
        Verdict::Forward(to)
    }

    /// Whether someone acting for `auth` satisfies `policy` here. `neighbour` is the context at the other end of the link
    /// that it came over, if it came over one.
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
    use crate::wire::Kind;

    const UP: LinkId = LinkId(0);
    const A: LinkId = LinkId(1);
    const B: LinkId = LinkId(2);

    fn middle() -> Routes {
        let mut router = Routes::new(ContextId(5), vec![ContextId(2), ContextId::ROOT], Some(UP));
        assert!(router.add(ContextId(10), A) && router.add(ContextId(11), A) && router.add(ContextId(20), B));
        router
    }

    fn to(dst: u32) -> Header {
        Header::new(Kind::Data, ContextId(77), ContextId(dst))
    }

    #[test]
    fn a_frame_goes_to_its_route_or_up_and_never_back() {
        let router = middle();
        assert_eq!(router.route(Some(UP), &to(11)), Verdict::Forward(A));
        assert_eq!(router.route(Some(A), &to(0)), Verdict::Forward(UP));
        assert_eq!(router.route(Some(UP), &to(99)), Verdict::Return(Reason::NoRoute));
        assert_eq!(router.route(Some(A), &to(10)), Verdict::Return(Reason::NoRoute));
        assert_eq!(router.route(Some(A), &to(5)), Verdict::Here);
        assert_eq!(router.route(None, &to(20)), Verdict::Forward(B));
    }

    #[test]
    fn siblings_are_isolated() {
        assert_eq!(middle().route(Some(A), &to(20)), Verdict::Return(Reason::Isolated));
        assert_eq!(middle().route(Some(B), &to(10)), Verdict::Return(Reason::Isolated));
    }

    #[test]
    fn a_link_is_believed_only_for_what_lies_behind_it() {
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
    fn a_route_is_not_taken_over_by_another_link() {
        let mut router = middle();
        assert!(
            !router.add(ContextId(10), B) && !router.add(ContextId(2), B) && !router.add(ContextId(5), B)
        );
        assert!(!router.remove(ContextId(10), B));
        assert_eq!(router.remove_link(A), [ContextId(10), ContextId(11)]);
        assert_eq!(router.route(Some(UP), &to(10)), Verdict::Return(Reason::NoRoute));
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
    fn a_neighbour_is_told_from_others_below_and_above() {
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
    fn an_opened_pair_may_talk_both_ways_and_dead_letters_follow_it() {
        let mut router = middle();
        router.pair(ContextId(20), ContextId(10), true);
        let frame = |src, dst| Header::new(Kind::Data, ContextId(src), ContextId(dst));
        assert_eq!(router.route(Some(A), &frame(10, 20)), Verdict::Forward(B));
        assert_eq!(router.route(Some(B), &frame(20, 10)), Verdict::Forward(A));
        assert_eq!(router.route(Some(A), &frame(11, 20)), Verdict::Return(Reason::Isolated));
        let dead = |about| Header {
            reply_to: crate::id::Handle(about),
            ..Header::new(Kind::Dead, ContextId(11), ContextId(20))
        };
        assert_eq!(router.route(Some(A), &dead(10)), Verdict::Forward(B));
        assert_eq!(router.route(Some(A), &dead(11)), Verdict::Return(Reason::Isolated));
        assert_eq!(router.widow(&[ContextId(10), ContextId(11)]), [(ContextId(20), ContextId(10))]);
        assert_eq!(router.route(Some(B), &frame(20, 10)), Verdict::Return(Reason::Isolated));
    }

    #[test]
    fn what_is_gone_leaves_the_list_of_its_link() {
        let mut router = middle();
        for id in 100..200 {
            assert!(router.add(ContextId(id), A));
        }
        for id in 100..200 {
            assert!(router.remove(ContextId(id), A));
        }
        assert_eq!(router.behind(A), [ContextId(10), ContextId(11)]);
        assert!(router.behind.get(&A).is_some_and(|behind| behind.contexts.len() < 8));
    }
}
