//! A process in the tree, as a program holds it: something to call, and to start further contexts from.

use crate::connect::methods::{Local, Method, Ssh, Sudo};
use crate::connect::{ConnectRequest, Recipe};
use crate::connecting::Connecting;
use crate::error::{CallError, Error, Reason, Result};
use crate::hop::Hop;
use crate::id::{ContextId, FlowKey, Handle};
use crate::node::Opening;
use crate::program::{Command, DetachOrder};
use crate::remote::{Remote, read_reply, read_value};
use crate::reply::Slot;
use crate::shared::Shared;
use crate::tree::Router;
use offshoot_bootstrap::Platform;
use std::ffi::OsStr;
use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Poll, Waker};
use std::time::Duration;

/// Seconds between heartbeats on a link, unless a hop says otherwise.
pub const DEFAULT_HEARTBEAT: u32 = 15;

/// A process in the tree. Cheap to clone; holds nothing open over there.
#[derive(Clone)]
pub struct Context {
    pub(crate) shared: Arc<Shared>,
    id: ContextId,
    name: Arc<str>,
    parent: Option<ContextId>,
}

impl PartialEq for Context {
    fn eq(&self, other: &Context) -> bool {
        self.id == other.id && Arc::ptr_eq(&self.shared, &other.shared)
    }
}

impl Eq for Context {}

impl fmt::Display for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Context({} {})", self.id, self.name)
    }
}

impl Context {
    pub(crate) fn new(shared: &Arc<Shared>, id: ContextId, name: Arc<str>) -> Context {
        Context { shared: Arc::clone(shared), id, name, parent: None }
    }

    /// Its number in the tree.
    #[must_use]
    pub fn id(&self) -> ContextId {
        self.id
    }

    /// The context that it is a child of, where this process has started it.
    pub(crate) fn parent(&self) -> Option<ContextId> {
        self.parent
    }

    /// Its name: the hops that lead to it, for instance `ssh.web1.sudo.root`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Another context of the tree, by its number. What it does for this one is decided over there: it obeys its
    /// ancestors, and answers others where a function is for anyone and the root has opened a path.
    #[must_use]
    pub fn by_id(&self, id: ContextId) -> Context {
        let name = self.shared.lock().name_of(id);
        Context::new(&self.shared, id, name)
    }

    /// This process's part in the tree: inside a function, that of the context where it runs. It does not own the tree, so
    /// dropping it ends nothing.
    pub fn router(&self) -> Router {
        Router::of(self)
    }

    /// The context of this process, whichever this one is.
    pub(crate) fn own(&self) -> Context {
        let id = self.shared.lock().node.id();
        self.by_id(id)
    }

    pub(crate) fn shared(&self) -> Result<Arc<Shared>> {
        Ok(Arc::clone(&self.shared))
    }

    /// Runs a function there and waits for what it returns.
    ///
    /// # Errors
    /// The function's own error, or why it did not run or its value did not arrive.
    pub fn call<F: Remote>(&self, function: F) -> Result<F::Value, CallError<F::Error>> {
        self.start(function).wait()
    }

    /// Starts a function there. The reply can be waited for, with a timeout or without, or awaited.
    pub fn start<F: Remote>(&self, function: F) -> Reply<F> {
        let slot = crate::codec::to_bytes(&function)
            .map_err(|error| crate::error::codec_error(&self.name, error))
            .and_then(|arguments| {
                let request = crate::broker::encode_call(F::NAME, &arguments);
                self.shared.request(self.id, Handle::CALL, request, Opening::default(), |_, _| {})
            });
        let (flow, slot) = match slot {
            Ok((flow, slot)) => (Some(flow), slot),
            Err(error) => {
                let slot = Slot::new();
                slot.fill(Err(error));
                (None, slot)
            }
        };
        Reply { context: self.clone(), flow, slot, done: false, function: PhantomData }
    }

    /// A program to be run there.
    #[must_use]
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        Command::new(self, program.as_ref())
    }

    /// A child of that context on the same machine as the same user.
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
        let order = DetachOrder { program: Handle::NONE, name: name.into() };
        let request =
            crate::codec::to_bytes(&order).map_err(|error| crate::error::codec_error(&self.name, error))?;
        let (_, slot) =
            self.shared.request(self.id, Handle::DETACH, request, Opening::default(), |_, _| {})?;
        let reply = slot.wait(None).unwrap_or(Err(Error::ShutDown));
        let process = read_value(&self.name, &reply.map_err(|error| error.naming(&self.name))?)?;
        self.shutdown().map(|()| process)
    }

    /// The context that programs of this one run in: for a root it is a child, connected when first needed and when the
    /// user of this process has changed; for any other, and a root without an agent for this machine, it is itself.
    pub(crate) fn place_of_programs(&self) -> Result<ContextId> {
        let user = (nix::unistd::geteuid(), nix::unistd::getegid());
        let mut place = self.shared.programs.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        {
            let mut core = self.shared.lock();
            let elsewhere = self.id == ContextId::ROOT && core.node.id() == self.id && !core.stopped;
            let image = Platform::host().filter(|_| elsewhere).map(|host| core.images.get(host));
            if !matches!(image, Some(Ok(Some(_)))) {
                return Ok(self.id);
            }
            if let Some((id, of)) = *place
                && of == user
                && core.node.router.link_to(id).is_some()
            {
                return Ok(id);
            }
        }
        let recipe = Local::default().recipe("");
        let child = self.open_recipe(recipe, &self.name, None, DEFAULT_HEARTBEAT)?.context();
        *place = Some((child.id, user));
        Ok(child.id)
    }

    /// A number for a new context: the root's own, or one of a block that it has granted here.
    fn allocate(&self) -> Result<ContextId> {
        let used =
            || Error::System { action: "numbering a context".into(), detail: "all numbers are used".into() };
        let mut core = self.shared.lock();
        if core.node.id() == ContextId::ROOT {
            return core.node.new_context().ok_or_else(used);
        }
        if core.granted.0 == core.granted.1 {
            drop(core);
            let opening = Opening::default();
            let (_, slot) =
                self.shared.request(ContextId::ROOT, Handle::ALLOCATE, Vec::new(), opening, |_, _| {})?;
            let (first, count): (u32, u32) =
                read_value("controller", &slot.wait(None).unwrap_or(Err(Error::ShutDown))?)?;
            core = self.shared.lock();
            core.granted = (first, first.saturating_add(count));
        }
        if core.granted.0 == core.granted.1 {
            return Err(used());
        }
        core.granted.0 += 1;
        Ok(ContextId(core.granted.0 - 1))
    }

    /// A child of this one, as this process knows it.
    pub(crate) fn child(&self, id: ContextId, name: Arc<str>) -> Context {
        Context { shared: Arc::clone(&self.shared), id, name, parent: Some(self.id) }
    }

    pub(crate) fn open_recipe(
        &self,
        recipe: Recipe,
        name: &str,
        title: Option<String>,
        heartbeat: u32,
    ) -> Result<Connecting> {
        let id = self.allocate()?;
        let name: Arc<str> =
            if self.id == ContextId::ROOT { name.into() } else { format!("{}.{name}", self.name).into() };
        let announce = self.shared.lock().node.id() != ContextId::ROOT;
        let log_level = self.shared.log_level.load(Ordering::Relaxed);
        let order = ConnectRequest { name: name.to_string(), title, recipe, announce, log_level, heartbeat };
        let request =
            crate::codec::to_bytes(&order).map_err(|error| crate::error::codec_error(&name, error))?;
        let opening = Opening { new_context: Some(id), secret: true, ..Opening::default() };
        let (_, slot) = self.shared.request(self.id, Handle::CONNECT, request, opening, |core, _| {
            core.names.insert(id, Arc::clone(&name));
        })?;
        Ok(Connecting::new(self.child(id, name), slot))
    }
}

/// The answer to a call that was started.
pub struct Reply<F: Remote> {
    context: Context,
    flow: Option<FlowKey>,
    slot: Arc<Slot>,
    done: bool,
    function: PhantomData<fn() -> F>,
}

impl<F: Remote> Reply<F> {
    /// Waits for it.
    ///
    /// # Errors
    /// As [`Context::call`].
    pub fn wait(mut self) -> Result<F::Value, CallError<F::Error>> {
        let reply = self.slot.wait(None).unwrap_or(Err(Error::ShutDown));
        self.finish(reply)
    }

    /// Waits for it, but not longer than `timeout`. The call goes on after that; the reply can be waited for again.
    ///
    /// # Errors
    /// As [`Context::call`]; [`Error::TimedOut`] when the time is up.
    pub fn wait_timeout(&mut self, timeout: Duration) -> Result<F::Value, CallError<F::Error>> {
        match self.slot.wait(Some(timeout)) {
            Some(reply) => self.finish(reply),
            None => {
                let after_ms = timeout.as_millis() as u64;
                Err(CallError::Failed(Error::TimedOut { context: self.context.name().into(), after_ms }))
            }
        }
    }

    /// The context it comes from.
    #[must_use]
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// Has `notify` called once the reply is there, at once if it is.
    pub fn on_arrival(&self, notify: impl FnOnce() + Send + 'static) {
        self.slot.on_arrival(notify);
    }

    fn finish(&mut self, reply: Result<Vec<u8>>) -> Result<F::Value, CallError<F::Error>> {
        self.done = true;
        let reply = reply.map_err(|error| error.naming(self.context.name()))?;
        read_reply::<F>(self.context.name(), &reply)
    }
}

impl<F: Remote> Future for Reply<F> {
    type Output = Result<F::Value, CallError<F::Error>>;
    fn poll(mut self: Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> Poll<Self::Output> {
        let waker: &Waker = cx.waker();
        match self.slot.poll(waker) {
            Poll::Ready(reply) => Poll::Ready(self.finish(reply)),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<F: Remote> Drop for Reply<F> {
    fn drop(&mut self) {
        // A reply nobody waits for must leave nothing behind here.
        if !self.done
            && let Some(flow) = self.flow
        {
            self.context.shared.with(|core| {
                core.node.reset(flow, Reason::Cancelled, "nobody waits for the reply");
                core.forget(flow);
            });
        }
    }
}
