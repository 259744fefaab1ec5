//! `offshoot run`: a program on one target, as ssh would run it, or on several, with labelled
//! lines.

use super::contract;
use super::streams::{forward, show, small_thread};
use crate::cli::app::{start_log, with_tree};
use crate::cli::args::Connection;
use crate::cli::connect::{Failure, Paths};
use crate::cli::event::Events;
use crate::cli::exit::{NO_READER, NOT_EXECUTABLE, NOT_FOUND, TRANSPORT, misused};
use crate::cli::ui::inlet::Inlet;
use crate::cli::ui::lines::Lines;
use crate::cli::ui::notes::tell;
use crate::cli::ui::outlet::Outlet;
use crate::cli::ui::stream::Stream;
use crate::cli::ui::{interrupts, verbose};
use clap::Args;
use offshoot::harmless;
use offshoot::methods::DEFAULT_HEARTBEAT;
use offshoot::{Command, Context, Error, ExitStatus, Process};
use serde_json::Value;
use std::ffi::OsString;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

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

A password is asked for on the terminal when a hop needs it, once for each hop, or read from the
first line of the file in password-file=PATH of the hop. With -n, PATH can be - for stdin. With
--same-password one answer is used for all hops of the same method and the same user: for ssh, the
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
    #[arg(long, value_name = "NAME")]
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
            forward_stdin,
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

/// The parts that all targets of one run share.
struct Job {
    paths: Paths,
    /// The label of each target.
    labels: Vec<String>,
    /// True if several targets were given.
    several: bool,
    command: Vec<OsString>,
    detach: Option<String>,
    end_all: bool,
    wait_streams: Option<Duration>,
    json: bool,
    forward_stdin: bool,
    stdout: Outlet,
    stderr: Outlet,
}

/// The reason why there is no exit status of the program.
enum Trouble {
    /// The target could not be reached.
    Unreached(Failure),
    /// The target was lost, or the program could not be started.
    Failed(Error),
    /// Writing our own output failed.
    Output(io::Error),
    /// This signal arrived before the program started.
    Interrupted(i32),
}

impl Job {
    /// Runs the program on all targets and returns the exit status.
    fn everywhere(self: &Arc<Self>, root: &Context, events: &Events) -> i32 {
        let threads: Vec<_> = (0..self.labels.len())
            .map(|number| {
                let (job, root, events) = (Arc::clone(self), root.clone(), events.clone());
                small_thread(move || job.at(number, &root, &events))
            })
            .collect();
        let status = |thread: io::Result<std::thread::JoinHandle<i32>>| match thread {
            Ok(thread) => thread.join().unwrap_or(TRANSPORT),
            Err(error) => {
                tell(&format!("starting a thread: {error}"));
                TRANSPORT
            }
        };
        threads.into_iter().map(status).max().unwrap_or(0)
    }

    /// Runs the program on one target, shows its output and its end, and returns the exit status.
    fn at(&self, number: usize, root: &Context, events: &Events) -> i32 {
        if let Some(name) = &self.detach {
            return self.detach(number, root, name);
        }
        let status = self.try_at(number, root, events);
        interrupts::finish(number, status, events);
        status
    }

    /// Runs the program on one target, without detaching it.
    fn try_at(&self, number: usize, root: &Context, events: &Events) -> i32 {
        let target = &self.labels[number];
        let begun = Instant::now();
        match self.attempt(number, root, events) {
            Ok(status) => {
                let (code, ms) = (status.shell_code(), begun.elapsed().as_millis());
                verbose::note(|| format!("{target}: exit status {code} after {ms} ms"));
                let shown = self.show_status(target, status);
                shown.map_or_else(|error| self.output_failed(&error), |()| status.shell_code())
            }
            Err(Trouble::Output(error)) => self.output_failed(&error),
            Err(Trouble::Interrupted(signal)) => {
                // With one target the exit status is enough.
                if self.several || self.json {
                    let sentence =
                        format!("cancelled by signal {signal} before the program was started");
                    self.show_trouble(target, target, &sentence, &[]);
                }
                128 + signal
            }
            Err(Trouble::Unreached(failure)) => self.unreached(target, &failure),
            Err(Trouble::Failed(error)) => self.failed(target, &error),
        }
    }

    /// Reports a target that could not be reached and returns the exit status for it.
    fn unreached(&self, target: &str, failure: &Failure) -> i32 {
        self.show_trouble(
            target,
            &format!("cannot reach {target}"),
            &failure.sentence(),
            &failure.output(),
        );
        TRANSPORT
    }

    /// Starts the program detached on one target and returns the exit status.
    fn detach(&self, number: usize, root: &Context, name: &str) -> i32 {
        let target = &self.labels[number];
        let context = match self.paths.wait(number, root) {
            Ok(context) => context,
            Err(failure) => return self.unreached(target, &failure),
        };
        let process = match self.command_at(&context).detached(name) {
            Ok(process) => process,
            Err(error) => return self.failed(target, &error),
        };
        let place = context.name();
        let shown = match self.json {
            true => self.stdout.write_object([
                ("target", target.as_str().into()),
                ("context", place.into()),
                ("detached", name.into()),
                ("process", process.into()),
            ]),
            false => self
                .stdout
                .write(format!("{place}: detached: {name} (process {process})\n").as_bytes()),
        };
        shown.map_or_else(|error| self.output_failed(&error), |()| 0)
    }

    /// Runs the program on one target until it has ended and its output has been shown.
    fn attempt(
        &self,
        number: usize,
        root: &Context,
        events: &Events,
    ) -> Result<ExitStatus, Trouble> {
        // Sent before the hops are up, so that the program starts without another round trip.
        let early = self
            .paths
            .expected(number)
            .map(|context| (self.command_at(&context).spawn(), context));
        let context = self.paths.wait(number, root).map_err(Trouble::Unreached)?;
        let process = match early {
            Some((process, expected)) if expected == context => process,
            _ => self.command_at(&context).spawn(),
        };
        let process = process.map_err(Trouble::Failed)?;
        interrupts::begin(number, &process).map_err(Trouble::Interrupted)?;
        self.follow(&self.labels[number], process, events)
    }

    /// Returns the program to run in a context.
    fn command_at(&self, context: &Context) -> Command {
        // `Run::run` has checked that there is at least the program.
        let mut command = context.command(&self.command[0]).args(&self.command[1..]);
        if let Some(silence) = self.wait_streams {
            command = command.wait_streams(silence);
        }
        if self.end_all {
            command.end_all()
        } else {
            command
        }
    }

    /// Copies the streams of a program until it has ended and all of its output has been shown.
    fn follow(
        &self,
        target: &str,
        mut process: Process,
        events: &Events,
    ) -> Result<ExitStatus, Trouble> {
        let stdin = process.stdin.take();
        if let Some(stdin) = stdin.filter(|_| self.forward_stdin) {
            // Not joined, because the program may end before our stdin does.
            small_thread(move || forward(stdin)).map_err(Trouble::Output)?;
        }
        let stderr = process
            .stderr
            .take()
            .map(|reader| (reader, self.stream(target, &self.stderr, "stderr")));
        let stdout = process
            .stdout
            .take()
            .map(|reader| (reader, self.stream(target, &self.stdout, "stdout")));
        let json = self.json;
        let side = small_thread({
            let events = events.clone();
            move || {
                stderr.map_or(Ok(None), |(reader, stream)| {
                    show(reader, stream, &events, json)
                })
            }
        });
        let side = side.map_err(Trouble::Output)?;
        let broken = stdout.map_or(Ok(None), |(reader, stream)| {
            show(reader, stream, events, true)
        });
        let side = side.join().unwrap_or(Ok(None));
        // If our own output fails, everything ends for that reason, and the status of the program
        // does not matter.
        let (broken, side) = (
            broken.map_err(Trouble::Output)?,
            side.map_err(Trouble::Output)?,
        );
        let status = process.wait().map_err(Trouble::Failed)?;
        match (broken, side) {
            (None, None) => Ok(status),
            (Some(why), _) | (_, Some(why)) => {
                let text = format!("the program has ended, but its output is incomplete: {why}");
                Err(Trouble::Failed(Error::Function(text)))
            }
        }
    }

    /// Returns the form in which a stream of a target is shown.
    fn stream(&self, target: &str, outlet: &Outlet, name: &'static str) -> Stream {
        let members = if name == "stdout" {
            ("stdout", "stdout_base64")
        } else {
            ("stderr", "stderr_base64")
        };
        match (self.json, self.several) {
            (true, _) => Stream::Json {
                outlet: self.stdout.clone(),
                target: target.into(),
                members,
                tail: Vec::new(),
            },
            (false, false) => Stream::Plain(outlet.clone()),
            _ => Stream::Lines(Lines::new(outlet.clone(), format!("{target}: "))),
        }
    }

    /// Shows the exit status of a program, unless our own exit status is enough.
    fn show_status(&self, target: &str, status: ExitStatus) -> io::Result<()> {
        if self.json {
            let end = match (status.code, status.signal) {
                (None, Some(signal)) => ("signal", signal.into()),
                _ => ("status", status.shell_code().into()),
            };
            return self.stdout.write_object([("target", target.into()), end]);
        }
        if self.several && !status.success() {
            match status.signal {
                Some(signal) => tell(&format!("{target}: ended by signal {signal}")),
                None => tell(&format!("{target}: exit status {}", status.shell_code())),
            }
        }
        Ok(())
    }

    /// Reports an error after the target was reached, and returns the exit status for it.
    fn failed(&self, target: &str, error: &Error) -> i32 {
        let Error::Spawn {
            program,
            errno,
            detail,
            ..
        } = error
        else {
            let what = if matches!(error, Error::Ended { .. }) {
                "no status from"
            } else {
                "lost"
            };
            self.show_trouble(
                target,
                &format!("{what} {target}"),
                &harmless(&error.to_string()),
                &[],
            );
            return TRANSPORT;
        };
        let not_found = *errno == nix::libc::ENOENT;
        // The advice of the library names a shell command. Here it comes after `--`.
        let detail = detail
            .replace("sh -c '...'", "-- sh -c '...'")
            .replace(": env ", ": -- env ");
        let text = harmless(&format!("cannot run {program:?}: {detail}"));
        self.show_trouble(target, target, &text, &[]);
        if not_found { NOT_FOUND } else { NOT_EXECUTABLE }
    }

    /// Reports a failure, as a message or as a JSON object.
    fn show_trouble(&self, target: &str, subject: &str, sentence: &str, output: &[String]) {
        if self.json {
            let mut object = vec![("target", target.into()), ("error", Value::from(sentence))];
            if !output.is_empty() {
                object.push(("output", output.to_vec().into()));
            }
            // If this cannot be written, the exit status still reports it.
            let _ = self.stdout.write_object(object);
            return;
        }
        let output: String = output
            .iter()
            .map(|line| format!("\n    | {line}"))
            .collect();
        tell(&format!("{subject}: {sentence}{output}"));
    }

    /// Reports that our own output failed, and returns the exit status for it.
    fn output_failed(&self, error: &io::Error) -> i32 {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return NO_READER;
        }
        tell(&format!("writing the output: {error}"));
        TRANSPORT
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
