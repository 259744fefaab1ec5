//! Runs test programs side by side and takes the time of each test.
//!
//! A program runs one test at a time, so the time of a test is that between the lines of two
//! results. Nothing here knows what the programs are.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Mutex, mpsc};
use std::time::{Duration, Instant};

/// Programs for each processor. Suites mostly wait: for handshakes, deadlines and processes that
/// end.
const EACH_PROCESSOR: usize = 1;

/// The exit code of `timeout` for a program whose time is over.
const TIMED_OUT: i32 = 124;

/// A program that is to run.
pub(super) struct Job {
    /// Its name in the report.
    pub name: String,
    /// The program with its arguments.
    pub command: Command,
    /// Its budget. The command enforces it; here, jobs with a large budget start first.
    pub seconds: u64,
    /// True if nothing may run beside it.
    pub alone: bool,
}

/// A job that has ended.
#[derive(Debug, Default)]
pub(super) struct Finished {
    /// The name of the job.
    pub name: String,
    /// How many tests passed.
    pub passed: u64,
    /// How many tests failed.
    pub failed: u64,
    /// True if the program says that all is well.
    pub success: bool,
    /// True if the program was killed at the end of its budget.
    pub timed_out: bool,
    /// The time from start to end.
    pub took: Duration,
    /// The tests with their times, in the order in which they ran.
    pub tests: Vec<(String, Duration)>,
}

/// Runs all jobs, some at a time, and shows what each prints when it has ended.
///
/// # Errors
/// Returns an error if a program cannot be started.
pub(super) fn run(
    mut jobs: Vec<Job>,
    at_a_time: Option<usize>,
) -> Result<Vec<Finished>, Box<dyn std::error::Error>> {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let at_a_time = at_a_time.unwrap_or(processors * EACH_PROCESSOR);
    jobs.sort_by_key(|job| std::cmp::Reverse(job.seconds));
    let (alone, beside): (Vec<Job>, Vec<Job>) = jobs.into_iter().partition(|job| job.alone);
    let mut finished = side_by_side(beside, at_a_time)?;
    finished.extend(side_by_side(alone, 1)?);
    Ok(finished)
}

fn side_by_side(jobs: Vec<Job>, at_a_time: usize) -> std::io::Result<Vec<Finished>> {
    let waiting = Mutex::new(VecDeque::from(jobs));
    let (sender, receiver) = mpsc::channel();
    std::thread::scope(|scope| {
        for _ in 0..at_a_time {
            let (sender, waiting) = (sender.clone(), &waiting);
            scope.spawn(move || {
                // The guard is dropped at once: jobs must not run one after the other.
                while let Some(job) = { waiting.lock().ok().and_then(|mut jobs| jobs.pop_front()) }
                {
                    // Only one at a time can be shown as it runs.
                    if sender.send(run_one(job, at_a_time == 1)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        let mut all = Vec::new();
        for result in receiver {
            let (finished, printed) = result?;
            print!("{}", String::from_utf8_lossy(&printed));
            all.push(finished);
        }
        Ok(all)
    })
}

/// Runs one job; returns what came of it and what it has printed, unless that was shown `live`.
fn run_one(mut job: Job, live: bool) -> std::io::Result<(Finished, Vec<u8>)> {
    let mut printed = format!("\n     Running {}\n", job.name).into_bytes();
    let (reader, writer) = std::io::pipe()?;
    job.command
        .stdin(Stdio::null())
        .stdout(writer.try_clone()?)
        .stderr(writer);
    let begun = Instant::now();
    let mut child = job.command.spawn()?;
    // The command holds the writing end of the pipe, which must be closed for the reader to see its
    // end.
    drop(job.command);
    let mut watch = Watch {
        finished: Finished {
            name: job.name,
            ..Finished::default()
        },
        since: begun,
    };
    let mut reader = BufReader::new(reader);
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line)? > 0 {
        watch.line(&String::from_utf8_lossy(&line), Instant::now());
        printed.append(&mut line);
        if live {
            print!("{}", String::from_utf8_lossy(&printed));
            printed.clear();
        }
    }
    let status = child.wait()?;
    Ok((watch.end(status, begun.elapsed()), printed))
}

/// Reads the lines of one program as they come.
struct Watch {
    finished: Finished,
    /// When the test began that is running.
    since: Instant,
}

impl Watch {
    fn line(&mut self, line: &str, now: Instant) {
        if line.starts_with("running ") {
            self.since = now;
        } else if let Some((name, _)) = line
            .strip_prefix("test ")
            .and_then(|rest| rest.split_once(" ... "))
        {
            self.finished.tests.push((plain(name), now - self.since));
            self.since = now;
        }
        if let Some((_, result)) = line.split_once("test result: ") {
            self.finished.passed += number_before(result, " passed");
            self.finished.failed += number_before(result, " failed");
        }
    }

    fn end(mut self, status: ExitStatus, took: Duration) -> Finished {
        self.finished.success = status.success();
        self.finished.timed_out = status.code() == Some(TIMED_OUT);
        self.finished.took = took;
        self.finished
    }
}

/// Returns a text without the colours of a terminal, which trybuild writes into pipes as well.
fn plain(text: &str) -> String {
    let mut pieces = text.split("\u{1b}[");
    let first = pieces.next().unwrap_or_default();
    let rest = pieces.map(|piece| piece.split_once('m').map_or(piece, |(_, rest)| rest));
    std::iter::once(first).chain(rest).collect()
}

fn number_before(text: &str, word: &str) -> u64 {
    let before = text.split(word).next().unwrap_or_default();
    before
        .rsplit(|letter: char| !letter.is_ascii_digit())
        .next()
        .and_then(|digits| digits.parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(name: &str, script: &str, seconds: u64) -> Job {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Job {
            name: name.to_owned(),
            command,
            seconds,
            alone: false,
        }
    }

    #[test]
    fn counts_are_read_from_a_result_line() {
        let line =
            "ok. 12 passed; 3 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s";
        assert_eq!(
            (
                number_before(line, " passed"),
                number_before(line, " failed")
            ),
            (12, 3)
        );
    }

    #[test]
    fn each_test_has_the_time_between_two_results() {
        let begun = Instant::now();
        let at = |seconds| begun + Duration::from_secs(seconds);
        let mut watch = Watch {
            finished: Finished::default(),
            since: begun,
        };
        watch.line("running 2 tests\n", at(1));
        watch.line("test one ... ok\n", at(3));
        watch.line("what a program prints\n", at(4));
        let coloured = "test \u{1b}[0m\u{1b}[1mtwo::three\u{1b}[0m ... \u{1b}[0m\u{1b}[31mFAILED\n";
        watch.line(coloured, at(8));
        watch.line(
            "test result: FAILED. 1 passed; 1 failed; 0 ignored\n",
            at(9),
        );
        let finished = watch.end(ExitStatus::default(), Duration::from_secs(9));
        let tests = [("one", 2), ("two::three", 5)];
        assert_eq!(
            finished.tests,
            tests.map(|(name, took)| (name.to_owned(), Duration::from_secs(took)))
        );
        assert_eq!((finished.passed, finished.failed), (1, 1));
    }

    #[test]
    fn jobs_run_side_by_side_and_fail_alone() {
        // Each waits for the other: one at a time they would never end.
        let folder = std::env::temp_dir().join(format!("offshoot-jobs-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let meet = |own: &str, other: &str| {
            let folder = folder.display();
            format!(
                "touch {folder}/{own}; until test -e {folder}/{other}; do sleep 0.01; done; test {own} = a"
            )
        };
        let jobs = vec![job("a", &meet("a", "b"), 1), job("b", &meet("b", "a"), 2)];
        let mut finished = run(jobs, Some(2)).unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
        finished.sort_by(|one, other| one.name.cmp(&other.name));
        let seen: Vec<_> = finished
            .iter()
            .map(|one| (one.name.as_str(), one.success))
            .collect();
        assert_eq!(seen, [("a", true), ("b", false)]);
    }

    #[test]
    fn a_job_that_is_killed_by_its_budget_says_so() {
        let finished = run(vec![job("slow", "exit 124", 1)], Some(1)).unwrap();
        assert!(finished[0].timed_out && !finished[0].success);
    }
}
