//! `local`: a child process on the same machine, as the same user.

use super::spec::{Argument, BadOption, Described, OptionSpec, PasswordOf, RunsAs, Spec, Value};
use super::traits::{DEFAULT_TIMEOUT, Method};
use crate::context::Context;
use crate::hop::Hop;
use crate::hop::setters::setters;
use offshoot_codec::Secret;
use offshoot_proto::connect::recipe::{Attach, Recipe};
use std::time::Duration;

impl Context {
    /// Returns a hop to a child of this context: a process on the same machine, as the same user,
    /// with the whole environment of its parent. For a child without that environment, use
    /// `shell_words(["env", "-i", "/bin/sh"].map(str::to_owned).into())`.
    #[must_use]
    pub fn local(&self) -> Hop<Local> {
        self.hop(Local::default())
    }
}

/// A hop to a child process. The child executes the agent of its parent again, or, with a shell, is
/// bootstrapped as on a remote host.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Local {
    /// The shell that runs the bootstrap with `-c`, for instance `["/bin/dash"]`. Words before it
    /// can set up its environment, as in `["env", "-i", "/bin/sh"]`.
    pub shell: Vec<String>,
    /// True for a login shell of any kind, which gets one line instead of a POSIX script.
    pub login: bool,
    /// The longest time for the hop.
    pub timeout: Duration,
}

impl Default for Local {
    fn default() -> Self {
        Self {
            shell: Vec::new(),
            login: false,
            timeout: DEFAULT_TIMEOUT,
        }
    }
}

impl Method for Local {
    fn recipe(&self, _nonce: &str) -> Recipe {
        let mut words = self.shell.clone();
        words.push("-c".into());
        let mut recipe = match (self.shell.is_empty(), self.login) {
            (true, _) => Recipe::new("local", Vec::new(), Attach::Direct),
            (false, true) => Recipe::new("local", words, Attach::Line),
            (false, false) => {
                let mut recipe = Recipe::new("local", Vec::new(), Attach::Words);
                recipe.shell = words;
                recipe
            }
        };
        recipe.key = format!("local {}", self.shell.join(" "));
        recipe.timeout_ms = self.timeout.as_millis() as u64;
        recipe
    }

    fn name(&self) -> String {
        "local".into()
    }

    fn set_timeout(&mut self, timeout: Duration) {
        self.timeout = timeout;
    }

    fn set_password(&mut self, _password: Secret) {}
}

impl Described for Local {
    const SPEC: &'static Spec = &Spec {
        name: "local",
        argument: Argument::None,
        about: "is a child process on the machine where the hop begins",
        options: &[OptionSpec::new(
            "login-shell",
            Value::Text("PATH"),
            "starts it through this login shell, which may be of any kind",
        )],
        notes: "",
        runs_as: RunsAs::SameUser,
        password_of: PasswordOf::Nobody,
    };

    fn set(&mut self, key: &str, value: &str) -> Result<(), BadOption> {
        match key {
            "login-shell" => (self.shell, self.login) = (vec![value.into()], true),
            _ => return Err(BadOption::new(key, value)),
        }
        Ok(())
    }
}

setters!(Local {
    /// Bootstraps the child through this login shell, which may be of any kind.
    login_shell: impl Into<String> => |method| { method.shell = vec![login_shell.into()]; method.login = true };
    /// Bootstraps the child through a shell with words before it, such as `env -i`.
    shell_words: Vec<String> => |method| method.shell = shell_words;
});
