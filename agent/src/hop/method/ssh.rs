//! `ssh`: a host, by the OpenSSH client of the system with the configuration of the user.

use super::spec::{
    Argument, BadOption, Described, OptionSpec, PasswordOf, RunsAs, Spec, Value, number,
};
use super::ssh_rules;
use super::traits::{DEFAULT_TIMEOUT, Method};
use crate::context::Context;
use crate::hop::Hop;
use crate::hop::setters::setters;
use offshoot_codec::Secret;
use offshoot_proto::connect::recipe::{Attach, Recipe};
use std::time::Duration;

/// The script before ssh, up to the settings that it changes: see [`Ssh::script`].
const BEFORE: &str = r#"n=$0 p=$1 u= h= t= a= j= c=
shift
say(){ printf '%s %s\n' "$n" "$1" >&2;}
command -v "$p" >/dev/null 2>&1||{ say none;exit 127;}
set -f
IFS='
'
for l in $("$p" -G "$@" </dev/null 2>/dev/null);do v=${l#* };case $l in
'user '*)u=$v;;
'hostname '*)h=$v;;
'port '*)t=$v;;
'hostkeyalias '*)a=$v;;
'proxyjump none'|'proxycommand none');;
'proxyjump '*)j=$v;;
'proxycommand '*)c=$v;;
"#;
/// The rest of the script: see [`Ssh::script`].
const BEHIND: &str = r#"w=
if [ "$h" ];then say "name $u@$h";say "name $h";[ "$a" ]&&say "name $u@$a"
if [ "$j" ];then w=$j;say "over $j";elif [ "$c" ];then w=$c;say command;say "over $c";else w="$h $t";say direct;fi;fi
say "way $w"
read -r l||exit
"#;
/// Fills the request for the session with a variable, which doubles the congestion window of a new
/// TCP connection for the image behind it. The request, with the command as its last word, takes
/// just less than the ten segments that a new connection may send, also in a tunnel: a byte more
/// costs the round trip that it saves. A server drops variables that its `AcceptEnv` does not name.
const PAD: &str = "for l;do :;done
OFFSHOOT_PAD=$(printf %$((13200-${#l}))s)
export OFFSHOOT_PAD
set -- -o SendEnv=OFFSHOOT_PAD \"$@\"
";
/// Removes the variable from the environment of the agent where a server has taken it.
const UNPAD: &str = "unset OFFSHOOT_PAD;";
/// The number of hops that log in at once by the same route, unless set: the most that sshd accepts
/// without dropping any (`MaxStartups 10:30:100`).
pub const HANDSHAKES: u32 = 10;

/// Settings that break a link, ask the user or disclose credentials, as `ssh -G` prints them, with
/// their replacements. Some clients do not know them, so a replacement is passed only to a client
/// that prints the setting.
const DISTURBING: [(&str, &str); 8] = [
    ("sessiontype none", "SessionType=default"),
    ("sessiontype subsystem", "SessionType=default"),
    ("stdinnull yes", "StdinNull=no"),
    ("forkafterauthentication yes", "ForkAfterAuthentication=no"),
    ("updatehostkeys ask", "UpdateHostKeys=no"),
    ("addkeystoagent ask", "AddKeysToAgent=no"),
    ("channeltimeout ", "ChannelTimeout=none"),
    (
        "gssapidelegatecredentials yes",
        "GSSAPIDelegateCredentials=no",
    ),
];

/// Options with which there is no link, and the values that they may have, in small letters. In the
/// configuration they are replaced; one that is requested is refused.
const WITHOUT_LINK: [(&str, &[&str]); 4] = [
    ("sessiontype", &["default"]),
    ("stdinnull", &["no", "false"]),
    ("forkafterauthentication", &["no", "false"]),
    ("remotecommand", &["none"]),
];

/// Returns true if an option, as for `ssh -o`, leaves no link.
fn is_without_link(option: &str) -> bool {
    let option = option.to_ascii_lowercase();
    let between = |c: char| c == '=' || c.is_whitespace();
    let (name, value) = option.trim().split_once(between).unwrap_or_default();
    let value = value.trim_matches(|c| between(c) || c == '"');
    WITHOUT_LINK
        .iter()
        .any(|(known, allowed)| *known == name && !allowed.contains(&value))
}

/// The policy for host keys.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum HostKeys {
    /// The policy of the user's configuration. A question is answered with no.
    #[default]
    Configured,
    /// Accepts only a known key.
    Enforce,
    /// Accepts and stores the key of a new host, and refuses a changed one (OpenSSH 7.6).
    AcceptNew,
    /// Accepts any key and stores none, for machines that are reinstalled all the time.
    Ignore,
}

impl Context {
    /// Returns a hop by ssh from this context to a host.
    #[must_use]
    pub fn ssh(&self, host: impl Into<String>) -> Hop<Ssh> {
        self.hop(Ssh::new(host))
    }
}

/// A hop by ssh. The user's ssh configuration supplies all that is not set.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Ssh {
    /// The host or an alias of the configuration.
    pub host: String,
    /// The user to log in as.
    pub user: Option<String>,
    /// The port.
    pub port: Option<u16>,
    /// A private key file, as `ssh -i`.
    pub identity: Option<String>,
    /// Another configuration file, as `ssh -F`.
    pub config: Option<String>,
    /// Further options, as `ssh -o`.
    pub options: Vec<String>,
    /// The longest time for the hop, from its start until its agent runs.
    pub timeout: Duration,
    /// Seconds between keepalives of ssh itself, of which three lost ones end it. `None` leaves
    /// this to the configuration.
    pub keepalive: Option<u32>,
    /// True if ssh compresses. `None` leaves this to the configuration.
    pub compression: Option<bool>,
    /// The policy for host keys.
    pub host_keys: HostKeys,
    /// The password, for password and keyboard-interactive authentication.
    pub password: Option<Secret>,
    /// True if somebody answers its questions; see [`Hop::on_prompt`].
    pub interactive: bool,
    /// The program; `ssh` unless set.
    pub program: String,
    /// The number of hops from one context that may log in at once by the same route: the address,
    /// or the `ProxyJump`, that `ssh -G` shows.
    pub handshakes: u32,
    /// True if the first result is made faster: the connection does not hold back small packets
    /// (Nagle's algorithm), and its congestion window is opened before the image is sent.
    pub fast: bool,
    /// True if a master connection of the user's own, which runs already, is used.
    pub control: bool,
}

impl Ssh {
    /// Returns a hop to `host`.
    pub fn new(host: impl Into<String>) -> Self {
        Self {
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
            interactive: false,
            program: "ssh".into(),
            handshakes: HANDSHAKES,
            fast: true,
            control: false,
        }
    }

    /// Returns true if the user's options set the same setting as this option.
    fn sets(&self, option: &str) -> bool {
        let name = |text: &str| {
            text.split(['=', ' '])
                .next()
                .unwrap_or_default()
                .to_ascii_lowercase()
        };
        self.options
            .iter()
            .any(|given| name(given.trim_start()) == name(option))
    }

    /// Returns the script that runs before ssh. It prints the user, the host and the route that
    /// `ssh -G` shows, and the place where ssh leads if the hop does not name it. It replaces
    /// disturbing settings, waits for a line of stdin, and executes ssh. `$0` is the prefix of its
    /// own lines, and the arguments are ssh and its arguments.
    fn script(&self) -> String {
        let mut script = String::new();
        if self.asks() {
            // We answer on the terminal, so ssh must not ask in a window that the environment
            // configures.
            script.push_str("SSH_ASKPASS_REQUIRE=never;export SSH_ASKPASS_REQUIRE\n");
        }
        script.push_str(BEFORE);
        for (line, option) in DISTURBING.iter().filter(|(_, option)| !self.sets(option)) {
            script.push_str(&format!("'{line}'*)set -- -o {option} \"$@\";;\n"));
        }
        script.push_str("esac;done\n");
        let given = format!(
            "{}:{}",
            self.host.to_ascii_lowercase(),
            self.port.unwrap_or(22)
        );
        script.push_str(&format!(
            "case $h:$t in :|{});;*:*:*)say \"place $u@[$h]:$t\";;*)say \"place $u@$h:$t\";;esac\n",
            quoted(&given)
        ));
        script.push_str(BEHIND);
        if self.fast {
            script.push_str(PAD);
        }
        script.push_str("exec \"$p\" \"$@\"");
        script
    }

    /// Returns the command that connects to the host by hand.
    fn plain(&self) -> String {
        let port = self.port.map(|port| port.to_string());
        let flags = [
            ("-F", &self.config),
            ("-i", &self.identity),
            ("-l", &self.user),
            ("-p", &port),
        ];
        let given = flags
            .iter()
            .filter_map(|(flag, value)| Some((*flag, value.as_ref()?)));
        let options = self.options.iter().map(|option| ("-o", option));
        let mut words = vec![quoted(&self.program)];
        for (flag, value) in given.chain(options) {
            words.extend([flag.to_owned(), quoted(value)]);
        }
        words.push(quoted(&self.host));
        words.join(" ")
    }

    /// Returns true if ssh may ask on its terminal.
    fn asks(&self) -> bool {
        self.password.is_some() || self.interactive
    }

    fn argv(&self) -> Vec<String> {
        // ssh uses the first value of an option, so the required ones come before those of the
        // user.
        let mut argv: Vec<String> = vec![
            self.program.clone(),
            "-T".into(),
            "-e".into(),
            "none".into(),
        ];
        let mut option = |text: &str| argv.extend(["-o".to_owned(), text.to_owned()]);
        // A master of our own would stay behind and hold the streams of the link.
        for fixed in ["ControlMaster=no", "RemoteCommand=none"] {
            option(fixed);
        }
        if !self.control {
            option("ControlPath=none");
        }
        option(if self.asks() {
            "BatchMode=no"
        } else {
            "BatchMode=yes"
        });
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
            option(if compression {
                "Compression=yes"
            } else {
                "Compression=no"
            });
        }
        option(&format!("ConnectTimeout={}", self.timeout.as_secs().max(1)));
        for behind_what_is_given in [
            // A forwarding from the host back to this machine has to be requested.
            "ClearAllForwardings=yes",
            "ForwardAgent=no",
            "ForwardX11=no",
            "Tunnel=no",
            // Local commands and pictures at the start of a session would go to the streams of the
            // link.
            "PermitLocalCommand=no",
            "VisualHostKey=no",
        ] {
            option(behind_what_is_given);
        }
        // Debug messages show how far ssh came. The rules drop those that do not interest a user.
        option("LogLevel=DEBUG");
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

/// Returns a word as a shell reads it.
fn quoted(word: &str) -> String {
    let safe = |c: char| c.is_ascii_alphanumeric() || "-_./:@=,+%".contains(c);
    match !word.is_empty() && word.chars().all(safe) {
        true => word.into(),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    }
}

impl Method for Ssh {
    fn recipe(&self, nonce: &str) -> Recipe {
        let mut hop = "ssh:".to_owned();
        if let Some(user) = &self.user {
            hop.push_str(user);
            hop.push('@');
        }
        hop.push_str(&self.host);
        if let Some(port) = self.port {
            hop.push_str(&format!(":{port}"));
        }
        let nonce = format!("[offshoot {nonce}]");
        let mut argv = vec!["sh".into(), "-c".into(), self.script(), nonce.clone()];
        argv.extend(self.argv());
        let mut recipe = Recipe::new(hop, argv, Attach::Line);
        let config = self.config.as_deref().unwrap_or_default();
        recipe.key = format!("{} {config}", recipe.hop);
        recipe.at_once = self.handshakes.max(1);
        recipe.terminal = self.asks();
        recipe.rules = ssh_rules::rules(
            &nonce,
            (&self.program, &self.plain()),
            (self.password.as_ref(), self.interactive),
            !self.sets("LogLevel="),
            self.fast,
        );
        if self.fast {
            recipe.prelude = UNPAD.into();
        }
        recipe.timeout_ms = self.timeout.as_millis() as u64;
        recipe.hint = "run ssh -v to the same host for details".into();
        recipe
    }

    fn check(&self) -> Result<(), BadOption> {
        match self.options.iter().find(|option| is_without_link(option)) {
            Some(option) => Err(BadOption::new("option", option).because(
                "the link is a session of ssh with its stdin and a command of its own; leave it out",
            )),
            None => Ok(()),
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

    fn set_interactive(&mut self) {
        self.interactive = true;
    }

    fn set_handshakes(&mut self, count: u32) {
        self.handshakes = count;
    }
}

impl Default for Ssh {
    /// Returns a hop without a host, which still has to be set.
    fn default() -> Self {
        Self::new("")
    }
}

impl Described for Ssh {
    const SPEC: &'static Spec = &Spec {
        name: "ssh",
        argument: Argument::Host,
        about: "is a host, reached by the ssh of the machine where the hop begins, with the configuration and the keys there",
        options: &[
            OptionSpec::new(
                "user",
                Value::Text("USER"),
                "the user to log in as, as ssh -l",
            ),
            OptionSpec::new("port", Value::PORT, "the port, as ssh -p"),
            OptionSpec::new("identity", Value::Text("PATH"), "a private key, as ssh -i"),
            OptionSpec::new(
                "config",
                Value::Text("PATH"),
                "another configuration file, as ssh -F",
            ),
            OptionSpec::new(
                "option",
                Value::Texts("NAME=VALUE"),
                "as ssh -o; may be given several times",
            ),
            OptionSpec::new(
                "keepalive",
                Value::SECONDS_OR_NEVER,
                "between keepalives of ssh itself; 0 for none",
            ),
            OptionSpec::new("compression", Value::YesNo, "compresses, as ssh -C"),
            OptionSpec::new(
                "fast",
                Value::YesNo,
                "no leaves Nagle's algorithm on and the congestion window closed, which delays the first result by \
                 two or three round trips",
            ),
            OptionSpec::new(
                "control",
                Value::YesNo,
                "uses your own master connection (ControlPath of the configuration) if one is running; never makes one",
            ),
            OptionSpec::new(
                "host-keys",
                Value::Choice {
                    noun: "policy for host keys",
                    words: &["enforce", "accept-new", "ignore"],
                },
                "enforce accepts only a key that is known; accept-new also accepts the key of a new host and keeps \
                 it; ignore accepts any key",
            ),
            OptionSpec::new(
                "password-file",
                Value::PasswordFile,
                "the password of the user to log in as",
            ),
        ],
        notes: "A password answers the question of that host itself. Those of a jump host, for a code, for the \
                passphrase of a key or about a host key are put to you.",
        runs_as: RunsAs::NamedUser,
        password_of: PasswordOf::TargetUser,
    };

    fn set(&mut self, key: &str, value: &str) -> Result<(), BadOption> {
        match key {
            "host" => self.host = value.into(),
            "user" => self.user = Some(value.into()),
            "port" => self.port = Some(number(key, value)?),
            "identity" => self.identity = Some(value.into()),
            "config" => self.config = Some(value.into()),
            "option" => self.options.push(value.into()),
            "keepalive" => self.keepalive = Some(number(key, value)?),
            "compression" => self.compression = Some(value == "yes"),
            "fast" => self.fast = value == "yes",
            "control" => self.control = value == "yes",
            "host-keys" => {
                self.host_keys = match value {
                    "enforce" => HostKeys::Enforce,
                    "accept-new" => HostKeys::AcceptNew,
                    "ignore" => HostKeys::Ignore,
                    _ => return Err(BadOption::new(key, value)),
                }
            }
            _ => return Err(BadOption::new(key, value)),
        }
        Ok(())
    }
}

setters!(Ssh {
    /// Sets the user to log in as.
    user: impl Into<String> => |method| method.user = Some(user.into());
    /// Sets the port.
    port: u16 => |method| method.port = Some(port);
    /// Sets a private key file, as `ssh -i`.
    identity: impl Into<String> => |method| method.identity = Some(identity.into());
    /// Sets another configuration file, as `ssh -F`.
    config: impl Into<String> => |method| method.config = Some(config.into());
    /// Adds an option, as `ssh -o`.
    option: impl Into<String> => |method| method.options.push(option.into());
    /// Sets the seconds between keepalives of ssh itself.
    keepalive: u32 => |method| method.keepalive = Some(keepalive);
    /// Sets the number of hops from one context that may log in at once by the same route, 10
    /// unless set. The route is the address that `ssh -G` shows, or its `ProxyJump` or
    /// `ProxyCommand`. Further hops are queued, and their time limits begin when they start.
    handshakes: u32 => |method| method.handshakes = handshakes;
    /// Turns compression on or off.
    compression: bool => |method| method.compression = Some(compression);
    /// Turns off or on that the first result is made faster, as it is unless set: the connection
    /// does not hold back small packets (Nagle's algorithm), and its congestion window is opened
    /// before the image is sent.
    fast: bool => |method| method.fast = fast;
    /// Sets whether a master connection of the user's own is used, whose socket is the
    /// `ControlPath` of the configuration. If none is running, or it refuses another session, ssh
    /// connects by itself. This hop never makes a master, whatever `ControlMaster` says.
    control: bool => |method| method.control = control;
    /// Sets the program, if it is not `ssh`.
    program: impl Into<String> => |method| method.program = program.into();
    /// Sets the policy for host keys.
    host_keys: HostKeys => |method| method.host_keys = host_keys;
});
