//! The options that all commands share: connecting to targets. `connect.rs` applies them to hops.

use clap::{ArgAction, Args};
use offshoot::methods::{DEFAULT_HEARTBEAT, DEFAULT_TIMEOUT, HANDSHAKES};

/// The options for connecting to targets. An option of a hop itself has priority.
#[derive(Args, Debug)]
pub(super) struct Connection {
    /// Configuration file of the first ssh hop, as for ssh
    #[arg(short = 'F', value_name = "CONFIG")]
    pub config: Option<String>,
    /// Private key of the first ssh hop, as for ssh
    #[arg(short, value_name = "IDENTITY")]
    pub identity: Option<String>,
    /// Option of the first ssh hop, as for ssh; may be given several times
    #[arg(short, value_name = "OPTION")]
    pub option: Vec<String>,
    /// User of the first ssh hop, as for ssh
    #[arg(short, value_name = "USER")]
    pub login: Option<String>,
    /// Port of the first ssh hop, as for ssh
    #[arg(short, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub port: Option<u16>,
    /// Hosts to jump over on the way to the first ssh hop, as for ssh: -o ProxyJump=HOSTS
    #[arg(short = 'J', value_name = "HOSTS")]
    pub jump: Option<String>,
    /// Forward the ssh agent over the first ssh hop, as for ssh: -o ForwardAgent=yes
    #[arg(short = 'A')]
    pub forward_agent: bool,
    /// Compress the data of the first ssh hop, as for ssh
    #[arg(short = 'C')]
    pub compress: bool,
    /// No terminal for the program, as for ssh; programs never have one
    #[arg(short = 'T', hide = true)]
    pub no_terminal: bool,
    #[arg(
        long,
        value_name = "SECONDS",
        value_parser = clap::value_parser!(u32).range(1..),
        help = format!("The longest time for each hop [default: {}]", DEFAULT_TIMEOUT.as_secs()),
    )]
    pub connect_timeout: Option<u32>,
    #[arg(
        long,
        value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..),
        help = format!(
            "The most hops that log in at once at one address or over one jump host [default: {HANDSHAKES}]"
        ),
    )]
    pub handshakes: Option<u32>,
    #[arg(
        long,
        value_name = "SECONDS",
        value_parser = clap::value_parser!(u32).range(..=86_400),
        help = format!(
            "Seconds between heartbeats on the link of each hop; 0 for none [default: {DEFAULT_HEARTBEAT}]"
        ),
    )]
    pub heartbeat: Option<u32>,
    /// Never ask anything on the terminal
    #[arg(long)]
    pub no_ask: bool,
    /// Ask for a password once for all hops of the same method and user, not once for each
    #[arg(long)]
    pub ask_once: bool,
    /// Log to stderr: -v info, -vv debug, -vvv trace
    #[arg(short, long, action = ArgAction::Count)]
    pub verbose: u8,
}

impl Connection {
    /// Returns the options as words of a command line that connects in the same way.
    pub(super) fn words(&self) -> Vec<String> {
        let number = |number: Option<u32>| number.map(|number| number.to_string());
        let port = self.port.map(|port| port.to_string());
        let mut words = Vec::new();
        let mut pair = |flag: &str, value: Option<&String>| {
            words.extend(
                value
                    .into_iter()
                    .flat_map(|value| [flag.to_owned(), value.clone()]),
            );
        };
        pair("-F", self.config.as_ref());
        pair("-i", self.identity.as_ref());
        for option in &self.option {
            pair("-o", Some(option));
        }
        pair("-l", self.login.as_ref());
        pair("-p", port.as_ref());
        pair("-J", self.jump.as_ref());
        pair("--connect-timeout", number(self.connect_timeout).as_ref());
        pair("--handshakes", number(self.handshakes).as_ref());
        pair("--heartbeat", number(self.heartbeat).as_ref());
        for (flag, given) in [
            ("-A", self.forward_agent),
            ("-C", self.compress),
            ("--no-ask", self.no_ask),
            ("--ask-once", self.ask_once),
        ] {
            words.extend(given.then(|| flag.to_owned()));
        }
        words
    }
}

/// The advice for a password on the command line.
pub(super) const NO_PASSWORDS: &str = "other users could see a password here: leave it out to be asked, or name a file with it in \
                                       the target, as in web1/sudo,password-file=[PATH]";

/// Options of ssh that are not supported: their letters, and advice.
const OF_SSH: [(&str, &str); 14] = [
    (
        "t",
        "programs get no terminal; if one is needed, use ssh itself: ssh -t HOST CMD",
    ),
    (
        "LRDWw",
        "ports are not forwarded; for a tunnel use ssh itself, beside offshoot",
    ),
    (
        "N",
        "a program to run is required; for a tunnel use ssh itself, beside offshoot",
    ),
    (
        "f",
        "to run in the background, put & behind the command, or detach the program: --detach NAME",
    ),
    (
        "XY",
        "to forward X11, set the option of ssh: -o ForwardX11=yes",
    ),
    (
        "q",
        "only output and failures are printed anyway; leave it out",
    ),
    (
        "ax",
        "neither the agent nor X11 is forwarded unless requested; leave it out",
    ),
    ("MSO", "commands do not share connections; leave it out"),
    (
        "46",
        "set the option of ssh: -o AddressFamily=inet, or inet6",
    ),
    (
        "cm",
        "set the option of ssh: -o Ciphers=NAMES or -o MACs=NAMES",
    ),
    (
        "bBI",
        "set the option of ssh: -o BindAddress=, -o BindInterface= or -o PKCS11Provider=",
    ),
    (
        "eEy",
        "there is no escape character and no separate log of ssh; -v shows its messages",
    ),
    ("V", "use `offshoot --version`"),
    (
        "gGkKPQs",
        "leave it out, or set the option of ssh: -o NAME=VALUE",
    ),
];

/// Returns the advice for an option of ssh that is not supported, or `None` if ssh has no such
/// option.
pub(super) fn advice_for_ssh_option(option: &str) -> Option<&'static str> {
    let letter = option
        .strip_prefix('-')
        .filter(|letter| letter.chars().count() == 1)?;
    OF_SSH
        .iter()
        .find(|(letters, _)| letters.contains(letter))
        .map(|(_, sentence)| *sentence)
}
