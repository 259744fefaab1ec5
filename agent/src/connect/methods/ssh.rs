//! A host by the system's OpenSSH client, with the user's own configuration.

use super::{DEFAULT_TIMEOUT, Method};
use crate::connect::dialogue::{Pattern, Reaction, Rule, When};
use crate::connect::{Attach, Recipe};
use crate::error::ConnectErrorKind as Kind;
use crate::secret::Secret;
use std::time::Duration;

/// What is done about a host's key.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub enum HostKeys {
    /// As the user's configuration says; where that would ask, the answer is no.
    #[default]
    Configured,
    /// Only a key that is known already.
    Enforce,
    /// A key that was never seen is accepted and remembered; a changed one is refused (OpenSSH 7.6).
    AcceptNew,
    /// Any key is accepted and none remembered: for machines that are made anew all the time.
    Ignore,
}

/// A hop by ssh. What is not set is left to the user's ssh configuration.
#[derive(Clone, Debug)]
pub struct Ssh {
    /// The host or an alias of the configuration.
    pub host: String,
    /// The user there.
    pub user: Option<String>,
    /// The port.
    pub port: Option<u16>,
    /// A private key file.
    pub identity: Option<String>,
    /// Another configuration file, as `ssh -F`.
    pub config: Option<String>,
    /// More options, as `ssh -o`.
    pub options: Vec<String>,
    /// How long the hop may take, from start to agent.
    pub timeout: Duration,
    /// Seconds between ssh's own keepalives (three missed end it); none leaves it to the configuration.
    pub keepalive: Option<u32>,
    /// Whether ssh compresses; none leaves it to the configuration.
    pub compression: Option<bool>,
    /// What is done about the host's key.
    pub host_keys: HostKeys,
    /// The password, for password and keyboard-interactive authentication.
    pub password: Option<Secret>,
    /// The program, `ssh` unless set.
    pub program: String,
}

impl Ssh {
    /// A hop to `host`.
    pub fn new(host: impl Into<String>) -> Ssh {
        Ssh {
            host: host.into(),
            user: None,
            port: None,
            identity: None,
            config: None,
            options: Vec::new(),
            timeout: DEFAULT_TIMEOUT,
            keepalive: None,
            compression: None,
            host_keys: HostKeys::default(),
            password: None,
            program: "ssh".into(),
        }
    }

    fn argv(&self) -> Vec<String> {
        // The first value of an option wins in ssh: what must hold comes before what the user gives.
        let mut argv: Vec<String> = vec![self.program.clone(), "-T".into(), "-e".into(), "none".into()];
        let mut option = |text: &str| argv.extend(["-o".to_owned(), text.to_owned()]);
        for fixed in ["ControlMaster=no", "ControlPath=none", "RemoteCommand=none"] {
            option(fixed);
        }
        option(if self.password.is_some() { "BatchMode=no" } else { "BatchMode=yes" });
        if self.password.is_some() {
            option("NumberOfPasswordPrompts=1");
        }
        match self.host_keys {
            HostKeys::Configured => {}
            HostKeys::Enforce => option("StrictHostKeyChecking=yes"),
            HostKeys::AcceptNew => option("StrictHostKeyChecking=accept-new"),
            HostKeys::Ignore => {
                for fixed in [
                    "StrictHostKeyChecking=no",
                    "UserKnownHostsFile=/dev/null",
                    "GlobalKnownHostsFile=/dev/null",
                    "UpdateHostKeys=no",
                ] {
                    option(fixed);
                }
            }
        }
        for given in &self.options {
            option(given);
        }
        if let Some(keepalive) = self.keepalive {
            option(&format!("ServerAliveInterval={keepalive}"));
            option("ServerAliveCountMax=3");
        }
        if let Some(compression) = self.compression {
            option(if compression { "Compression=yes" } else { "Compression=no" });
        }
        option(&format!("ConnectTimeout={}", self.timeout.as_secs().max(1)));
        for behind_what_is_given in [
            // What leads from the host back here is for a person who has asked for it.
            "ClearAllForwardings=yes",
            "ForwardAgent=no",
            "ForwardX11=no",
            "Tunnel=no",
            // What a person wants to see or do here at the begin of a session would be on the link's own streams.
            "PermitLocalCommand=no",
            "VisualHostKey=no",
        ] {
            option(behind_what_is_given);
        }
        option("LogLevel=ERROR");
        let mut pair = |flag: &str, value: &Option<String>| {
            if let Some(value) = value {
                argv.extend([flag.to_owned(), value.clone()]);
            }
        };
        pair("-F", &self.config);
        pair("-i", &self.identity);
        pair("-l", &self.user);
        pair("-p", &self.port.map(|port| port.to_string()));
        argv.extend(["--".into(), self.host.clone()]);
        argv
    }
}

impl Method for Ssh {
    fn recipe(&self, _nonce: &str) -> Recipe {
        let answered_wrong = "the password was not accepted";
        let lines = |texts: &[&str], kind, detail: &str, hint: &str| {
            Rule::explain(When::Always, texts, kind, detail, hint)
        };
        let look_at_key = "connect once with plain ssh to look at it, or use host-keys=accept-new";
        let reach = "check the name, the port and the network; ssh -v says more";
        let mut rules = vec![
            Rule::explain(
                When::Answered,
                &["Permission denied"],
                Kind::PasswordIncorrect,
                answered_wrong,
                "check the password and the user",
            ),
            Rule::explain(
                When::Unanswered,
                &["Permission denied (", "password"],
                Kind::PasswordRequired,
                "no key was accepted; the host would take a password",
                "give one (password(), password-file=PATH on the command line), or a key (identity(), -i)",
            ),
            Rule::explain(
                When::Unanswered,
                &["Permission denied (", "keyboard-interactive"],
                Kind::PasswordRequired,
                "no key was accepted; the host would take a password",
                "give one (password(), password-file=PATH on the command line), or a key (identity(), -i)",
            ),
            lines(
                &["Permission denied ("],
                Kind::Denied,
                "the host accepted none of our keys",
                "check the user and the key, or give one (identity(), -i)",
            ),
            lines(
                &["Host key verification failed"],
                Kind::HostKey,
                "the host's key is unknown or has changed",
                look_at_key,
            ),
            lines(
                &["Could not resolve hostname"],
                Kind::Unreachable,
                "the name of the host is unknown",
                reach,
            ),
            lines(
                &["Connection refused"],
                Kind::Unreachable,
                "nothing listens at that port of the host",
                reach,
            ),
            lines(&["timed out"], Kind::Unreachable, "the host does not answer", reach),
            lines(&["No route to host"], Kind::Unreachable, "there is no route to the host", reach),
            lines(&["Network is unreachable"], Kind::Unreachable, "there is no route to the host", reach),
        ];
        for prompt in ["password:", "password for"] {
            rules.push(Rule {
                pattern: Pattern::Prompt(prompt.into()),
                when: When::Always,
                reaction: Reaction::Answer(self.password.clone()),
            });
        }
        rules.push(Rule {
            pattern: Pattern::Prompt("continue connecting (yes/no".into()),
            when: When::Always,
            reaction: Reaction::Explain {
                kind: Kind::HostKey,
                detail: "the host's key is unknown".into(),
                hint: look_at_key.into(),
            },
        });
        rules.push(Rule {
            pattern: Pattern::Prompt("continue connecting".into()),
            when: When::Always,
            reaction: Reaction::Explain {
                kind: Kind::HostKey,
                detail: "the host's key is unknown".into(),
                hint: "connect once with plain ssh to look at it, or use host-keys=accept-new".into(),
            },
        });
        // A key that is locked and not in an agent is of no use here; ssh goes on to the next way.
        rules.push(Rule {
            pattern: Pattern::Prompt("passphrase for key".into()),
            when: When::Always,
            reaction: Reaction::Skip,
        });
        // The terminal that ssh asks on knows the password; a window that the controller's environment wants does not.
        let never = || (b"SSH_ASKPASS_REQUIRE".to_vec(), b"never".to_vec());
        let env = self.password.is_some().then(never).into_iter().collect();
        let mut hop = "ssh:".to_owned();
        if let Some(user) = &self.user {
            hop.push_str(user);
            hop.push('@');
        }
        hop.push_str(&self.host);
        if let Some(port) = self.port {
            hop.push_str(&format!(":{port}"));
        }
        Recipe {
            key: format!("{hop} {}", self.config.as_deref().unwrap_or_default()),
            hop,
            argv: self.argv(),
            env,
            attach: Attach::Line,
            terminal: self.password.is_some(),
            rules,
            timeout_ms: self.timeout.as_millis() as u64,
            hint: "ssh -v to the same host says more".into(),
        }
    }

    fn name(&self) -> String {
        match self.port {
            Some(port) if port != 22 => format!("ssh.{}:{port}", self.host),
            _ => format!("ssh.{}", self.host),
        }
    }

    fn set_timeout(&mut self, timeout: Duration) {
        self.timeout = timeout;
    }

    fn set_password(&mut self, password: Secret) {
        self.password = Some(password);
    }
}
