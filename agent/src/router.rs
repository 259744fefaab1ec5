//! Where a frame goes, and whether it may come from where it came: the rules of the tree, pure.
//!
//! Exact match, else up; never back over the link it came from; never from one child's link to another's. A link is
//! believed only for contexts that are reached over it.

use crate::error::Reason;
use crate::id::{ContextId, LinkId};
use crate::wire::Header;
use std::collections::HashMap;

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

/// What may open a flow to a service.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Policy {
    /// Only those this node obeys: its ancestors, and itself.
    Ancestors,
    /// Any context below, and itself.
    Descendants,
}

/// The routes of one node.
pub struct Router {
    id: ContextId,
    ancestors: Vec<ContextId>,
    up: Option<LinkId>,
    routes: HashMap<ContextId, LinkId>,
}

impl Router {
    /// The router of the context `id`, whose `ancestors` are listed nearest first and reached over `up`.
    pub fn new(id: ContextId, ancestors: Vec<ContextId>, up: Option<LinkId>) -> Router {
        Router { id, ancestors, up, routes: HashMap::new() }
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
        *self.routes.entry(id).or_insert(link) == link
    }

    /// Forgets `id`, if it is reached over `link`.
    pub fn remove(&mut self, id: ContextId, link: LinkId) -> bool {
        if self.routes.get(&id) == Some(&link) {
            self.routes.remove(&id);
            return true;
        }
        false
    }

    /// Forgets all that is reached over `link`, and says what that was.
    pub fn remove_link(&mut self, link: LinkId) -> Vec<ContextId> {
        let mut gone: Vec<_> =
            self.routes.iter().filter(|(_, via)| **via == link).map(|(id, _)| *id).collect();
        gone.sort_unstable();
        for id in &gone {
            self.routes.remove(id);
        }
        gone
    }

    /// The link over which `id` is reached, up included.
    pub fn link_to(&self, id: ContextId) -> Option<LinkId> {
        if id == self.id { None } else { self.routes.get(&id).copied().or(self.up) }
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

    /// Where a frame to `dst` goes that came over `from` (or was made here).
    pub fn route(&self, from: Option<LinkId>, dst: ContextId) -> Verdict {
        if dst == self.id {
            return Verdict::Here;
        }
        let Some(to) = self.link_to(dst) else {
            return Verdict::Return(Reason::NoRoute);
        };
        if from == Some(to) {
            return Verdict::Return(Reason::NoRoute);
        }
        if from.is_some() && from != self.up && Some(to) != self.up {
            return Verdict::Return(Reason::Isolated);
        }
        Verdict::Forward(to)
    }

    /// Whether someone acting for `auth` satisfies `policy` here.
    pub fn permits(&self, policy: Policy, auth: ContextId) -> bool {
        auth == self.id
            || match policy {
                Policy::Ancestors => self.ancestors.contains(&auth),
                Policy::Descendants => self.routes.contains_key(&auth),
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

    fn middle() -> Router {
        let mut router = Router::new(ContextId(5), vec![ContextId(2), ContextId::ROOT], Some(UP));
        assert!(router.add(ContextId(10), A) && router.add(ContextId(11), A) && router.add(ContextId(20), B));
        router
    }

    #[test]
    fn a_frame_goes_to_its_route_or_up_and_never_back() {
        let router = middle();
        assert_eq!(router.route(Some(UP), ContextId(11)), Verdict::Forward(A));
        assert_eq!(router.route(Some(A), ContextId::ROOT), Verdict::Forward(UP));
        assert_eq!(router.route(Some(UP), ContextId(99)), Verdict::Return(Reason::NoRoute));
        assert_eq!(router.route(Some(A), ContextId(10)), Verdict::Return(Reason::NoRoute));
        assert_eq!(router.route(Some(A), ContextId(5)), Verdict::Here);
        assert_eq!(router.route(None, ContextId(20)), Verdict::Forward(B));
    }

    #[test]
    fn siblings_are_isolated() {
        assert_eq!(middle().route(Some(A), ContextId(20)), Verdict::Return(Reason::Isolated));
        assert_eq!(middle().route(Some(B), ContextId(10)), Verdict::Return(Reason::Isolated));
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
        assert_eq!(router.route(Some(UP), ContextId(10)), Verdict::Return(Reason::NoRoute));
    }

    #[test]
    fn only_ancestors_are_obeyed() {
        let router = middle();
        assert!(
            router.permits(Policy::Ancestors, ContextId::ROOT)
                && router.permits(Policy::Ancestors, ContextId(5))
        );
        assert!(
            !router.permits(Policy::Ancestors, ContextId(10))
                && !router.permits(Policy::Ancestors, ContextId(77))
        );
        assert!(router.permits(Policy::Descendants, ContextId(20)));
        assert!(
            !router.permits(Policy::Descendants, ContextId(77))
                && !router.permits(Policy::Descendants, ContextId(2))
        );
    }
}
