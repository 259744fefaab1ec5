//! A process in the tree, as a program holds it: something to call, and to start further contexts
//! from.
pub(crate) mod disclosures;
pub(crate) mod disconnect;
pub(crate) mod reused;
pub(crate) mod state;
pub(crate) mod transfer;

use crate::runtime::handle::NodeHandle;
use crate::runtime::scope::CallState;
use crate::runtime::scope::NEVER;
use crate::runtime::scope::Scope;
use crate::runtime::slot::ReplySlot;
use crate::runtime::state::Endpoint;
use crate::runtime::state::NodeState;
use offshoot_codec::Message;
use offshoot_proto::ContextId;
use offshoot_proto::Error;
use offshoot_proto::FlowKey;
use offshoot_proto::Handle;
use offshoot_proto::Result;
use offshoot_proto::node::Opening;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// A process in the tree. Cheap to clone; holds nothing open over there.
#[derive(Clone)]
pub struct Context {
    place: Arc<Identity>,
    /// What it is used for. Every outstanding reply has a context: it is two words.
    scope: Option<Arc<Scope>>,
}

/// Which process it is.
struct Identity {
    shared: Arc<NodeHandle>,
    id: ContextId,
    name: Arc<str>,
    /// Where this process has started it.
    parent: Option<ContextId>,
}

impl PartialEq for Context {
    fn eq(&self, other: &Self) -> bool {
        self.id() == other.id() && Arc::ptr_eq(self.node(), other.node())
    }
}

impl Eq for Context {}

impl fmt::Display for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Context({} {})", self.id(), self.name())
    }
}

impl Context {
    pub(crate) fn new(shared: &Arc<NodeHandle>, id: ContextId, name: Arc<str>) -> Self {
        let place = Identity {
            shared: Arc::clone(shared),
            id,
            name,
            parent: None,
        };
        Self {
            place: Arc::new(place),
            scope: None,
        }
    }

    /// The same context, for what is done within a scope.
    pub(crate) fn in_scope(mut self, scope: &Arc<Scope>) -> Self {
        self.scope = Some(Arc::clone(scope));
        self
    }

    /// The context `id` of the same tree, for what is done in the same scope as here.
    pub(crate) fn rebound(&self, id: ContextId, name: &str) -> Self {
        let name = if id == self.id() {
            Arc::clone(&self.place.name)
        } else {
            name.into()
        };
        self.of_tree(id, name, None)
    }

    fn of_tree(&self, id: ContextId, name: Arc<str>, parent: Option<ContextId>) -> Self {
        let place = Identity {
            shared: Arc::clone(self.node()),
            id,
            name,
            parent,
        };
        Self {
            place: Arc::new(place),
            scope: self.scope.clone(),
        }
    }

    /// The same context, for what belongs to no call.
    pub(crate) fn unscoped(self) -> Self {
        Self {
            scope: None,
            ..self
        }
    }

    pub(crate) fn scope(&self) -> Option<&Arc<Scope>> {
        self.scope.as_ref()
    }

    pub(crate) fn node(&self) -> &Arc<NodeHandle> {
        &self.place.shared
    }

    /// A question to the context, asked on behalf of whatever this is used for.
    pub(crate) fn ask(
        &self,
        dst: ContextId,
        service: Handle,
        request: impl Into<Message>,
        opening: Opening,
        also: impl FnOnce(&mut NodeState, FlowKey),
    ) -> Result<(FlowKey, Arc<ReplySlot>)> {
        self.node().request_in(
            self.scope.as_ref(),
            dst,
            service,
            request.into(),
            opening,
            also,
        )
    }

    /// Its number in the tree.
    #[must_use]
    pub fn id(&self) -> ContextId {
        self.place.id
    }

    /// The context that it is a child of, where this process has started it.
    pub(crate) fn parent(&self) -> Option<ContextId> {
        self.place.parent
    }

    /// Its name: the hops that lead to it, for instance `ssh.web1.sudo.root`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.place.name
    }

    /// Another context of the tree, by its number. What it does for this one is decided over there:
    /// it obeys its ancestors, and answers others where a function is for anyone and the root has
    /// opened a path.
    #[must_use]
    pub fn by_id(&self, id: ContextId) -> Self {
        let name = self.node().lock().name_of(id);
        self.rebound(id, &name)
    }

    /// The context of this process, whichever this one is.
    pub(crate) fn own(&self) -> Self {
        let id = self.node().lock().node.id();
        self.by_id(id)
    }

    /// How many milliseconds are left in a scope; none where they are not counted.
    pub(crate) fn left_ms(&self, scope: &Scope) -> Option<u32> {
        let (due, _) = scope.deadline();
        (due != NEVER).then(|| {
            due.saturating_sub(self.node().now())
                .try_into()
                .unwrap_or(u32::MAX)
        })
    }

    /// The same context, for calls that must have their answers within `time` from now. What is
    /// left of it travels with each call, and from there with those that its function makes through
    /// its own context; when it is over, the call fails with [`Error::TimedOut`] and is given up,
    /// at every hop.
    ///
    /// The time on the way there is not counted over there: a clock is never compared with another
    /// host's.
    #[must_use]
    pub fn within(&self, time: Duration) -> Self {
        let ms = u64::try_from(time.as_millis()).unwrap_or(NEVER);
        let due = self.node().now().saturating_add(ms);
        let scope = Scope::new(self.scope.clone(), due, ms);
        self.clone().in_scope(&Arc::new(scope))
    }

    /// The same context, for calls whose answers have at most so many bytes; a longer one is an
    /// error that says so ([`Reason::TooLarge`](offshoot_proto::Reason::TooLarge)). Otherwise an
    /// answer may have 128 MiB, and take eight times that and 16 MiB more once it is read: where it
    /// comes from one that you do not trust, say what you expect.
    ///
    /// It holds here and for no call that a function makes over there.
    #[must_use]
    pub fn within_bytes(&self, most: usize) -> Self {
        let scope = Scope::of_bytes(self.scope.clone(), most);
        self.clone().in_scope(&Arc::new(scope))
    }

    /// In a function: whether its call still matters. To be asked now and then by a function that
    /// takes long.
    ///
    /// # Errors
    /// [`Error::Cancelled`] when the caller has given it up, [`Error::TimedOut`] when its time is
    /// over, [`Error::ShutDown`] when the context ends: what the function has to clean up it has
    /// 400 ms for, then the process ends.
    pub fn check(&self) -> Result<()> {
        let Some(scope) = &self.scope else {
            return Ok(());
        };
        if let Some(refusal) = scope.refusal(self.name()) {
            return Err(refusal);
        }
        match scope.deadline() {
            (due, _) if due <= self.node().now() => {
                Err(scope.error(self.name(), CallState::TimedOut))
            }
            _ => Ok(()),
        }
    }

    /// In a function: does nothing for so long, but no longer than its call matters. To be used in
    /// the place of [`std::thread::sleep`], which goes on when nobody wants the call any more, or
    /// its context ends.
    ///
    /// ```no_run
    /// # use offshoot_agent as offshoot;
    /// # use offshoot::{Context, remote};
    /// use std::time::Duration;
    ///
    /// #[remote(crate = offshoot)]
    /// fn wait_for(cx: &Context, path: String) -> offshoot::Result<()> {
    ///     while !std::path::Path::new(&path).exists() {
    ///         cx.sleep(Duration::from_millis(100))?;
    ///     }
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    /// As [`Context::check`], as soon as it is so. On a context that is of no call,
    /// [`Error::ShutDown`] when the router has ended.
    pub fn sleep(&self, duration: Duration) -> Result<()> {
        let shared = self.node();
        let slot = ReplySlot::new(self.scope());
        let flow = {
            let mut core = shared.lock();
            if core.stopped && self.scope.is_none() {
                return Err(Error::ShutDown);
            }
            // Whoever ends the call does so with this locked.
            self.check()?;
            let here = core.node.id();
            let flow = core.node.watch(here);
            core.endpoints
                .insert(flow, Endpoint::Reply(Arc::clone(&slot)));
            flow
        };
        let ended = slot.wait(Some(
            self.time_left().map_or(duration, |left| left.min(duration)),
        ));
        let mut core = shared.lock();
        core.node.unwatch(flow);
        core.forget(flow);
        drop(core);
        match ended {
            Some(Err(error)) => Err(error),
            _ => self.check(),
        }
    }

    /// In a function: how much time its call has left, where that is counted. On a context made by
    /// [`within`](Context::within), how much is left of that.
    #[must_use]
    pub fn time_left(&self) -> Option<Duration> {
        let left = self.scope.as_ref().and_then(|scope| self.left_ms(scope))?;
        Some(Duration::from_millis(left.into()))
    }

    /// The name of a child of this one.
    pub(crate) fn name_below(&self, name: &str) -> String {
        if self.id() == ContextId::ROOT {
            name.into()
        } else {
            format!("{}.{name}", self.name())
        }
    }

    /// A child of this one, as this process knows it.
    pub(crate) fn child(&self, id: ContextId, name: Arc<str>) -> Self {
        self.of_tree(id, name, Some(self.id()))
    }
}
