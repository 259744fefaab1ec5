//! The options that all commands share: how targets are reached. What they mean for hops is in
//! [`connect`](super::connect).

use clap::{ArgAction, Args};
use offshoot::methods::{DEFAULT_HEARTBEAT, DEFAULT_TIMEOUT, HANDSHAKES};

/// How targets are reached. What a hop says itself goes before what stands here.
#[derive(Args, Debug)]
pub struct Connection {
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
    /// Compress what goes over the first ssh hop, as for ssh
    #[arg(short = 'C')]
    pub compress: bool,
    /// As for ssh: no terminal for the program, which it has not got anyhow
    #[arg(short = 'T', hide = true)]
    pub no_terminal: bool,
    #[arg(
        long,
        value_name = "SECONDS",
        value_parser = clap::value_parser!(u32).range(1..),
        help = format!("The longest that each hop may take [default: {}]", DEFAULT_TIMEOUT.as_secs()),
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
    /// Never ask for a password on the terminal
    #[arg(long)]
    pub no_ask: bool,
    /// Ask for a password once for all hops of the same method and user, not once for each
    #[arg(long)]
    pub same_password: bool,
    /// Log to stderr what happens: -v info, -vv debug, -vvv trace
    #[arg(short, long, action = ArgAction::Count)]
    pub verbose: u8,
}

/// What options of ssh mean here that are not taken: the letters, and a sentence with the way out.
const OF_SSH: [(&str, &str); 14] = [
    ("t", "programs get no terminal; where one is needed, use ssh itself: ssh -t HOST CMD"),
    ("LRDWw", "nothing is forwarded; for a tunnel use ssh itself, beside offshoot"),
    ("N", "there is always a program to run; for a tunnel use ssh itself, beside offshoot"),
    ("f", "to have the command in the background, put & behind it, or let the program go: --detach NAME"),
    ("XY", "X11 is forwarded by a hop that asks ssh for it: -o ForwardX11=yes"),
    ("q", "nothing is printed but output and failures, so leave it out"),
    ("ax", "nothing is forwarded that was not asked for, so leave it out"),
    ("MSO", "connections are not shared between commands, so leave it out"),
    ("46", "name the family as an option of ssh: -o AddressFamily=inet, or inet6"),
    ("cm", "name them as options of ssh: -o Ciphers=NAMES, -o MACs=NAMES"),
    ("bBI", "name it as an option of ssh: -o BindAddress=, -o BindInterface=, -o PKCS11Provider="),
    ("eEy", "there is neither an escape character nor a log of ssh's own; -v tells what ssh says"),
    ("V", "`offshoot --version` tells the version"),
    ("gGkKPQs", "leave it out, or name it as an option of ssh: -o NAME=VALUE"),
];

/// What is said of an option of ssh that is not taken; none where ssh has none of that letter.
pub fn of_ssh(option: &str) -> Option<&'static str> {
    let letter = option.strip_prefix('-').filter(|letter| letter.chars().count() == 1)?;
    OF_SSH.iter().find(|(letters, _)| letters.contains(letter)).map(|(_, sentence)| *sentence)
}
