//! `runuser`: another user of the same machine, from root.

use super::questions::{LOOK, check_user, hop_to, short_name};
use super::spec::{Argument, BadOption, Described, OptionSpec, PasswordOf, RunsAs, Spec, Value};
use super::tool::FOUND;
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
    /// Returns a hop by runuser from this context to another user of the same machine, root unless
    /// set.
    #[must_use]
    pub fn runuser(&self) -> Hop<Runuser> {
        self.hop(Runuser::default())
    }
}

/// A hop by runuser, for root alone: it asks nothing, and without a login it starts no login shell,
/// so the account needs none.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Runuser {
    /// The user to become.
    pub user: String,
    /// Starts a login shell, with its start-up files and environment (`-l`).
    pub login: bool,
    /// The longest time for the hop.
    pub timeout: Duration,
    /// The program; `runuser` unless set.
    pub program: String,
}

impl Default for Runuser {
    fn default() -> Self {
        Self {
            user: "root".into(),
            login: false,
            timeout: DEFAULT_TIMEOUT,
            program: "runuser".into(),
        }
    }
}

impl Method for Runuser {
    fn recipe(&self, _nonce: &str) -> Recipe {
        let (words, attach) = match self.login {
            true => (["-l", &self.user, "-c"], Attach::Line),
            false => (["-u", &self.user, "--"], Attach::Words),
        };
        let mut argv: Vec<String> = ["sh", "-c", FOUND, "sh", &self.program]
            .map(str::to_owned)
            .into();
        argv.extend(words.map(str::to_owned));
        let says = format!("^{}:", short_name(&self.program));
        let about = format!(" {} ", self.user);
        let user = "the user to become does not exist there";
        let rules = vec![
            Rule::explain(
                When::ALWAYS,
                &["^offshoot: no program "],
                Kind::Start,
                "there is no such program there: %",
                "install it (it is part of util-linux), or use su or sudo",
            ),
            Rule::explain(
                When::ALWAYS,
                &[&says, "non-root"],
                Kind::Denied,
                "only root may use runuser",
                "become root first, as in sudo/runuser:USER, or use su or sudo",
            ),
            Rule::explain(
                When::ALWAYS,
                &[&says, "does not exist"],
                Kind::NoSuchUser,
                user,
                "check the name",
            ),
            // In other languages.
            Rule::explain(
                When::ALWAYS,
                &[&says, &about],
                Kind::NoSuchUser,
                user,
                "check the name",
            ),
            Rule::explain(
                When::ALWAYS,
                &[&says, "denied"],
                Kind::Denied,
                "its rules do not allow this",
                LOOK,
            ),
        ];
        let hop = hop_to("runuser", &self.user);
        let mut recipe = Recipe::new(hop, argv, attach);
        recipe.rules = rules;
        recipe.hint = "run runuser there to see what it says".into();
        recipe.timeout_ms = self.timeout.as_millis() as u64;
        recipe
    }

    fn check(&self) -> Result<(), BadOption> {
        check_user(&self.user)
    }

    fn name(&self) -> String {
        format!("runuser.{}", self.user)
    }

    fn set_timeout(&mut self, timeout: Duration) {
        self.timeout = timeout;
    }

    fn set_password(&mut self, _password: Secret) {}

    fn set_login(&mut self, login: bool) -> bool {
        self.login = login;
        true
    }
}

impl Described for Runuser {
    const SPEC: &'static Spec = &Spec {
        name: "runuser",
        argument: Argument::Text {
            key: "user",
            placeholder: "USER",
            noun: "the user to become",
            default: Some("root"),
        },
        about: "is another user of the same machine, from root and without a question",
        options: &[OptionSpec::new(
            "login",
            Value::Flag,
            "runs the start-up files of the user, as runuser -l",
        )],
        notes: "",
        runs_as: RunsAs::NamedUser,
        password_of: PasswordOf::Nobody,
    };

    fn set(&mut self, key: &str, value: &str) -> Result<(), BadOption> {
        match key {
            "user" => self.user = value.into(),
            "login" => self.login = value == "yes",
            _ => return Err(BadOption::new(key, value)),
        }
        Ok(())
    }
}

setters!(Runuser {
    /// Sets the user to become.
    user: impl Into<String> => |method| method.user = user.into();
    /// Sets the program, if it is not `runuser`.
    program: impl Into<String> => |method| method.program = program.into();
});
