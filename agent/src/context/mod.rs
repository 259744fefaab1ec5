//! A context: a process in the tree, with the methods to call it and to start further contexts from
//! it.
pub(crate) mod disclosures;
pub(crate) mod disconnect;
pub(crate) mod reused;
pub(crate) mod state;
pub(crate) mod timer;
pub(crate) mod transfer;

use crate::runtime::handle::NodeHandle;
use crate::runtime::scope::CallState;
use crate::runtime::scope::NEVER;
use crate::runtime::scope::Scope;
use crate::runtime::slot::ReplySlot;
use crate::runtime::state::NodeState;
use offshoot_codec::Message;
use offshoot_proto::ContextId;
use offshoot_proto::FlowKey;
use offshoot_proto::Handle;
use offshoot_proto::Result;
use offshoot_proto::node::Opening;
use std::cmp::Ordering;
use std::fmt;
use std::hash::Hash;
use std::hash::Hasher;
use std::sync::Arc;
use std::time::Duration;

/// A process in the tree. It is cheap to clone, and holds nothing open in that process.
#[derive(Clone)]
pub struct Context {
    place: Arc<Identity>,
    /// The scope of its calls. Kept small, because every pending reply has a context.
    scope: Option<Arc<Scope>>,
}

/// The identity of the process.
struct Identity {
    shared: Arc<NodeHandle>,
    id: ContextId,
    name: Arc<str>,
    /// Its parent, if this process has started it.
    parent: Option<ContextId>,
}

impl PartialEq for Context {
    fn eq(&self, other: &Self) -> bool {
        self.id() == other.id() && Arc::ptr_eq(self.node(), other.node())
    }
}

impl Eq for Context {}

/// Contexts are ordered by their numbers, in the order in which they were started; those of another
/// tree come before or after.
impl Ord for Context {
    fn cmp(&self, other: &Self) -> Ordering {
        let tree = |context: &Self| Arc::as_ptr(context.node()).addr();
        (tree(self), self.id()).cmp(&(tree(other), other.id()))
    }
}

impl PartialOrd for Context {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The number and the tree of a context never change, so that it can be a key. The lint
/// `clippy::mutable_key_type` cannot know this: allow it there, or take [`Context::id`] as the key.
impl Hash for Context {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.id().hash(state);
    }
}

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

    /// Returns the same context with another scope for its calls.
    pub(crate) fn in_scope(mut self, scope: &Arc<Scope>) -> Self {
        self.scope = Some(Arc::clone(scope));
        self
    }

    /// Returns the context `id` of the same tree, with the same scope.
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

    /// Returns the same context without a scope.
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

    /// Sends a request to the context, in its scope.
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

    /// Returns its id in the tree.
    #[must_use]
    pub fn id(&self) -> ContextId {
        self.place.id
    }

    /// Returns its parent, if this process has started it.
    pub(crate) fn parent(&self) -> Option<ContextId> {
        self.place.parent
    }

    /// Returns its name: the hops that lead to it, for instance `ssh.web1.sudo.root`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.place.name
    }

    /// Returns another context of the tree, by its id. That context obeys its ancestors; others may
    /// call only functions that are for anyone, and only if the root has opened a path.
    #[must_use]
    pub fn by_id(&self, id: ContextId) -> Self {
        let name = self.node().lock().name_of(id);
        self.rebound(id, &name)
    }

    /// Returns the context of this process.
    pub(crate) fn own(&self) -> Self {
        let id = self.node().lock().node.id();
        self.by_id(id)
    }

    /// Returns the milliseconds left in a scope; none without a deadline.
    pub(crate) fn left_ms(&self, scope: &Scope) -> Option<u32> {
        let (due, _) = scope.deadline();
        (due != NEVER).then(|| {
            due.saturating_sub(self.node().now())
                .try_into()
                .unwrap_or(u32::MAX)
        })
    }

    /// Returns the same context with a time limit for calls: they must be answered within `time`
    /// from now. The time left is sent with each call, and applies to the calls that the called
    /// function makes through its own context. After that the call fails with
    /// [`Error::TimedOut`](offshoot_proto::Error::TimedOut) and is cancelled, at every hop.
    ///
    /// The remote host does not count the time in transit, because clocks of two hosts are never
    /// compared.
    #[must_use]
    pub fn within(&self, time: Duration) -> Self {
        let ms = u64::try_from(time.as_millis()).unwrap_or(NEVER);
        let due = self.node().now().saturating_add(ms);
        let scope = Scope::new(self.scope.clone(), due, ms);
        self.clone().in_scope(&Arc::new(scope))
    }

    /// Returns the same context with a limit for replies: a longer reply fails with
    /// [`Reason::TooLarge`](offshoot_proto::Reason::TooLarge). The default limit is 128 MiB;
    /// decoding a reply may take eight times its size and 16 MiB more. Set a limit for contexts
    /// that you do not trust.
    ///
    /// The limit applies to calls from here, not to those that the called function makes.
    #[must_use]
    pub fn within_bytes(&self, most: usize) -> Self {
        let scope = Scope::of_bytes(self.scope.clone(), most);
        self.clone().in_scope(&Arc::new(scope))
    }

    /// Checks, inside a function, that its call was not cancelled. A function that takes long
    /// should call this now and then.
    ///
    /// # Errors Returns [`Error::Cancelled`](offshoot_proto::Error::Cancelled) if the caller has
    /// cancelled the call, [`Error::TimedOut`](offshoot_proto::Error::TimedOut) after its deadline,
    /// and [`Error::ShutDown`](offshoot_proto::Error::ShutDown) if the context ends: the function
    /// then has 400 ms to clean up before the process exits.
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

    /// Sleeps, inside a function, for `duration` or until the call is cancelled. Use it instead of
    /// [`std::thread::sleep`], which continues after a cancellation and after the end of the
    /// context.
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
    /// # Errors Returns an error as [`Context::check`] does, as soon as the call is cancelled.
    /// Outside a call, returns [`Error::ShutDown`](offshoot_proto::Error::ShutDown) once the router
    /// has ended.
    pub fn sleep(&self, duration: Duration) -> Result<()> {
        self.timer(duration)?.wait()
    }

    /// Returns the time left for the call, inside a function that has a deadline, or for a context
    /// returned by [`within`](Context::within).
    #[must_use]
    pub fn time_left(&self) -> Option<Duration> {
        let left = self.scope.as_ref().and_then(|scope| self.left_ms(scope))?;
        Some(Duration::from_millis(left.into()))
    }

    /// Returns the name of a child of this context.
    pub(crate) fn name_below(&self, name: &str) -> String {
        if self.id() == ContextId::ROOT {
            name.into()
        } else {
            format!("{}.{name}", self.name())
        }
    }

    /// Returns a child of this context.
    pub(crate) fn child(&self, id: ContextId, name: Arc<str>) -> Self {
        self.of_tree(id, name, Some(self.id()))
    }
}
