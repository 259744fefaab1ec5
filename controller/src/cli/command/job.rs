//! The job of `offshoot run`: one program on each target, with its streams and its exit status.

use super::streams::{forward, show, small_thread};
use crate::cli::connect::{Failure, Paths};
use crate::cli::event::Events;
use crate::cli::exit::{NO_READER, NOT_EXECUTABLE, NOT_FOUND, TRANSPORT};
use crate::cli::ui::lines::Lines;
use crate::cli::ui::notes::tell;
use crate::cli::ui::outlet::Outlet;
use crate::cli::ui::stream::Stream;
use crate::cli::ui::{interrupts, verbose};
use offshoot::harmless;
use offshoot::{Command, Context, Error, ExitStatus, Process};
use serde_json::Value;
use std::ffi::OsString;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The parts that all targets of one run share.
pub(super) struct Job {
    pub(super) paths: Paths,
    /// The label of each target.
    pub(super) labels: Vec<String>,
    /// True if several targets were given.
    pub(super) several: bool,
    pub(super) command: Vec<OsString>,
    pub(super) detach: Option<String>,
    pub(super) end_all: bool,
    pub(super) wait_streams: Option<Duration>,
    pub(super) json: bool,
    pub(super) forward_stdin: bool,
    pub(super) stdout: Outlet,
    pub(super) stderr: Outlet,
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
    pub(super) fn everywhere(self: &Arc<Self>, root: &Context, events: &Events) -> i32 {
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
    pub(super) fn at(&self, number: usize, root: &Context, events: &Events) -> i32 {
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
