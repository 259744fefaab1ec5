//! `su`: another user of the same machine, by that user's password.

use super::questions::{LOOK, SETUID, check_user, explained, hop_to, questions, short_name};
use super::spec::{Argument, BadOption, Described, OptionSpec, PasswordOf, RunsAs, Spec, Value};
use super::traits::{DEFAULT_TIMEOUT, Method};
use crate::context::Context;
use crate::hop::Hop;
use crate::hop::setters::setters;
use offshoot_codec::Secret;
use offshoot_proto::ConnectErrorKind as Kind;
use offshoot_proto::connect::dialogue::{Reaction, Rule, When};
use offshoot_proto::connect::recipe::{Attach, Recipe};
use std::time::Duration;

impl Context {
    /// Returns a hop by su from this context to another user of the same machine, root unless
    /// set.
    #[must_use]
    pub fn su(&self) -> Hop<Su> {
        self.hop(Su::default())
    }
}

/// A hop by su. It asks on a pipe and reads the password from stdin, so it gets no terminal; a
/// prompt in any language is answered, once. su as root asks nothing.
///
/// The user's own login shell starts the agent, so an account without one needs another way, such
/// as [`Runuser`](super::Runuser) or [`Sudo`](super::Sudo). The su of the package shadow, on Debian
/// 9 and Ubuntu 18.04 for instance, takes a password only from a terminal and cannot be used.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Su {
    /// The user to become.
    pub user: String,
    /// The password of the user to become. Root needs none.
    pub password: Option<Secret>,
    /// Starts a login shell, with its start-up files and environment (`-l`).
    pub login: bool,
    /// The longest time for the hop.
    pub timeout: Duration,
    /// The program; `su` unless set.
    pub program: String,
}

impl Default for Su {
    fn default() -> Self {
        Self {
            user: "root".into(),
            password: None,
            login: false,
            timeout: DEFAULT_TIMEOUT,
            program: "su".into(),
        }
    }
}

impl Method for Su {
    fn recipe(&self, _nonce: &str) -> Recipe {
        let mut argv = vec![self.program.clone()];
        if self.login {
            argv.push("-l".into());
        }
        argv.extend([self.user.clone(), "-c".into()]);
        // Its messages begin with its name, in every language, and so does none of its questions.
        let says = format!("^{}:", short_name(&self.program));
        let about = format!(" {} ", self.user);
        let mut rules = vec![Rule::asked(When::ALWAYS, &[&says], Reaction::Ignore)];
        rules.extend(questions(self.password.as_ref()));
        // A folder or a shell that su names.
        rules.push(Rule::line(When::ALWAYS, &[&says, "/"], Reaction::Skip));
        let user = "the user to become does not exist there";
        let wrong = "su asks for the password of the user to become; behind bwrap, or with no_new_privs, it \
                     accepts none: become the user before that hop";
        rules.extend(explained(&[
            (
                When::ALWAYS,
                &["must be run from a terminal"],
                Kind::Denied,
                "this su takes a password only from a terminal as its stdin",
                "it is the su of shadow; use another method, such as sudo",
            ),
            (
                When::ALWAYS,
                &[&says, "does not exist"],
                Kind::NoSuchUser,
                user,
                "check the name",
            ),
            (
                When::ALWAYS,
                &[&says, "unknown user"],
                Kind::NoSuchUser,
                user,
                "check the name",
            ),
            (
                When::ALWAYS,
                &["No passwd entry"],
                Kind::NoSuchUser,
                user,
                "check the name",
            ),
            // busybox's words.
            (
                When::ALWAYS,
                &["must be suid to work properly"],
                Kind::Denied,
                "su does not have the rights that it needs",
                SETUID,
            ),
            (
                When::ALWAYS,
                &["account is currently not available"],
                Kind::Denied,
                "the login shell of the user lets nobody in",
                "su starts that shell; runuser (as root) and sudo do not",
            ),
            (
                When::ALWAYS,
                &[&says, "Permission denied"],
                Kind::Denied,
                "su's rules do not allow this",
                LOOK,
            ),
            (
                When::ANSWERED,
                &[&says, "Authentication failure"],
                Kind::PasswordIncorrect,
                "the password was not accepted",
                wrong,
            ),
            (
                When::ANSWERED,
                &[&says, "incorrect password"],
                Kind::PasswordIncorrect,
                "the password was not accepted",
                wrong,
            ),
            // In other languages.
            (
                When::UNANSWERED,
                &[&says, &about],
                Kind::NoSuchUser,
                user,
                "check the name",
            ),
            (
                When::ANSWERED,
                &[&says],
                Kind::PasswordIncorrect,
                "the password was not accepted, or su refuses the user: %",
                wrong,
            ),
            (
                When::UNANSWERED,
                &[&says],
                Kind::Denied,
                "su refuses it without a question: %",
                LOOK,
            ),
        ]));
        let hop = hop_to("su", &self.user);
        let mut recipe = Recipe::new(hop, argv, Attach::Line);
        recipe.asks_on_pipes = true;
        recipe.rules = rules;
        recipe.hint = "run su there to see what it says".into();
        recipe.timeout_ms = self.timeout.as_millis() as u64;
        recipe
    }

    fn check(&self) -> Result<(), BadOption> {
        check_user(&self.user)
    }

    fn name(&self) -> String {
        format!("su.{}", self.user)
    }

    fn set_timeout(&mut self, timeout: Duration) {
        self.timeout = timeout;
    }

    fn set_password(&mut self, password: Secret) {
        self.password = Some(password);
    }

    fn set_login(&mut self, login: bool) -> bool {
        self.login = login;
        true
    }
}

impl Described for Su {
    const SPEC: &'static Spec = &Spec {
        name: "su",
        argument: Argument::Text {
            key: "user",
            placeholder: "USER",
            noun: "the user to become",
            default: Some("root"),
        },
        about: "is another user of the same machine, by the login shell and the password of that user",
        options: &[
            OptionSpec::new(
                "password-file",
                Value::PasswordFile,
                "the password of the user to become",
            ),
            OptionSpec::new(
                "login",
                Value::Flag,
                "runs the start-up files of the user, as su -l",
            ),
        ],
        notes: "",
        runs_as: RunsAs::NamedUser,
        password_of: PasswordOf::TargetUser,
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

setters!(Su {
    /// Sets the user to become.
    user: impl Into<String> => |method| method.user = user.into();
    /// Sets the program, if it is not `su`.
    program: impl Into<String> => |method| method.program = program.into();
});
