//! `offshoot run`: a program at one target, as ssh would run it, or at several, line by line.

use crate::cli::app::{start_log, with_tree};
use crate::cli::args::Connection;
use crate::cli::connect::{Failure, Paths};
use crate::cli::event::{Event, Events};
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
use offshoot::{Command, Context, Error, ExitStatus, Process, Reader, Writer};
use serde_json::Value;
use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

fn about() -> String {
    let silence = 3 * DEFAULT_HEARTBEAT;
    format!(
        "\
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
from it for three of them, {silence} s unless --heartbeat says otherwise, the target is lost."
    )
}

const EXAMPLES: &str = "\
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

/// How long programs have to end after the first signal, in seconds.
const GRACE: u32 = 10;

/// The stack of a thread that only moves bytes: there may be two for each of a thousand targets.
const SMALL_STACK: usize = 256 << 10;

/// The most of stdin that is read at once.
const PIECE: usize = 64 << 10;

/// Runs a program at one target or at several
#[derive(Args, Debug)]
#[command(long_about = about(), after_long_help = EXAMPLES, override_usage = "offshoot run [OPTIONS] TARGET... -- CMD [ARG]...")]
pub struct Run {
    #[command(flatten)]
    connection: Connection,
    /// Forward no stdin: the program reads an end at once
    #[arg(short = 'n', long)]
    no_stdin: bool,
    /// Start the program and let it go under this name: it outlives this command
    #[arg(long, value_name = "NAME")]
    detach: Option<String>,
    /// End with the program all that it has started, daemons as well
    #[arg(long)]
    end_all: bool,
    /// How long others may hold its output in silence when it has ended [default: 1]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(..=86_400))]
    wait_for_streams: Option<u32>,
    /// Time for the program to end after the first Ctrl-C, SIGTERM or SIGHUP [default: 10]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(..=86_400))]
    grace: Option<u32>,
    /// Print JSON, one object a line: target with stdout, stderr, status, signal or error
    #[arg(long)]
    json: bool,
    /// Where the program is to run: paths of hops, see `offshoot help targets`
    #[arg(required = true, value_name = "TARGET")]
    targets: Vec<String>,
    /// The program and its arguments, after `--`
    #[arg(last = true, value_name = "CMD")]
    command: Vec<OsString>,
}

impl super::Command for Run {
    const NAME: &str = "run";
    const TAKES_PROGRAM: bool = true;

    fn run(self) -> ! {
        let Run { connection, no_stdin, detach, end_all, wait_for_streams, grace, json, targets, command } =
            self;
        let wait_streams = wait_for_streams.map(|seconds| Duration::from_secs(seconds.into()));
        if command.is_empty() {
            let words = match targets.as_slice() {
                [target, words @ ..] if !words.is_empty() => format!("{target} -- {}", words.join(" ")),
                _ => format!("{} -- uname -a", targets.join(" ")),
            };
            misused(format!(
                "what is to be run? The program and its arguments stand after `--`:\n    offshoot run {words}"
            ));
        }
        let log = start_log(connection.verbose);
        let forward_stdin = targets.len() == 1 && !no_stdin && detach.is_none();
        let paths = Paths::plan(targets.iter().map(String::as_str), &connection, forward_stdin)
            .unwrap_or_else(|error| misused(error));
        for (again, first) in &paths.repeated {
            let (again, first) = (harmless(again), harmless(first));
            match again == first {
                true => tell(&format!("{again} is named twice; the program runs there once")),
                false => tell(&format!("{again} is {first} again; the program runs there once, as {first}")),
            }
        }
        let labels = distinct(&paths.targets);
        let several = targets.len() > 1;
        let (stdout, stderr) = match (Outlet::stdout(), Outlet::stderr()) {
            (Ok(stdout), Ok(stderr)) => (stdout, stderr),
            (Err(error), _) | (_, Err(error)) => misused(format!("its own output: {error}")),
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
            let status =
                if job.labels.len() == 1 { job.at(0, root, events) } else { job.everywhere(root, events) };
            let note_stdin = several && !no_stdin && job.detach.is_none();
            if note_stdin && Inlet::stdin().is_ok_and(|mut stdin| stdin.has_data()) {
                tell("stdin was not forwarded, for there are several targets; -n says that this is meant");
            }
            status
        })
    }
}

/// What all targets of one run share.
struct Job {
    paths: Paths,
    /// What each target is called where it is told from others.
    labels: Vec<String>,
    /// Whether several were named.
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

/// Why there is no exit status of the program.
enum Trouble {
    /// The target could not be reached.
    Unreached(Failure),
    /// It was lost, or the program could not be started.
    Failed(Error),
    /// Our own output failed.
    Output(io::Error),
    /// This signal came before it could run.
    Interrupted(i32),
}

impl Job {
    /// Runs the program at all targets.
    fn everywhere(self: &Arc<Job>, root: &Context, events: &Events) -> i32 {
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

    /// Runs the program at one target, shows all of it, and gives the exit status.
    fn at(&self, number: usize, root: &Context, events: &Events) -> i32 {
        if let Some(name) = &self.detach {
            return self.let_go(number, root, name);
        }
        let status = self.try_at(number, root, events);
        interrupts::finish(number, status, events);
        status
    }

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
                // At one target the exit status says it all.
                if self.several || self.json {
                    let sentence = format!("given up by signal {signal} before the program was started");
                    self.show_trouble(target, target, &sentence, &[]);
                }
                128 + signal
            }
            Err(Trouble::Unreached(failure)) => self.unreached(target, &failure),
            Err(Trouble::Failed(error)) => self.failed(target, &error),
        }
    }

    fn unreached(&self, target: &str, failure: &Failure) -> i32 {
        self.show_trouble(target, &format!("cannot reach {target}"), &failure.sentence(), &failure.said());
        TRANSPORT
    }

    /// Starts the program at one target and lets it go.
    fn let_go(&self, number: usize, root: &Context, name: &str) -> i32 {
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
            false => self.stdout.write(format!("{place}: let go: {name} (process {process})\n").as_bytes()),
        };
        shown.map_or_else(|error| self.output_failed(&error), |()| 0)
    }

    fn attempt(&self, number: usize, root: &Context, events: &Events) -> Result<ExitStatus, Trouble> {
        // The order to run it goes along with the hops, so that it is there when they are.
        let early = self.paths.expected(number).map(|context| (self.command_at(&context).spawn(), context));
        let context = self.paths.wait(number, root).map_err(Trouble::Unreached)?;
        let process = match early {
            Some((process, expected)) if expected == context => process,
            _ => self.command_at(&context).spawn(),
        };
        let process = process.map_err(Trouble::Failed)?;
        interrupts::begin(number, &process).map_err(Trouble::Interrupted)?;
        self.follow(&self.labels[number], process, events)
    }

    fn command_at(&self, context: &Context) -> Command {
        // Checked where the command line was read: there is at least the program.
        let mut command = context.command(&self.command[0]).args(&self.command[1..]);
        if let Some(silence) = self.wait_streams {
            command = command.wait_streams(silence);
        }
        if self.end_all { command.end_all() } else { command }
    }

    /// Moves the streams of a program until it has ended and all it printed has been shown.
    fn follow(&self, target: &str, mut process: Process, events: &Events) -> Result<ExitStatus, Trouble> {
        let stdin = process.stdin.take();
        if let Some(stdin) = stdin.filter(|_| self.forward_stdin) {
            // Nobody waits for it: the program may end before our stdin does.
            small_thread(move || forward(stdin)).map_err(Trouble::Output)?;
        }
        let stderr =
            process.stderr.take().map(|reader| (reader, self.stream(target, &self.stderr, "stderr")));
        let stdout =
            process.stdout.take().map(|reader| (reader, self.stream(target, &self.stdout, "stdout")));
        let json = self.json;
        let side = small_thread({
            let events = events.clone();
            move || stderr.map_or(Ok(None), |(reader, stream)| show(reader, stream, &events, json))
        });
        let side = side.map_err(Trouble::Output)?;
        let broken = stdout.map_or(Ok(None), |(reader, stream)| show(reader, stream, events, true));
        let side = side.join().unwrap_or(Ok(None));
        // Where our own output fails everything is ended for that, and no status says more.
        let (broken, side) = (broken.map_err(Trouble::Output)?, side.map_err(Trouble::Output)?);
        let status = process.wait().map_err(Trouble::Failed)?;
        match (broken, side) {
            (None, None) => Ok(status),
            (Some(why), _) | (_, Some(why)) => {
                let text = format!("the program has ended, but not all it printed has arrived: {why}");
                Err(Trouble::Failed(Error::Function(text)))
            }
        }
    }

    fn stream(&self, target: &str, outlet: &Outlet, name: &'static str) -> Stream {
        let members =
            if name == "stdout" { ("stdout", "stdout_base64") } else { ("stderr", "stderr_base64") };
        match (self.json, self.several) {
            (true, _) => {
                Stream::Json { outlet: self.stdout.clone(), target: target.into(), members, tail: Vec::new() }
            }
            (false, false) => Stream::Plain(outlet.clone()),
            _ => Stream::Lines(Lines::new(outlet.clone(), format!("{target}: "))),
        }
    }

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

    /// Tells of an error after the target was reached, and gives the exit status for it.
    fn failed(&self, target: &str, error: &Error) -> i32 {
        let Error::Spawn { program, errno, detail, .. } = error else {
            let what = if matches!(error, Error::Ended { .. }) { "no status from" } else { "lost" };
            self.show_trouble(target, &format!("{what} {target}"), &harmless(&error.to_string()), &[]);
            return TRANSPORT;
        };
        let not_found = *errno == nix::libc::ENOENT;
        // What a shell has to do is said as it would be typed here.
        let detail = detail.replace("sh -c '...'", "-- sh -c '...'").replace(": env ", ": -- env ");
        let text = harmless(&format!("cannot run {program:?}: {detail}"));
        self.show_trouble(target, target, &text, &[]);
        if not_found { NOT_FOUND } else { NOT_EXECUTABLE }
    }

    fn show_trouble(&self, target: &str, subject: &str, sentence: &str, said: &[String]) {
        if self.json {
            let mut object = vec![("target", target.into()), ("error", Value::from(sentence))];
            if !said.is_empty() {
                object.push(("output", said.to_vec().into()));
            }
            // The exit status tells it as well.
            let _ = self.stdout.write_object(object);
            return;
        }
        let said: String = said.iter().map(|line| format!("\n    | {line}")).collect();
        tell(&format!("{subject}: {sentence}{said}"));
    }

    fn output_failed(&self, error: &io::Error) -> i32 {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return NO_READER;
        }
        tell(&format!("writing the output: {error}"));
        TRANSPORT
    }
}

/// Shows a stream to its end. Gives why it broke off, where it did: the program's own end says more, if that is known.
///
/// # Errors
/// When our own stream fails. If `vital`, one that nobody reads ends everything; otherwise it is drained.
fn show(mut reader: Reader, mut stream: Stream, events: &Events, vital: bool) -> io::Result<Option<String>> {
    let mut deaf = false;
    loop {
        let (result, more) = match reader.next_chunk() {
            Ok(Some(_)) if deaf => (Ok(()), Ok(true)),
            Ok(Some(bytes)) => (stream.piece(&bytes), Ok(true)),
            Ok(None) => (stream.end(), Ok(false)),
            Err(error) => (stream.end(), Err(error)),
        };
        match result {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe && !vital => deaf = true,
            Err(error) => {
                if error.kind() == io::ErrorKind::BrokenPipe {
                    // Where nobody listens any more the program is ending already.
                    let _ = events.send(Event::Finished(NO_READER));
                }
                return Err(error);
            }
            Ok(()) => {}
        }
        match more {
            Ok(true) => {}
            Ok(false) => return Ok(None),
            Err(error) => return Ok(Some(error.to_string())),
        }
    }
}

/// Moves our stdin to a program until either ends.
fn forward(mut stdin: Writer) {
    let Ok(mut source) = Inlet::stdin() else { return };
    let mut buffer = vec![0; PIECE];
    loop {
        match source.read(&mut buffer) {
            Ok(0) => return,
            Ok(count) => {
                if stdin.write_all(&buffer[..count]).is_err() {
                    return;
                }
            }
            // The program must not take what it has read for the whole. It is ended, and its end tells why.
            Err(error) => return stdin.fail(&format!("reading stdin: {error}")),
        }
    }
}

/// Targets as they are shown, no two of them alike.
fn distinct(targets: &[String]) -> Vec<String> {
    let mut labels: Vec<String> = Vec::new();
    for target in targets {
        let label = harmless(target);
        let others = targets[..labels.len()].iter().filter(|other| harmless(other) == label).count();
        labels.push(if others == 0 { label } else { format!("{label} ({})", others + 1) });
    }
    labels
}

fn small_thread<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<std::thread::JoinHandle<T>> {
    std::thread::Builder::new().stack_size(SMALL_STACK).spawn(work)
}
