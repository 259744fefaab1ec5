//! The words of the command line, and the help that explains them. It decides nothing: what the options mean for hops
//! is in [`connect`](super::connect).

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use std::ffi::OsString;

/// Run programs behind any nesting of ssh and sudo, with nothing installed on the way.
#[derive(Parser, Debug)]
#[command(name = "offshoot", version, disable_help_subcommand = true, after_help = EXAMPLES, max_term_width = 100)]
pub struct Arguments {
    /// What is to be done.
    #[command(subcommand)]
    pub action: Action,
}

/// What can be done.
#[derive(Subcommand, Debug)]
pub enum Action {
    /// Runs a program at one target or at several
    #[command(long_about = RUN, after_long_help = RUN_EXAMPLES, override_usage = "offshoot run [OPTIONS] TARGET... -- CMD [ARG]...")]
    Run(Run),
    /// Measures round trips to a target
    #[command(long_about = PING, after_long_help = PING_EXAMPLES)]
    Ping(Ping),
    /// Explains a subject: `offshoot help targets` has the grammar of targets
    Help {
        /// What is to be explained.
        #[arg(value_enum)]
        subject: Option<Subject>,
    },
}

/// What `offshoot help` explains.
#[derive(ValueEnum, Copy, Clone, Debug)]
pub enum Subject {
    /// How targets are written.
    Targets,
    /// The command `run`.
    Run,
    /// The command `ping`.
    Ping,
}

/// `offshoot run`.
#[derive(Args, Debug)]
pub struct Run {
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would show it")]
    pub connection: Connection,
    /// Forward no stdin: the program reads an end at once
    #[arg(short = 'n', long)]
    pub no_stdin: bool,
    /// Start the program and let it go under this name: it outlives this command
    #[arg(long, value_name = "NAME")]
    pub detach: Option<String>,
    /// End with the program all that it has started, daemons as well
    #[arg(long)]
    pub end_all: bool,
    /// How long others may hold its output in silence when it has ended [default: 1]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(..=86_400))]
    pub wait_for_streams: Option<u32>,
    /// Time for the program to end after the first Ctrl-C, SIGTERM or SIGHUP [default: 10]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(..=86_400))]
    pub grace: Option<u32>,
    /// Print JSON, one object a line: target with stdout, stderr, status, signal or error
    #[arg(long)]
    pub json: bool,
    /// Where the program is to run: paths of hops, see `offshoot help targets`
    #[arg(required = true, value_name = "TARGET")]
    pub targets: Vec<String>,
    /// The program and its arguments, after `--`
    #[arg(last = true, value_name = "CMD")]
    pub command: Vec<OsString>,
}

/// `offshoot ping`.
#[derive(Args, Debug)]
pub struct Ping {
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would show it")]
    pub connection: Connection,
    /// How many round trips to make
    #[arg(short, long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub count: u32,
    /// Print one JSON object: target, connect_ms, count, min_us, median_us, max_us
    #[arg(long)]
    pub json: bool,
    /// A path of hops, see `offshoot help targets`
    #[arg(value_name = "TARGET")]
    pub target: String,
}

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
    /// The longest that each hop may take [default: 30]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..))]
    pub connect_timeout: Option<u32>,
    /// The most hops that log in at once at one address or over one jump host [default: 10]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub handshakes: Option<u32>,
    /// Seconds between heartbeats on the link of each hop; 0 for none [default: 15]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(..=86_400))]
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

const EXAMPLES: &str = "\
Examples:
  offshoot run web1 -- uname -a               by ssh, as your ssh configuration says
  offshoot run deploy@web1/sudo -- id -u      as root, behind ssh and sudo
  offshoot run web1 web2 web3 -- uptime       at several hosts at once
  offshoot ping bastion/ssh:db7               how far away is it?

`offshoot run --help` says more, and `offshoot help targets` how targets are written.
A target needs Linux and a POSIX shell. Nothing is installed there, and nothing is left.";

const RUN: &str = "\
Runs a program at one target or at several, as a careful `ssh TARGET CMD` would.

The arguments arrive as they are given; no shell takes them apart. Where a shell is wanted, name
one: `offshoot run web1 -- sh -c 'cd /srv && ls *.log | wc -l'`.

At one target stdin is forwarded, output comes unchanged and at once, and the exit status is that
of the program, or 128 and the number of the signal that ended it. Several targets are reached and
run in parallel; each line has its target before it, stdin is not forwarded, and the exit status is
0 where all succeeded and else the highest.

Output goes on until all who hold it have ended, or have written nothing for a second when the
program has ended; --wait-for-streams sets another time.

The first Ctrl-C, SIGTERM or SIGHUP that this command gets is passed on to the program, which has
--grace seconds to end; its output is still shown, and its status is its own. The second one ends
everything.

When the program ends by itself, daemons that it has started stay: what has a session of its own and
holds none of its streams. All else that it has started is ended, and with --end-all daemons are as
well. When this command is ended, or a host is lost, everything ends. -v tells what was ended and
what goes on. With --detach NAME the program is started without streams and let go: it goes on by
itself, and its process number is printed.

A host that vanishes without a word, or hangs, is noticed by its heartbeats: when nothing has come
from it for three of them, 45 s unless --heartbeat says otherwise, the target is lost.";

const RUN_EXAMPLES: &str = "\
Exit status:
  that of the program; 128 and the signal's number where one ended it
  126  the program was found but could not be executed
  127  the program was not found
  255  a target could not be reached or was lost; stderr says at which hop, and why
  2    the command line was wrong

The variable OFFSHOOT_LOG says more exactly than -v what is logged: pieces by commas, such as
warn,offshoot_agent=debug; `io` logs the header of each frame of this process.

With --json, the stdout objects of a target put together are its output, byte for byte, and so for
stderr; a piece that is not UTF-8 comes as stdout_base64 or stderr_base64. What a remote said before
a failure comes with the error, as said.

Passwords are asked for on the terminal where one is needed, once for each hop, or read from the
first line of the file that password-file=PATH on the hop names; with -n, PATH can be - for stdin.
With --same-password one answer is for all hops of the same method and the same user: of ssh, the
user to log in as (hops that name none count as of one), of sudo, the user who calls it.

Examples:
  offshoot run local -- uname -a
  offshoot run web1/sudo -- systemctl is-active nginx
  offshoot run -i key -p 2222 deploy@web1/sudo:postgres -- psql -c 'select 1'
  offshoot run 'web1/sudo,password-file=[/run/secrets/web1]' -- id
  offshoot run ssh:bastion/ssh:db7/sudo -- tar -C /etc -cz . > etc.tar.gz
  offshoot run web1/sudo -- tee /etc/motd < motd
  offshoot run --detach backup web1/sudo -- /usr/local/sbin/backup --all
  offshoot run --json web1 web2 -- df -P / | jq .";

const PING: &str = "\
Measures round trips to a target: how long it takes to connect, and then how long an empty call
takes to go there and back.";

const PING_EXAMPLES: &str = "\
Examples:
  offshoot ping web1
  offshoot ping -c 100 deploy@web1/sudo
  offshoot ping --json local/sudo";

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

/// The grammar of targets, for people.
pub const TARGETS: &str = "\
A target is a path of hops, separated by /, that begins at this machine:

    web1                              a host by ssh, under the name that your ssh knows
    deploy@web1:2222                  with user and port
    web1/sudo                         root there, by sudo
    ssh:bastion/ssh:db7/sudo:postgres two hosts, the second by the first's ssh, and a user there
    local, local/sudo                 this machine

A hop is METHOD:ARGUMENT,KEY=VALUE,... and a word that is not a method is an ssh host; ssh:sudo is
a host named sudo. Hops that several targets have in common, options included, are taken once.

ssh:[USER@]HOST[:PORT] runs the ssh of the machine where the hop begins, with the configuration and
the keys there:
    user=USER  port=PORT
    identity=PATH           a private key, as ssh -i
    config=PATH             another configuration file, as ssh -F
    option=NAME=VALUE       as ssh -o; may be given several times
    connect-timeout=SECONDS the longest that the hop may take
    keepalive=SECONDS       between keepalives of ssh itself
    compression=yes|no
    host-keys=enforce       only a key that is known; accept-new: a new host's key is accepted and
                            kept; ignore: any key is accepted
    password-file=PATH
  The options -F, -i, -o, -l, -p, -C, -J and -A say the same for the first ssh hop of each target,
  where the hop does not say it itself; -J HOSTS is option=ProxyJump=HOSTS, which jumps with the
  keys of this machine, and -A is option=ForwardAgent=yes.
  A password answers that host's own question for it; a jump host, a code or a locked key get none.

sudo or sudo:USER; USER is root unless given:
    password-file=PATH
    login                   start-up files of the user, as sudo -i
    set-home                HOME is the user's, as sudo -H
    preserve-env            keeps the environment where the policy allows it, as sudo -E
    role=ROLE  type=TYPE    of SELinux
    timeout=SECONDS         the longest that the hop may take

local is a child on the machine where the hop begins:
    shell=PATH              brings it up through this POSIX shell, as on a remote host
    login-shell=PATH        brings it up through a login shell of any kind
    timeout=SECONDS

Password files are read on this machine: the first line, without its end.

Text in square brackets is taken as it is, and outside of them %XX is a byte in hexadecimal, so
that / and , and : can be written:
    'sudo,password-file=[/etc/web1]'     the same: sudo,password-file=%2Fetc%2Fweb1
    'deploy@[2001:db8::7]:2222'          an IPv6 address
Mind that [ and ] mean something to some shells, hence the quotes around.";
