//! A hop as a program describes it: the method's settings, its time limit, the heartbeat of its
//! link.
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
    /// Returns a hop from this context by any method.
    #[must_use]
    pub fn hop<M: Method>(&self, method: M) -> Hop<M> {
        Hop::new(self.clone(), method)
    }
}

/// A hop that is being described. [`connect`](Hop::connect) makes it.
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

    /// Returns the method, for changes.
    pub(crate) fn method_mut(&mut self) -> &mut M {
        &mut self.method
    }

    /// Makes the hop and waits until the context is connected.
    ///
    /// # Errors
    /// Returns [`Error::Connect`](offshoot_proto::Error::Connect) with the hop, the reason and the
    /// last lines that the remote host printed.
    pub fn connect(self) -> Result<Context> {
        self.start()?.wait()
    }

    /// Starts the hop and returns at once. The context can be used at once, too: messages to it are
    /// queued, and fail with the reason if the hop fails.
    ///
    /// # Errors
    /// Returns an error if the request cannot be sent.
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

    /// Sets the last part of the context's name. The default is the method and its target, as in
    /// `ssh.web1`.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into()).filter(|name| !name.is_empty());
        self
    }

    /// Sets the title that `ps` shows on the remote host after `offshoot: `, instead of the
    /// context's name.
    #[must_use]
    pub fn remote_name(mut self, title: impl Into<String>) -> Self {
        self.title = Some(title.into());
        self
    }

    /// Makes `ps` on the remote host show `offshoot` only.
    #[must_use]
    pub fn hide_name(self) -> Self {
        self.remote_name("")
    }

    /// Reuses a context: if this process has connected one from the same parent with the same key,
    /// the hop returns that context. A caller that asks while it is being connected waits for the
    /// same attempt and gets the same error. A context that failed, was lost or was shut down is
    /// not reused. Only the key is compared, not the other settings.
    #[must_use]
    pub fn reuse(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Sets the time limit of the whole hop; 30 seconds unless set.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.method.set_timeout(timeout);
        self
    }

    /// Sets the seconds between heartbeats on the link; 0 for none. The link is lost if nothing
    /// arrives over it for three times as long.
    #[must_use]
    pub fn heartbeat(mut self, seconds: u32) -> Self {
        self.heartbeat = seconds;
        self
    }

    /// Sets the password. Ignored by a method that asks for none.
    #[must_use]
    pub fn password(mut self, password: impl Into<Secret>) -> Self {
        self.method.set_password(password.into());
        self
    }
}
