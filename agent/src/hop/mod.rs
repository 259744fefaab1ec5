//! A hop as a program describes it: the method's settings, how long it may take, how its link is
//! looked after.
pub(crate) mod child;
pub(crate) mod connecting;
pub(crate) mod ids;
pub mod method;
pub(crate) mod reuse;
mod setters;

use crate::context::Context;
use crate::hop::connecting::Connecting;
use crate::hop::method::traits::Method;
use crate::hop::reuse::reuse;
use offshoot_codec::Secret;
use offshoot_proto::Result;
use offshoot_sys as sys;
use std::time::Duration;

impl Context {
    /// A hop by any method, from there.
    #[must_use]
    pub fn hop<M: Method>(&self, method: M) -> Hop<M> {
        Hop::new(self.clone(), method)
    }
}

/// A hop that is being described; `connect` takes it.
pub struct Hop<M> {
    pub(crate) parent: Context,
    method: M,
    heartbeat: u32,
    name: Option<String>,
    title: Option<String>,
    key: Option<String>,
}

impl<M: Method> Hop<M> {
    pub(crate) fn new(parent: Context, method: M) -> Self {
        let heartbeat = method.heartbeat();
        Self {
            parent,
            method,
            heartbeat,
            name: None,
            title: None,
            key: None,
        }
    }

    /// Returns the method, to be changed.
    pub(crate) fn method_mut(&mut self) -> &mut M {
        &mut self.method
    }

    /// Takes the hop and waits until the context is up.
    ///
    /// # Errors
    /// [`Error::Connect`](offshoot_proto::Error::Connect) with the hop, the reason and what the
    /// remote said.
    pub fn connect(self) -> Result<Context> {
        self.start()?.wait()
    }

    /// Takes the hop and returns at once. The context can be used at once, too: what is sent to it
    /// waits, and comes back with the reason if the hop fails.
    ///
    /// # Errors
    /// When the order cannot be sent.
    pub fn start(self) -> Result<Connecting> {
        let Self {
            parent,
            method,
            heartbeat,
            name,
            title,
            key,
        } = self;
        let open = || {
            let nonce: [u8; 8] = sys::random();
            let nonce: String = nonce.iter().map(|byte| format!("{byte:02x}")).collect();
            let name = name.unwrap_or_else(|| method.name());
            parent.open_recipe(method.recipe(&nonce), &name, title, heartbeat)
        };
        match key {
            Some(key) => reuse(&parent, &key, open),
            None => open(),
        }
    }

    /// Sets the last part of the context's name, which is else the method's and its target, as in
    /// `ssh.web1`.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into()).filter(|name| !name.is_empty());
        self
    }

    /// Sets what `ps` shows there behind `offshoot: `, in place of the context's name.
    #[must_use]
    pub fn remote_name(mut self, title: impl Into<String>) -> Self {
        self.title = Some(title.into());
        self
    }

    /// Has `ps` show no more there than `offshoot`.
    #[must_use]
    pub fn hide_name(self) -> Self {
        self.remote_name("")
    }

    /// Takes the hop only where the context it is taken from has none yet that was asked for by
    /// this key, in this process: whoever asks again gets the same context, and whoever asks while
    /// it is being connected waits for the same attempt and has its error. One that has failed, was
    /// lost or was shut down is not given again. The key alone decides, not what else is set.
    #[must_use]
    pub fn reuse(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Sets how long the whole hop may take; 30 seconds unless set.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.method.set_timeout(timeout);
        self
    }

    /// Sets the seconds between heartbeats on the link; 0 for none. The link is lost when nothing
    /// has come over it for three times as long.
    #[must_use]
    pub fn heartbeat(mut self, seconds: u32) -> Self {
        self.heartbeat = seconds;
        self
    }

    /// Sets the password, where the method knows one.
    #[must_use]
    pub fn password(mut self, password: impl Into<Secret>) -> Self {
        self.method.set_password(password.into());
        self
    }
}
