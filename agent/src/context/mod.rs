//! A process in the tree, as a program holds it: something to call, and to start further contexts from.
pub(crate) mod disclosures;
pub(crate) mod disconnect;
pub(crate) mod state;
pub(crate) mod transfer;

use crate::call::chain::Chain;
use crate::call::function::Remote;
use crate::call::reply::Reply;
use crate::call::reply::Route;
use crate::hop::Hop;
use crate::hop::connecting::Connecting;
use crate::hop::method::Local;
use crate::hop::method::Ssh;
use crate::hop::method::Sudo;
use crate::hop::method::{DEFAULT_HEARTBEAT, Method};
use crate::program::command::Command;
use crate::router::Router;
use crate::runtime::handle::NodeHandle;
use crate::runtime::scope::CallState;
use crate::runtime::scope::NEVER;
use crate::runtime::scope::Scope;
use crate::runtime::slot::ReplySlot;
use crate::runtime::state::Endpoint;
use crate::runtime::state::NodeState;
use offshoot_bootstrap::Platform;
use offshoot_codec::Message;
use offshoot_proto::CallError;
use offshoot_proto::ContextId;
use offshoot_proto::Error;
use offshoot_proto::FlowKey;
use offshoot_proto::Handle;
use offshoot_proto::Result;
use offshoot_proto::connect::recipe::Recipe;
use offshoot_proto::message::call::CallHeader;
use offshoot_proto::message::connect::ConnectRequest;
use offshoot_proto::message::detach::DetachRequest;
use offshoot_proto::message::outcome::read_value;
use offshoot_proto::node::Opening;
use std::ffi::OsStr;
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
    fn eq(&self, other: &Context) -> bool {
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
    pub(crate) fn new(shared: &Arc<NodeHandle>, id: ContextId, name: Arc<str>) -> Context {
        let place = Identity { shared: Arc::clone(shared), id, name, parent: None };
        Context { place: Arc::new(place), scope: None }
    }

    /// The same context, for what is done within a scope.
    pub(crate) fn in_scope(mut self, scope: &Arc<Scope>) -> Context {
        self.scope = Some(Arc::clone(scope));
        self
    }

    /// The context `id` of the same tree, for what is done in the same scope as here.
    pub(crate) fn rebound(&self, id: ContextId, name: &str) -> Context {
        let name = if id == self.id() { Arc::clone(&self.place.name) } else { name.into() };
        self.of_tree(id, name, None)
    }

    fn of_tree(&self, id: ContextId, name: Arc<str>, parent: Option<ContextId>) -> Context {
        let place = Identity { shared: Arc::clone(self.node()), id, name, parent };
        Context { place: Arc::new(place), scope: self.scope.clone() }
    }

    /// The same context, for what belongs to no call.
    pub(crate) fn unscoped(self) -> Context {
        Context { scope: None, ..self }
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
        self.node().request_in(self.scope.as_ref(), dst, service, request.into(), opening, also)
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

    /// Another context of the tree, by its number. What it does for this one is decided over there: it obeys its
    /// ancestors, and answers others where a function is for anyone and the root has opened a path.
    #[must_use]
    pub fn by_id(&self, id: ContextId) -> Context {
        let name = self.node().lock().name_of(id);
        self.rebound(id, &name)
    }

    /// This process's part in the tree: inside a function, that of the context where it runs. It does not own the tree, so
    /// dropping it ends nothing.
    pub fn router(&self) -> Router {
        Router::of(self)
    }

    /// The context of this process, whichever this one is.
    pub(crate) fn own(&self) -> Context {
        let id = self.node().lock().node.id();
        self.by_id(id)
    }

    /// Runs a function there and waits for what it returns.
    ///
    /// # Errors
    /// The function's own error, or why it did not run or its value did not arrive.
    pub fn call<F: Remote>(&self, function: F) -> Result<F::Value, CallError<F::Error>> {
        self.start(function).wait()
    }

    /// Starts a function there. The reply can be waited for, with a timeout or without, or awaited. Dropping it gives the
    /// call up: a function that has not begun does not, one that runs sees it ([`Context::check`]), and what it has
    /// started through its own context ends.
    pub fn start<F: Remote>(&self, function: F) -> Reply<F> {
        match self.send(&function, false) {
            Ok((flow, slot)) => Reply::new(self.clone(), Route::Flow(flow), slot),
            Err(error) => Reply::new(self.clone(), Route::None, ReplySlot::filled(Err(error))),
        }
    }

    /// Starts a function there and does not wait for it, nor for what it gives: a failure is logged where it runs. It is not
    /// given up with anything that is done here.
    ///
    /// # Errors
    /// When the arguments cannot be sent.
    pub fn cast<F: Remote>(&self, function: F) -> Result<()> {
        self.clone().unscoped().send(&function, true).map(|_| ())
    }

    fn send<F: Remote>(&self, function: &F, cast: bool) -> Result<(FlowKey, Arc<ReplySlot>)> {
        let left_ms = self.scope.as_ref().and_then(|scope| self.left_ms(scope));
        let head = CallHeader { name: F::NAME, cast, left_ms };
        let leaving =
            crate::context::transfer::leave(head.encode(), function, (self.id(), !cast && !F::NO_REPLY))
                .map_err(|error| offshoot_proto::error::unsent(self.name(), error))?;
        let opening = Opening { secret: leaving.secret, ..Opening::default() };
        let sent = self.ask(self.id(), Handle::CALL, leaving.message, opening, |_, _| {});
        match &sent {
            // Where the answer comes before the function runs it says nothing about what went along.
            Ok(_) if cast || F::NO_REPLY => {}
            Ok((_, slot)) => slot.carry(leaving.fares),
            Err(_) => crate::context::transfer::stay(leaving.fares),
        }
        sent
    }

    /// How many milliseconds are left in a scope; none where they are not counted.
    pub(crate) fn left_ms(&self, scope: &Scope) -> Option<u32> {
        let (due, _) = scope.deadline();
        (due != NEVER).then(|| due.saturating_sub(self.node().now()).try_into().unwrap_or(u32::MAX))
    }

    /// Calls that run one after the other over there, sent without waiting for those before.
    ///
    /// # Errors
    /// When the tree is shut down.
    pub fn chain(&self) -> Result<Chain> {
        Chain::open(self)
    }

    /// The same context, for calls that must have their answers within `time` from now. What is left of it travels with each
    /// call, and from there with those that its function makes through its own context; when it is over, the call fails
    /// with [`Error::TimedOut`] and is given up, at every hop.
    ///
    /// The time on the way there is not counted over there: a clock is never compared with another host's.
    #[must_use]
    pub fn within(&self, time: Duration) -> Context {
        let ms = u64::try_from(time.as_millis()).unwrap_or(NEVER);
        let due = self.node().now().saturating_add(ms);
        let scope = Scope::new(self.scope.clone(), due, ms);
        self.clone().in_scope(&Arc::new(scope))
    }

    /// The same context, for calls whose answers have at most so many bytes; a longer one is an error that says so
    /// ([`Reason::TooLarge`](offshoot_proto::Reason::TooLarge)). Otherwise an answer may have 128 MiB, and take eight times that and 16 MiB
    /// more once it is read: where it comes from one that you do not trust, say what you expect.
    ///
    /// It holds here and for no call that a function makes over there.
    #[must_use]
    pub fn within_bytes(&self, most: usize) -> Context {
        let scope = Scope::of_bytes(self.scope.clone(), most);
        self.clone().in_scope(&Arc::new(scope))
    }

    /// In a function: whether its call still matters. To be asked now and then by a function that takes long.
    ///
    /// # Errors
    /// [`Error::Cancelled`] when the caller has given it up, [`Error::TimedOut`] when its time is over, [`Error::ShutDown`] when the
    /// context ends: what the function has to clean up it has 400 ms for, then the process ends.
    pub fn check(&self) -> Result<()> {
        let Some(scope) = &self.scope else { return Ok(()) };
        if let Some(refusal) = scope.refusal(self.name()) {
            return Err(refusal);
        }
        match scope.deadline() {
            (due, _) if due <= self.node().now() => Err(scope.error(self.name(), CallState::Late)),
            _ => Ok(()),
        }
    }

    /// In a function: does nothing for so long, but no longer than its call matters. To be used in the place of
    /// [`std::thread::sleep`], which goes on when nobody wants the call any more, or its context ends.
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
    /// As [`Context::check`], as soon as it is so. On a context that is of no call, [`Error::ShutDown`] when the router has ended.
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
            core.endpoints.insert(flow, Endpoint::Reply(Arc::clone(&slot)));
            flow
        };
        let ended = slot.wait(Some(self.time_left().map_or(duration, |left| left.min(duration))));
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

    /// A program to be run there.
    #[must_use]
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        Command::new(self, program.as_ref())
    }

    /// A child of that context on the same machine as the same user. It has the environment of its parent, whole: for one without that,
    /// `shell_words(["env", "-i", "/bin/sh"].map(str::to_owned).into())`.
    #[must_use]
    pub fn local(&self) -> Hop<Local> {
        self.hop(Local::default())
    }

    /// A host by ssh, from there.
    #[must_use]
    pub fn ssh(&self, host: impl Into<String>) -> Hop<Ssh> {
        self.hop(Ssh::new(host))
    }

    /// Another user by sudo, there; root unless said otherwise.
    #[must_use]
    pub fn sudo(&self) -> Hop<Sudo> {
        self.hop(Sudo::default())
    }

    /// A hop by any method, from there.
    #[must_use]
    pub fn hop<M: Method>(&self, method: M) -> Hop<M> {
        Hop::new(self.clone(), method)
    }

    /// Lets the context go, with everything below it: it outlives the tree, whoever is killed. Its functions go on and so do
    /// its programs, whose stdin ends and whose output is lost; it ends by itself when the last function, program and child
    /// is done. A log record of level info says under the context's name that `name` was let go. Gives its process
    /// number; a signal to that one ends it.
    ///
    /// The ssh that it was reached by ends. A sudo would take what it runs along, so that a context directly behind one cannot
    /// be let go, but a [local](Context::local) child of that can.
    ///
    /// # Errors
    /// When the context is the place where this program runs, is directly behind sudo, has no guard, or was lost.
    pub fn detach(&self, name: impl Into<String>) -> Result<u32> {
        let order = DetachRequest::new(self.name(), Handle::NONE, name.into())?;
        let request = offshoot_codec::to_bytes(&order)
            .map_err(|error| offshoot_proto::error::unsent(self.name(), error))?;
        let (_, slot) =
            self.node().request(self.id(), Handle::DETACH, request, Opening::default(), |_, _| {})?;
        let reply = slot.wait(None).unwrap_or(Err(Error::ShutDown));
        let process = read_value(self.name(), &reply.map_err(|error| error.naming(self.name()))?)?;
        self.shutdown().map(|()| process)
    }

    /// The context that programs of this one run in: for a program, which is no agent, it is a child, connected when first
    /// needed and when the user of this process has changed; for any other, and one without an agent for this machine, it is itself.
    pub(crate) fn place_of_programs(&self) -> Result<ContextId> {
        let user = (offshoot_sys::user::effective(), offshoot_sys::user::effective_group());
        let mut place = self.node().programs.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        {
            let mut core = self.node().lock();
            let elsewhere = core.images.are_found() && core.node.id() == self.id() && !core.stopped;
            let image = Platform::host().filter(|_| elsewhere).map(|host| core.images.get(host));
            if !matches!(image, Some(Ok(Some(_)))) {
                return Ok(self.id());
            }
            if let Some((id, of)) = *place
                && of == user
                && core.node.router.link_to(id).is_some()
            {
                return Ok(id);
            }
        }
        let recipe = Local::default().recipe("");
        // It is for all that will run, and not for the call in which it is needed first.
        let child =
            self.clone().unscoped().open_recipe(recipe, self.name(), None, DEFAULT_HEARTBEAT)?.context();
        *place = Some((child.id(), user));
        Ok(child.id())
    }

    /// A number for a new context: the root's own, or one of a block that it has granted here.
    pub(crate) fn allocate(&self) -> Result<ContextId> {
        let used =
            || Error::System { action: "numbering a context".into(), detail: "all numbers are used".into() };
        let mut core = self.node().lock();
        if core.node.id() == ContextId::ROOT {
            return core.node.new_context().ok_or_else(used);
        }
        if core.granted.0 == core.granted.1 {
            drop(core);
            // One asks for all: numbers that are granted twice at a time would be lost.
            let _asking = self.node().asking.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            core = self.node().lock();
            if core.granted.0 == core.granted.1 {
                drop(core);
                let opening = Opening::default();
                let (_, slot) =
                    self.node().request(ContextId::ROOT, Handle::ALLOCATE, Vec::new(), opening, |_, _| {})?;
                let (first, count): (u32, u32) =
                    read_value("controller", &slot.wait(None).unwrap_or(Err(Error::ShutDown))?)?;
                core = self.node().lock();
                core.granted = (first, first.saturating_add(count));
            }
        }
        if core.granted.0 == core.granted.1 {
            return Err(used());
        }
        core.granted.0 += 1;
        Ok(ContextId(core.granted.0 - 1))
    }

    /// The name of a child of this one.
    pub(crate) fn name_below(&self, name: &str) -> String {
        if self.id() == ContextId::ROOT { name.into() } else { format!("{}.{name}", self.name()) }
    }

    /// A child of this one, as this process knows it.
    pub(crate) fn child(&self, id: ContextId, name: Arc<str>) -> Context {
        self.of_tree(id, name, Some(self.id()))
    }

    pub(crate) fn open_recipe(
        &self,
        recipe: Recipe,
        name: &str,
        title: Option<String>,
        heartbeat: u32,
    ) -> Result<Connecting> {
        let name: Arc<str> = self.name_below(name).into();
        recipe.check(&name, title.as_deref())?;
        let id = self.allocate()?;
        let announce = self.node().lock().node.id() != ContextId::ROOT;
        let order = ConnectRequest { name: name.to_string(), title, recipe, announce, heartbeat };
        let request =
            offshoot_codec::to_bytes(&order).map_err(|error| offshoot_proto::error::unsent(&name, error))?;
        let opening = Opening { new_context: Some(id), secret: true, ..Opening::default() };
        let (_, slot) = self.ask(self.id(), Handle::CONNECT, request, opening, |core, _| {
            core.names.insert(id, Arc::clone(&name));
        })?;
        Ok(Connecting::new(self.child(id, name), slot))
    }
}
