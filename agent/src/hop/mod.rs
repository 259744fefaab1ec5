//! A hop as a program describes it: the method's settings, its time limit, the heartbeat of its
//! link.
pub(crate) mod child;
pub(crate) mod connecting;
pub(crate) mod ids;
pub mod method;
pub(crate) mod plan;
pub(crate) mod prompts;
pub(crate) mod reuse;
mod setters;
pub(crate) mod settings;

use crate::context::Context;
use crate::hop::connecting::Connecting;
use crate::hop::method::spec::{BadOption, number};
use crate::hop::method::traits::Method;
use crate::hop::prompts::{Answer, Prompt};
use crate::hop::reuse::reuse;
use crate::hop::settings::{Exec, Settings, is_passed_on};
use offshoot_codec::Secret;
use offshoot_proto::connect::recipe::Recipe;
use offshoot_proto::{ConnectError, ConnectErrorKind, Result};
use offshoot_sys as sys;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::sync::Arc;
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
    settings: Settings,
    answer: Option<Answer>,
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
            settings: Settings::default(),
            answer: None,
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
    /// Returns an error if the request cannot be sent, or if a setting is invalid.
    pub fn start(self) -> Result<Connecting> {
        let open = || {
            let nonce: [u8; 8] = sys::random();
            let nonce: String = nonce.iter().map(|byte| format!("{byte:02x}")).collect();
            let (name, recipe) = self.describe(&nonce)?;
            self.parent.open_recipe(
                recipe,
                &name,
                self.title.clone(),
                self.heartbeat,
                self.answer.clone(),
            )
        };
        match &self.key {
            Some(key) => reuse(&self.parent, key, open),
            None => open(),
        }
    }

    /// Returns the last part of the new context's name, and the hop as data.
    fn describe(&self, nonce: &str) -> Result<(String, Recipe)> {
        let name = self.name.clone().unwrap_or_else(|| self.method.name());
        let mut recipe = self.method.recipe(nonce);
        let valid = self.method.check().map_err(|bad| {
            let text = format!("{} cannot be {:?}", bad.key, bad.value);
            let mut error = Box::new(ConnectError::new(ConnectErrorKind::Start, text));
            error.hint = bad.advice.into();
            error
        });
        let applied = valid.and_then(|()| self.settings.apply(&mut recipe, nonce));
        applied.map_err(|mut error| {
            error.context = self.parent.name_below(&name);
            error.hop.clone_from(&recipe.hop);
            *error
        })?;
        if self.answer.is_some() {
            recipe.rules.iter_mut().for_each(prompts::ask_instead);
        }
        Ok((name, recipe))
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

    /// Adds a variable to the agent's environment, which its programs inherit. The value may have
    /// any bytes but NUL.
    ///
    /// Variables go there in the command that starts the agent, so users of that host can see them
    /// for a moment (`ps`). Secrets belong in the environment of a program
    /// ([`Command::env`](crate::Command::env)) or in the argument of a function.
    ///
    /// A hop with variables, a directory, a umask or a shell starts its agent through a shell, also
    /// a local one. A tool that sets variables itself, as docker does, gets them as its own
    /// arguments.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        let (name, value) = (name.as_ref(), value.as_ref());
        let done = match (name.to_str(), value.to_str()) {
            (Some(name), Some(value)) if is_passed_on(name) && !value.contains('\0') => {
                self.method.set_env(name, value)
            }
            _ => false,
        };
        if !done {
            let bytes = |text: &OsStr| text.as_bytes().to_vec();
            self.settings.env.push((bytes(name), bytes(value)));
        }
        self
    }

    /// Sets the working directory of the agent, which its programs inherit. A relative one begins
    /// where the hop arrives, as in the home directory behind ssh.
    #[must_use]
    pub fn current_dir(mut self, directory: impl AsRef<OsStr>) -> Self {
        let directory = directory.as_ref();
        let absolute = directory.to_str().filter(|path| path.starts_with('/'));
        if !absolute.is_some_and(|path| self.method.set_directory(path)) {
            self.settings.directory = Some(directory.as_bytes().to_vec());
        }
        self
    }

    /// Sets the umask of the agent, which its programs inherit, for instance `0o027`.
    #[must_use]
    pub fn umask(mut self, mask: u32) -> Self {
        self.settings.umask = Some(mask);
        self
    }

    /// Sets the POSIX shell that runs the bootstrap; `sh` unless set.
    #[must_use]
    pub fn shell(mut self, shell: impl Into<String>) -> Self {
        self.settings.shell = Some(shell.into());
        self
    }

    /// Sets where the agent is while it is started: in memory, in files, or where it can be.
    #[must_use]
    pub fn exec(mut self, exec: Exec) -> Self {
        self.settings.exec = exec;
        self
    }

    /// Runs the start-up files of a login: by `sh -l`, or in the method's own way, as `sudo -i`.
    #[must_use]
    pub fn login(mut self, login: bool) -> Self {
        if !self.method.set_login(login) {
            self.settings.login = login;
        }
        self
    }

    /// Sets one of the settings that the command line has for every method, by its key: see
    /// [`COMMON`](method::spec::COMMON).
    ///
    /// # Errors
    /// Returns an error if there is no such key, or if its value cannot be read.
    pub fn set(self, key: &str, value: &str) -> std::result::Result<Self, BadOption> {
        let bad = || BadOption::new(key, value);
        Ok(match key {
            "name" => self.name(value),
            "title" => self.remote_name(value),
            "timeout" => self.timeout(Duration::from_secs(number(key, value)?)),
            "heartbeat" => self.heartbeat(number(key, value)?),
            "env" => {
                let (name, value) = value.split_once('=').ok_or_else(bad)?;
                self.env(name, value)
            }
            "dir" => self.current_dir(value),
            "umask" => self.umask(u32::from_str_radix(value, 8).map_err(|_| bad())?),
            "shell" => self.shell(value),
            "login" => self.login(value == "yes"),
            "exec" => self.exec(match value {
                "auto" => Exec::Auto,
                "memfd" => Exec::Memory,
                "file" => Exec::File,
                _ => return Err(bad()),
            }),
            _ => return Err(bad()),
        })
    }

    /// Calls `answer` with each question of the hop's program that it has no answer for: a password
    /// that was not given, a passphrase or PIN of a key, a one-time code, an unknown host key. The
    /// hop waits for the answer as long as its program does, and fails with
    /// [`ConnectErrorKind::Question`](offshoot_proto::ConnectErrorKind::Question) at `None`. The
    /// question may come from any depth of the tree; the answer goes to the program that has asked,
    /// through all contexts in between.
    ///
    /// `answer` runs on a thread of its own and may block. Without it, all such questions fail the
    /// hop.
    ///
    /// ```no_run
    /// use offshoot_agent::{PromptKind, Secret};
    ///
    /// # fn code() -> Secret { Secret::new("1") }
    /// # fn example(router: &offshoot_agent::Router) -> offshoot_agent::Result<()> {
    /// let web = router.ssh("web1").on_prompt(|prompt| match prompt.kind {
    ///     PromptKind::Code => Some(code()),
    ///     _ => None,
    /// });
    /// # web.connect()?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn on_prompt(
        mut self,
        answer: impl Fn(&Prompt) -> Option<Secret> + Send + Sync + 'static,
    ) -> Self {
        self.method.set_interactive();
        self.answer = Some(Arc::new(answer));
        self
    }

    /// Sets the password. Ignored by a method that asks for none.
    #[must_use]
    pub fn password(mut self, password: impl Into<Secret>) -> Self {
        self.method.set_password(password.into());
        self
    }
}
