//! `sudo`: another user of the same machine.

use super::questions::{BEFORE, NO_NEW_PRIVS, SETUID, hop_to};
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
    /// Returns a hop by sudo from this context to another user of the same machine, root unless
    /// set.
    #[must_use]
    pub fn sudo(&self) -> Hop<Sudo> {
        self.hop(Sudo::default())
    }
}

/// A hop by sudo. It sets its own prompt, so that a translated one cannot be missed. The prompt
/// goes to a terminal that carries no other data.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Sudo {
    /// The user to become.
    pub user: String,
    /// The password of the user who calls sudo.
    pub password: Option<Secret>,
    /// Runs the user's login shell and start-up files (`-i`).
    pub login: bool,
    /// Sets HOME to the user's (`-H`).
    pub set_home: bool,
    /// Keeps the environment if the policy allows it (`-E`).
    pub preserve_env: bool,
    /// The SELinux role (`-r`).
    pub role: Option<String>,
    /// The SELinux type (`-t`).
    pub selinux_type: Option<String>,
    /// The longest time for the hop.
    pub timeout: Duration,
    /// The program; `sudo` unless set.
    pub program: String,
}

impl Default for Sudo {
    fn default() -> Self {
        Self {
            user: "root".into(),
            password: None,
            login: false,
            set_home: false,
            preserve_env: false,
            role: None,
            selinux_type: None,
            timeout: DEFAULT_TIMEOUT,
            program: "sudo".into(),
        }
    }
}

impl Method for Sudo {
    fn recipe(&self, nonce: &str) -> Recipe {
        let asks = format!("[offshoot {nonce}]");
        // Short flags only: the long ones are younger than some systems.
        let mut argv = vec![
            self.program.clone(),
            "-p".into(),
            format!("{asks} password: "),
            "-u".into(),
            self.user.clone(),
        ];
        for (flag, wanted) in [
            ("-i", self.login),
            ("-H", self.set_home),
            ("-E", self.preserve_env),
        ] {
            if wanted {
                argv.push(flag.into());
            }
        }
        for (flag, value) in [("-r", &self.role), ("-t", &self.selinux_type)] {
            if let Some(value) = value {
                argv.extend([flag.to_owned(), value.clone()]);
            }
        }
        argv.push("--".into());
        let explain = |texts: &[&str], kind, detail: &str, hint: &str| {
            Rule::explain(When::ALWAYS, texts, kind, detail, hint)
        };
        let allow = "its administrator has to allow it, see sudo -l there";
        let rules = vec![
            Rule::asked(
                When::ALWAYS,
                &[&asks],
                Reaction::Answer(self.password.clone()),
            ),
            explain(
                &["not in the sudoers file"],
                Kind::Denied,
                "this user may not use sudo there",
                allow,
            ),
            explain(
                &["is not allowed to"],
                Kind::Denied,
                "sudo's policy does not allow this",
                allow,
            ),
            explain(
                &["may not run sudo"],
                Kind::Denied,
                "this user may not use sudo there",
                allow,
            ),
            explain(
                &["not allowed to preserve"],
                Kind::Denied,
                "sudo's policy does not let the environment be kept",
                allow,
            ),
            explain(
                &["unknown user"],
                Kind::NoSuchUser,
                "the user to become does not exist there",
                "check the name",
            ),
            explain(
                &["\"no new privileges\" flag is set"],
                Kind::Denied,
                NO_NEW_PRIVS,
                BEFORE,
            ),
            explain(
                &["effective uid is not 0"],
                Kind::Denied,
                "sudo does not have the rights that it needs",
                SETUID,
            ),
            explain(
                &["must be owned by uid 0 and have the setuid bit set"],
                Kind::Denied,
                "sudo does not have the rights that it needs",
                SETUID,
            ),
            explain(
                &["have a tty"],
                Kind::Denied,
                "sudo wants a terminal and got none it accepts",
                allow,
            ),
            Rule::explain(
                When::UNANSWERED,
                &["password is required"],
                Kind::PasswordRequired,
                "it asks for a password and none was given",
                "give one: password() in a program, password-file=PATH or a terminal on the command line",
            ),
            Rule::explain(
                When::ANSWERED,
                &["incorrect password"],
                Kind::PasswordIncorrect,
                "the password was not accepted",
                "sudo asks for the password of the user who calls it",
            ),
        ];
        let hop = hop_to("sudo", &self.user);
        // With a login, sudo gives the words to a shell and escapes all but the dollar signs.
        let attach = if self.login {
            Attach::GuardedWords
        } else {
            Attach::Words
        };
        let mut recipe = Recipe::new(hop, argv, attach);
        recipe.terminal = true;
        recipe.rules = rules;
        recipe.timeout_ms = self.timeout.as_millis() as u64;
        recipe.hint = "sudo -l there shows what is allowed".into();
        recipe
    }

    fn name(&self) -> String {
        format!("sudo.{}", self.user)
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

impl Described for Sudo {
    const SPEC: &'static Spec = &Spec {
        name: "sudo",
        argument: Argument::Text {
            key: "user",
            placeholder: "USER",
            noun: "the user to become",
            default: Some("root"),
        },
        about: "is another user of the same machine",
        options: &[
            OptionSpec::new(
                "password-file",
                Value::PasswordFile,
                "the password of the user who calls sudo",
            ),
            OptionSpec::new(
                "login",
                Value::Flag,
                "runs the start-up files of the user, as sudo -i",
            ),
            OptionSpec::new(
                "set-home",
                Value::Flag,
                "sets HOME to that of the user, as sudo -H",
            ),
            OptionSpec::new(
                "preserve-env",
                Value::Flag,
                "keeps the environment where the policy allows it, as sudo -E",
            ),
            OptionSpec::new("role", Value::Text("ROLE"), "the SELinux role, as sudo -r"),
            OptionSpec::new("type", Value::Text("TYPE"), "the SELinux type, as sudo -t"),
        ],
        notes: "",
        runs_as: RunsAs::NamedUser,
        password_of: PasswordOf::CallingUser,
    };

    fn set(&mut self, key: &str, value: &str) -> Result<(), BadOption> {
        match key {
            "user" => self.user = value.into(),
            "login" => self.login = value == "yes",
            "set-home" => self.set_home = value == "yes",
            "preserve-env" => self.preserve_env = value == "yes",
            "role" => self.role = Some(value.into()),
            "type" => self.selinux_type = Some(value.into()),
            _ => return Err(BadOption::new(key, value)),
        }
        Ok(())
    }
}

setters!(Sudo {
    /// Sets the user to become.
    user: impl Into<String> => |method| method.user = user.into();
    /// Sets HOME to the user's (`-H`).
    set_home: bool => |method| method.set_home = set_home;
    /// Keeps the environment if the policy allows it (`-E`).
    preserve_env: bool => |method| method.preserve_env = preserve_env;
    /// Sets the program, if it is not `sudo`.
    program: impl Into<String> => |method| method.program = program.into();
    /// Sets the SELinux role (`-r`).
    role: impl Into<String> => |method| method.role = Some(role.into());
    /// Sets the SELinux type (`-t`).
    selinux_type: impl Into<String> => |method| method.selinux_type = Some(selinux_type.into());
});
