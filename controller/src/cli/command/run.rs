//! `offshoot run`: a program on one target, as ssh would run it, or on several, with labelled
//! lines.

use super::contract;
use super::job::Job;
use crate::cli::app::{start_log, with_tree};
use crate::cli::args::Connection;
use crate::cli::connect::{Passwords, Paths};
use crate::cli::exit::misused;
use crate::cli::ui::inlet::Inlet;
use crate::cli::ui::interrupts;
use crate::cli::ui::notes::tell;
use crate::cli::ui::outlet::Outlet;
use clap::Args;
use offshoot::harmless;
use offshoot::methods::DEFAULT_HEARTBEAT;
use std::ffi::OsString;
use std::sync::Arc;
use std::time::Duration;

/// Returns the long help text.
fn about() -> String {
    let silence = 3 * DEFAULT_HEARTBEAT;
    format!(
        "\
Run a program on one or more targets, like a careful `ssh TARGET CMD`.

The arguments arrive exactly as given: no shell splits or expands them. For the syntax of a shell,
run one: `offshoot run web1 -- sh -c 'cd /srv && ls *.log | wc -l'`.

With one target, stdin is forwarded, output is passed through unchanged and at once, and the exit
status is that of the program, or 128 plus the number of the signal that ended it. Several targets
run in parallel. Each line of output has its target as a prefix, stdin is not forwarded, and the
exit status is 0 if all programs succeeded, and otherwise the highest one.

Output is shown until all processes that hold it have ended. After the end of the program it is cut
off once they have written nothing for one second; --wait-for-streams sets another time.

The first Ctrl-C, SIGTERM or SIGHUP is passed on to the program, which has --grace seconds to end.
Its output is still shown, and the exit status is its own. The second one ends everything.

When the program ends by itself, the daemons that it started keep running: processes with a session
of their own that hold none of its streams. All other processes that it started are ended, and with
--end-all the daemons as well. When this command ends, or a host is lost, everything ends. -v logs
which processes were ended and which keep running. With --detach NAME the program starts detached
and without streams: it outlives this command, which prints its process number.

Heartbeats detect a host that disappears or hangs: a target is lost when nothing has arrived from it
for three of them, {silence} s unless --heartbeat sets another interval."
    )
}

const EXAMPLES: &str = "\
Exit status:
  that of the program, or 128 plus the number of the signal that ended it
  126  the program was found but could not be executed
  127  the program was not found
  255  a target could not be reached or was lost; stderr has the hop and the reason
  2    the command line was wrong

The variable OFFSHOOT_LOG selects log records more exactly than -v, by directives separated by
commas, such as warn,offshoot_agent=debug; `io` logs the header of each frame of this process.

With --json, the stdout values of a target are, put together, its output, byte for byte, and so are
the stderr values. A piece that is not UTF-8 is in stdout_base64 or stderr_base64. The lines that a
hop printed before a failure come with the error, in the member output.

Questions of a hop are put to you on the terminal, under the name of the hop: passwords, codes,
passphrases, unknown host keys. A password can be read from the first line of a file instead, with
password-file=PATH in the hop. With -n, PATH can be - for stdin. With
--ask-once one answer is used for all hops of the same method and the same user: for ssh, the
user to log in as (hops without a user count as the same), for sudo, the user who calls it.

Examples:
  offshoot run local -- uname -a
  offshoot run web1/sudo -- systemctl is-active nginx
  offshoot run -i key -p 2222 deploy@web1/sudo:postgres -- psql -c 'select 1'
  offshoot run 'web1/sudo,password-file=[/run/secrets/web1]' -- id
  offshoot run ssh:bastion/ssh:db7/sudo -- tar -C /etc -cz . > etc.tar.gz
  offshoot run web1/sudo -- tee /etc/motd < motd
  offshoot run --detach backup web1/sudo -- /usr/local/sbin/backup --all
  offshoot run --json web1 web2 -- df -P / | jq .";

/// The time for programs to end after the first signal, in seconds.
const GRACE: u32 = 10;

/// Run a program on one or more targets
#[derive(Args, Debug)]
#[command(long_about = about(), after_long_help = EXAMPLES, override_usage = "offshoot run [OPTIONS] TARGET... -- CMD [ARG]...")]
pub(super) struct Run {
    #[command(flatten)]
    connection: Connection,
    /// Do not forward stdin: the program reads end of file at once
    #[arg(short = 'n', long)]
    no_stdin: bool,
    /// Start the program detached under this name: it outlives this command
    #[arg(long, value_name = "NAME", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    detach: Option<String>,
    /// When the program ends, end all that it has started, daemons as well
    #[arg(long)]
    end_all: bool,
    /// Time without output until the streams of an ended program are closed [default: 1]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(..=86_400))]
    wait_for_streams: Option<u32>,
    /// Time for the program to end after the first Ctrl-C, SIGTERM or SIGHUP [default: 10]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(..=86_400))]
    grace: Option<u32>,
    /// Print JSON, one object per line: target with stdout, stderr, status, signal or error
    #[arg(long)]
    json: bool,
    /// The targets, each a path of hops: see `offshoot help targets`
    #[arg(required = true, value_name = "TARGET")]
    targets: Vec<String>,
    /// The program and its arguments, after `--`
    #[arg(last = true, value_name = "CMD")]
    command: Vec<OsString>,
}

impl contract::Command for Run {
    const NAME: &str = "run";
    const TAKES_PROGRAM: bool = true;

    fn run(self) -> ! {
        let Self {
            connection,
            no_stdin,
            detach,
            end_all,
            wait_for_streams,
            grace,
            json,
            targets,
            command,
        } = self;
        let wait_streams = wait_for_streams.map(|seconds| Duration::from_secs(seconds.into()));
        if command.is_empty() {
            let words = match targets.as_slice() {
                [target, words @ ..] if !words.is_empty() => {
                    format!("{target} -- {}", words.join(" "))
                }
                _ => format!("{} -- uname -a", targets.join(" ")),
            };
            misused(format!(
                "no program to run; the program and its arguments come after `--`:\n    offshoot run {words}"
            ));
        }
        let log = start_log(connection.verbose);
        let forward_stdin = targets.len() == 1 && !no_stdin && detach.is_none();
        let paths = Paths::plan(
            targets.iter().map(String::as_str),
            &connection,
            Passwords::Read {
                stdin_is_forwarded: forward_stdin,
            },
        )
        .unwrap_or_else(|error| misused(error));
        for (again, first) in &paths.repeated {
            let (again, first) = (harmless(again), harmless(first));
            match again == first {
                true => tell(&format!(
                    "{again} is given twice; the program runs there once"
                )),
                false => tell(&format!(
                    "{again} is the same target as {first}; the program runs there once, as {first}"
                )),
            }
        }
        let labels = distinct(&paths.targets);
        let several = targets.len() > 1;
        let (stdout, stderr) = match (Outlet::stdout(), Outlet::stderr()) {
            (Ok(stdout), Ok(stderr)) => (stdout, stderr),
            (Err(error), _) | (_, Err(error)) => misused(format!("opening the output: {error}")),
        };
        let job = Arc::new(Job {
            paths,
            labels,
            several,
            command,
            detach,
            end_all,
            wait_streams,
            json,
            forward_stdin,
            stdout,
            stderr,
        });
        let grace = Duration::from_secs(grace.unwrap_or(GRACE).into());
        interrupts::expect(job.labels.len());
        with_tree(log, grace, move |root, events| {
            job.paths.open(root);
            let status = if job.labels.len() == 1 {
                job.at(0, root, events)
            } else {
                job.everywhere(root, events)
            };
            let note_stdin = several && !no_stdin && job.detach.is_none();
            if note_stdin && Inlet::stdin().is_ok_and(|mut stdin| stdin.has_data()) {
                tell("stdin is not forwarded to several targets; pass -n to silence this warning");
            }
            status
        })
    }
}

/// Returns the labels of targets, no two of them the same.
fn distinct(targets: &[String]) -> Vec<String> {
    let mut labels: Vec<String> = Vec::new();
    for target in targets {
        let label = harmless(target);
        let others = targets[..labels.len()]
            .iter()
            .filter(|other| harmless(other) == label)
            .count();
        labels.push(if others == 0 {
            label
        } else {
            format!("{label} ({})", others + 1)
        });
    }
    labels
}
