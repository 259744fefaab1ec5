//! `run0`: another user of the same machine, by systemd.

use super::questions::{LOOK, check_user, hop_to};
use super::spec::{Argument, BadOption, Described, PasswordOf, RunsAs, Spec};
use super::traits::{DEFAULT_TIMEOUT, Method};
use crate::context::Context;
use crate::hop::Hop;
use crate::hop::setters::setters;
use offshoot_codec::Secret;
use offshoot_proto::ConnectErrorKind as Kind;
use offshoot_proto::connect::dialogue::{Rule, When};
use offshoot_proto::connect::recipe::{Attach, Recipe};
use std::time::Duration;

impl Context {
    /// Returns a hop by run0 from this context to another user of the same machine, root unless
    /// set.
    #[must_use]
    pub fn run0(&self) -> Hop<Run0> {
        self.hop(Run0::default())
    }
}

/// A hop by run0 (systemd 256). The agent runs as a service of its own, started by systemd, in the
/// home directory of the user. run0 asks for a password only on a terminal as its stdin, which a
/// hop has not, so polkit's rules must allow it without one.
///
/// Written after the source of systemd 256 to 258, and not tested on a running one.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Run0 {
    /// The user to become.
    pub user: String,
    /// The longest time for the hop.
    pub timeout: Duration,
    /// The program; `run0` unless set.
    pub program: String,
}

impl Default for Run0 {
    fn default() -> Self {
        Self {
            user: "root".into(),
            timeout: DEFAULT_TIMEOUT,
            program: "run0".into(),
        }
    }
}

impl Method for Run0 {
    fn recipe(&self, _nonce: &str) -> Recipe {
        let argv = vec![
            self.program.clone(),
            "--no-ask-password".into(),
            format!("--user={}", self.user),
            "--".into(),
        ];
        let rule = "a rule of polkit has to allow it without a password (org.freedesktop.systemd1.manage-units), or use sudo";
        let says = |texts: &[&str], kind, detail: &str, hint: &str| {
            Rule::explain(When::ALWAYS, texts, kind, detail, hint)
        };
        let rules = vec![
            says(
                &["Interactive authentication required"],
                Kind::Denied,
                "polkit wants a password, for which run0 asks only on a terminal of its own",
                rule,
            ),
            says(
                &["^Failed to start transient service unit: ", "denied"],
                Kind::Denied,
                "polkit's rules do not allow this",
                rule,
            ),
            says(
                &["^Failed to connect to ", "bus"],
                Kind::Unreachable,
                "systemd does not run there",
                "use sudo or su",
            ),
            says(
                &["^Failed to start transient service unit: "],
                Kind::Denied,
                "systemd does not start it: %",
                LOOK,
            ),
        ];
        let hop = hop_to("run0", &self.user);
        // Some versions expand variables in the words of a command.
        let mut recipe = Recipe::new(hop, argv, Attach::GuardedWords);
        recipe.rules = rules;
        recipe.hint = "is there such a user? run0 says nothing if not".into();
        recipe.timeout_ms = self.timeout.as_millis() as u64;
        recipe
    }

    fn check(&self) -> Result<(), BadOption> {
        check_user(&self.user)
    }

    fn name(&self) -> String {
        format!("run0.{}", self.user)
    }

    fn set_timeout(&mut self, timeout: Duration) {
        self.timeout = timeout;
    }

    fn set_password(&mut self, _password: Secret) {}
}

impl Described for Run0 {
    const SPEC: &'static Spec = &Spec {
        name: "run0",
        argument: Argument::Text {
            key: "user",
            placeholder: "USER",
            noun: "the user to become",
            default: Some("root"),
        },
        about: "is another user of the same machine, where systemd and polkit allow it without a password",
        options: &[],
        notes: "",
        runs_as: RunsAs::NamedUser,
        password_of: PasswordOf::Nobody,
    };

    fn set(&mut self, key: &str, value: &str) -> Result<(), BadOption> {
        match key {
            "user" => self.user = value.into(),
            _ => return Err(BadOption::new(key, value)),
        }
        Ok(())
    }
}

setters!(Run0 {
    /// Sets the user to become.
    user: impl Into<String> => |method| method.user = user.into();
    /// Sets the program, if it is not `run0`.
    program: impl Into<String> => |method| method.program = program.into();
});
