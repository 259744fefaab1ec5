//! `pkexec`: another user of the same machine, by polkit.

use super::questions::{LOOK, SETUID, check_user, explained, hop_to, questions};
use super::spec::{Argument, BadOption, Described, OptionSpec, PasswordOf, RunsAs, Spec, Value};
use super::traits::{DEFAULT_TIMEOUT, Method};
use crate::context::Context;
use crate::hop::Hop;
use crate::hop::setters::setters;
use offshoot_codec::Secret;
use offshoot_proto::ConnectErrorKind as Kind;
use offshoot_proto::connect::dialogue::{Explanation, Reaction, Rule, When};
use offshoot_proto::connect::recipe::{Attach, Recipe};
use std::time::Duration;

impl Context {
    /// Returns a hop by pkexec from this context to another user of the same machine, root unless
    /// set.
    #[must_use]
    pub fn pkexec(&self) -> Hop<Pkexec> {
        self.hop(Pkexec::default())
    }
}

/// A hop by pkexec. If polkit's rules want a password, pkexec asks on a terminal that carries no
/// other data. The rules say whose password that is: an administrator's, which may be the user who
/// calls it. pkexec starts in the home directory of the user, with an environment of its own.
///
/// Written after the source of polkit 0.105 to 126, and not tested on a running one.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Pkexec {
    /// The user to become.
    pub user: String,
    /// The password that polkit asks for.
    pub password: Option<Secret>,
    /// The longest time for the hop.
    pub timeout: Duration,
    /// The program; `pkexec` unless set.
    pub program: String,
}

impl Default for Pkexec {
    fn default() -> Self {
        Self {
            user: "root".into(),
            password: None,
            timeout: DEFAULT_TIMEOUT,
            program: "pkexec".into(),
        }
    }
}

impl Method for Pkexec {
    fn recipe(&self, _nonce: &str) -> Recipe {
        let argv = vec![self.program.clone(), "--user".into(), self.user.clone()];
        let several = Reaction::Explain(Explanation {
            kind: Kind::Question,
            detail: "polkit asks which of several administrators gives the password".into(),
            hint: "name one administrator in its rules (polkit.addAdminRule), or use sudo".into(),
        });
        let mut rules = vec![Rule::asked(When::ALWAYS, &["(1-"], several)];
        rules.extend(questions(self.password.as_ref()));
        rules.extend(explained(&[
            (
                When::ALWAYS,
                &["^User `", "' does not exist"],
                Kind::NoSuchUser,
                "the user to become does not exist there",
                "check the name",
            ),
            (
                When::ALWAYS,
                &["Error executing command as another user: No authentication agent"],
                Kind::Denied,
                "polkit wants a password and finds nobody to ask",
                LOOK,
            ),
            (
                When::ALWAYS,
                &["Error creating textual authentication agent"],
                Kind::Denied,
                "polkit wants a password and cannot ask on the terminal",
                LOOK,
            ),
            (
                When::ALWAYS,
                &["Error registering", "authentication agent"],
                Kind::Denied,
                "polkit wants a password and cannot ask on the terminal",
                LOOK,
            ),
            (
                When::ALWAYS,
                &["Error getting authority"],
                Kind::Unreachable,
                "polkit does not run there",
                "see whether polkit.service runs, or use sudo",
            ),
            (
                When::ALWAYS,
                &["pkexec must be setuid root"],
                Kind::Denied,
                "pkexec does not have the rights that it needs",
                SETUID,
            ),
            (
                When::ALWAYS,
                &["Error executing command as another user: Request dismissed"],
                Kind::Denied,
                "somebody there has dismissed the request",
                LOOK,
            ),
            (
                When::ANSWERED,
                &["Error executing command as another user: Not authorized"],
                Kind::PasswordIncorrect,
                "the password was not accepted",
                "polkit asks for an administrator's, whose name is shown below",
            ),
            (
                When::UNANSWERED,
                &["Error executing command as another user: Not authorized"],
                Kind::Denied,
                "polkit's rules do not allow this",
                LOOK,
            ),
        ]));
        let hop = hop_to("pkexec", &self.user);
        let mut recipe = Recipe::new(hop, argv, Attach::Words);
        recipe.terminal = true;
        recipe.rules = rules;
        recipe.hint = "pkaction there shows what polkit allows".into();
        recipe.timeout_ms = self.timeout.as_millis() as u64;
        recipe
    }

    fn check(&self) -> Result<(), BadOption> {
        check_user(&self.user)
    }

    fn name(&self) -> String {
        format!("pkexec.{}", self.user)
    }

    fn set_timeout(&mut self, timeout: Duration) {
        self.timeout = timeout;
    }

    fn set_password(&mut self, password: Secret) {
        self.password = Some(password);
    }
}

impl Described for Pkexec {
    const SPEC: &'static Spec = &Spec {
        name: "pkexec",
        argument: Argument::Text {
            key: "user",
            placeholder: "USER",
            noun: "the user to become",
            default: Some("root"),
        },
        about: "is another user of the same machine, where polkit allows it",
        options: &[OptionSpec::new(
            "password-file",
            Value::PasswordFile,
            "the password of an administrator, if polkit asks for it",
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

setters!(Pkexec {
    /// Sets the user to become.
    user: impl Into<String> => |method| method.user = user.into();
    /// Sets the program, if it is not `pkexec`.
    program: impl Into<String> => |method| method.program = program.into();
});
