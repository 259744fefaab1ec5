use crate::context::Context;
use crate::runtime::state::NodeState;
use offshoot_proto::ContextId;
use offshoot_proto::routing::Disclosures;
use offshoot_proto::routing::NameKind;
use offshoot_proto::routing::Origin;
use offshoot_proto::routing::Policy;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

/// What a process has told others of, as part of its node.
#[derive(Clone, Default)]
pub(crate) struct DisclosureLog(Arc<Mutex<Disclosures>>);

impl DisclosureLog {
    /// That of the process of `cx`. Not to be asked for with the node locked.
    pub fn of(cx: &Context) -> DisclosureLog {
        DisclosureLog::clone(&cx.state::<DisclosureLog>())
    }

    fn with<T>(&self, work: impl FnOnce(&mut Disclosures) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// This process tells a context of another, by the name that it has for that. Those whom it obeys need not be told.
    pub fn tell(&self, core: &NodeState, who: ContextId, of: ContextId, name: Option<&str>) {
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

    /// What a context was called when somebody was told of it.
    pub fn name(&self, of: ContextId) -> Option<Arc<str>> {
        self.with(|told| told.names.get(&of).cloned())
    }

    /// It may not be named any more.
    pub fn forget(&self, who: ContextId, of: ContextId) {
        self.with(|told| told.pairs.remove(&(who, of)));
    }

    /// Whether a message from `origin` may name `id`.
    pub fn may_name(&self, core: &NodeState, origin: Origin, named: NameKind, id: ContextId) -> bool {
        self.with(|told| told.permits(&core.node.router, origin, named, id))
    }
}
