//! `doas`: another user of the same machine, where doas takes the place of sudo.

use super::questions::{LOOK, SETUID, check_user, hop_to, questions, short_name};
use super::spec::{Argument, BadOption, Described, OptionSpec, PasswordOf, RunsAs, Spec, Value};
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
    /// Returns a hop by doas from this context to another user of the same machine, root unless
    /// set.
    #[must_use]
    pub fn doas(&self) -> Hop<Doas> {
        self.hop(Doas::default())
    }
}

/// A hop by doas. It asks on a terminal that carries no other data, in any language; a rule with
/// `nopass` asks nothing.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Doas {
    /// The user to become.
    pub user: String,
    /// The password of the user who calls doas.
    pub password: Option<Secret>,
    /// The longest time for the hop.
    pub timeout: Duration,
    /// The program; `doas` unless set.
    pub program: String,
}

impl Default for Doas {
    fn default() -> Self {
        Self {
            user: "root".into(),
            password: None,
            timeout: DEFAULT_TIMEOUT,
            program: "doas".into(),
        }
    }
}

impl Method for Doas {
    fn recipe(&self, _nonce: &str) -> Recipe {
        let argv = vec![
            self.program.clone(),
            "-u".into(),
            self.user.clone(),
            "--".into(),
        ];
        let mut rules = questions(self.password.as_ref());
        let says = format!("^{}: ", short_name(&self.program));
        let rule = "a rule in /etc/doas.conf has to allow it, as in: permit USER as TARGET";
        let wrong = "doas asks for the password of the user who calls it";
        let user = "the user to become does not exist there";
        let rows: &[(When, &str, Kind, &str, &str)] = &[
            (
                When::ALWAYS,
                "unknown user",
                Kind::NoSuchUser,
                user,
                "check the name",
            ),
            (
                When::ALWAYS,
                "no passwd entry for target",
                Kind::NoSuchUser,
                user,
                "check the name",
            ),
            (
                When::ALWAYS,
                "doas is not enabled",
                Kind::Denied,
                "doas has no rules there",
                rule,
            ),
            (
                When::ALWAYS,
                "not installed setuid",
                Kind::Denied,
                "doas does not have the rights that it needs",
                SETUID,
            ),
            (
                When::ALWAYS,
                "writable by group or other",
                Kind::Denied,
                "doas does not trust its rules there: others may change them",
                "chmod 600 /etc/doas.conf there",
            ),
            (
                When::ALWAYS,
                "not owned by root",
                Kind::Denied,
                "doas does not trust its rules there: they do not belong to root",
                "chown root /etc/doas.conf there",
            ),
            (
                When::ALWAYS,
                "syntax error",
                Kind::Denied,
                "the rules of doas have an error there",
                "doas -C /etc/doas.conf there shows it",
            ),
            (
                When::ALWAYS,
                "a tty is required",
                Kind::Denied,
                "doas wants a terminal and got none it accepts",
                LOOK,
            ),
            // Old versions say it of a wrong password, too, but ask only where a rule allows it.
            (
                When::UNANSWERED,
                "Operation not permitted",
                Kind::Denied,
                "no rule of doas allows this",
                rule,
            ),
            (
                When::ANSWERED,
                "Operation not permitted",
                Kind::PasswordIncorrect,
                "the password was not accepted",
                wrong,
            ),
            (
                When::ANSWERED,
                "Authentication failed",
                Kind::PasswordIncorrect,
                "the password was not accepted",
                wrong,
            ),
            (
                When::UNANSWERED,
                "Authentication failed",
                Kind::Denied,
                "doas refuses the user who calls it without a question",
                LOOK,
            ),
            (
                When::UNANSWERED,
                "Authentication required",
                Kind::PasswordRequired,
                "it asks for a password and none was given",
                "give one: password() in a program, password-file=PATH or a terminal on the command line",
            ),
        ];
        rules.extend(rows.iter().map(|(when, text, kind, detail, hint)| {
            Rule::explain(*when, &[&says, text], *kind, detail, hint)
        }));
        let hop = hop_to("doas", &self.user);
        let mut recipe = Recipe::new(hop, argv, Attach::Words);
        recipe.terminal = true;
        recipe.rules = rules;
        recipe.hint = "look at the rules in /etc/doas.conf there".into();
        recipe.timeout_ms = self.timeout.as_millis() as u64;
        recipe
    }

    fn check(&self) -> Result<(), BadOption> {
        check_user(&self.user)
    }

    fn name(&self) -> String {
        format!("doas.{}", self.user)
    }

    fn set_timeout(&mut self, timeout: Duration) {
        self.timeout = timeout;
    }

    fn set_password(&mut self, password: Secret) {
        self.password = Some(password);
    }
}

impl Described for Doas {
    const SPEC: &'static Spec = &Spec {
        name: "doas",
        argument: Argument::Text {
            key: "user",
            placeholder: "USER",
            noun: "the user to become",
            default: Some("root"),
        },
        about: "is another user of the same machine, where doas is installed",
        options: &[OptionSpec::new(
            "password-file",
            Value::PasswordFile,
            "the password of the user who calls doas",
        )],
        notes: "",
        runs_as: RunsAs::NamedUser,
        password_of: PasswordOf::CallingUser,
    };

    fn set(&mut self, key: &str, value: &str) -> Result<(), BadOption> {
        match key {
            "user" => self.user = value.into(),
            _ => return Err(BadOption::new(key, value)),
        }
        Ok(())
    }
}

setters!(Doas {
    /// Sets the user to become.
    user: impl Into<String> => |method| method.user = user.into();
    /// Sets the program, if it is not `doas`.
    program: impl Into<String> => |method| method.program = program.into();
});
