use crate::context::Context;
use crate::runtime::extensions::locked;
use crate::runtime::state::NodeState;
use offshoot_proto::ContextId;
use offshoot_proto::routing::Disclosures;
use offshoot_proto::routing::NameKind;
use offshoot_proto::routing::Origin;
use offshoot_proto::routing::Policy;
use std::sync::Arc;
use std::sync::Mutex;

/// The contexts that a process has disclosed to others, as part of its node.
#[derive(Clone, Default)]
pub(crate) struct DisclosureLog(Arc<Mutex<Disclosures>>);

impl DisclosureLog {
    /// Returns the log of the process of `cx`. Must not be called with the node locked.
    pub(crate) fn of(cx: &Context) -> Self {
        Self::clone(&cx.state::<Self>())
    }

    fn with<T>(&self, work: impl FnOnce(&mut Disclosures) -> T) -> T {
        work(&mut locked(&self.0))
    }

    /// Records that this process discloses the context `of` to `who`, by the name that it has for
    /// it. Ancestors may name every context and are not recorded.
    pub(crate) fn tell(&self, core: &NodeState, who: ContextId, of: ContextId, name: Option<&str>) {
        let routes = &core.node.router;
        if !routes.permits(Policy::Ancestors, who, None) {
            self.with(|told| {
                told.add(who, of, routes);
                if let Some(name) = name.filter(|_| told.knows(who, of)) {
                    told.names.entry(of).or_insert_with(|| name.into());
                }
            });
        }
    }

    /// Returns the name by which a context was disclosed.
    pub(crate) fn name(&self, of: ContextId) -> Option<Arc<str>> {
        self.with(|told| told.names.get(&of).cloned())
    }

    /// Withdraws a disclosure.
    pub(crate) fn forget(&self, who: ContextId, of: ContextId) {
        self.with(|told| told.pairs.remove(&(who, of)));
    }

    /// Returns true if a message from `origin` may name `id`.
    pub(crate) fn may_name(
        &self,
        core: &NodeState,
        origin: Origin,
        named: NameKind,
        id: ContextId,
    ) -> bool {
        self.with(|told| told.permits(&core.node.router, origin, named, id))
    }
}
