//! The closing report: what was covered, how long it took, what was slowest.

use std::fs;
use std::time::Duration;

use super::jobs::Finished;
use crate::workspace::{Outcome, target_directory};

/// The number of tests that the report calls slow.
const SLOWEST: usize = 5;

/// Prints the report of a run.
///
/// # Errors
/// Returns an error if a job failed, or a test was skipped and `CI` is `true`, or the file with the
/// seconds of every test cannot be written.
pub(super) fn print(finished: &[Finished], skipped: &[String]) -> Outcome {
    println!("\ncovered:");
    let mut rows: Vec<&Finished> = finished.iter().collect();
    rows.sort_by(|one, other| one.name.cmp(&other.name));
    for row in rows {
        println!("  {}", self::row(row));
    }
    let file = target_directory().join("test-seconds");
    let lines: Vec<String> = slowest(finished).into_iter().map(line).collect();
    fs::write(&file, lines.join(""))?;
    print!(
        "slowest tests ({} has all):\n{}",
        file.display(),
        lines[..SLOWEST.min(lines.len())].join("")
    );
    for reason in skipped {
        println!("  skipped: {reason}");
    }
    let strict = std::env::var("CI").is_ok_and(|value| value == "true") && !skipped.is_empty();
    let broken = finished.iter().filter(|one| !one.success).count();
    let (passed, failed) = finished
        .iter()
        .fold((0, 0), |sum, one| (sum.0 + one.passed, sum.1 + one.failed));
    let verdict = if broken == 0 && !strict {
        "ok"
    } else {
        "FAILED"
    };
    println!(
        "\ntest result: {verdict}. {passed} passed; {failed} failed; {} skipped",
        skipped.len()
    );
    match (broken, strict) {
        (0, false) => Ok(()),
        (0, true) => Err("with CI=true a skipped suite is a failure".into()),
        _ => Err(format!("{broken} of {} programs failed", finished.len()).into()),
    }
}

fn row(row: &Finished) -> String {
    let verdict = match (row.success, row.timed_out) {
        (true, _) => "ok",
        (false, false) => "FAILED",
        (false, true) => "FAILED: killed at the end of its budget",
    };
    let seconds = row.took.as_secs_f64();
    format!(
        "{:<40} {:>4} passed, {} failed {seconds:>7.1} s: {verdict}",
        row.name, row.passed, row.failed
    )
}

fn line((took, job, test): (Duration, &str, &str)) -> String {
    format!("  {:>7.1} s  {job}: {test}\n", took.as_secs_f64())
}

/// Returns the tests of all jobs with their times, the slowest first.
fn slowest(finished: &[Finished]) -> Vec<(Duration, &str, &str)> {
    let tests = finished.iter().flat_map(|job| {
        job.tests
            .iter()
            .map(|(name, took)| (*took, job.name.as_str(), name.as_str()))
    });
    let mut tests: Vec<_> = tests.collect();
    tests.sort_by(|one, other| other.cmp(one));
    tests
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finished(name: &str, tests: &[(&str, u64)]) -> Finished {
        let tests = tests
            .iter()
            .map(|(name, took)| ((*name).to_owned(), Duration::from_secs(*took)));
        Finished {
            name: name.to_owned(),
            tests: tests.collect(),
            success: true,
            ..Finished::default()
        }
    }

    #[test]
    fn the_slowest_tests_are_those_of_all_jobs() {
        let jobs = [
            finished("a", &[("x", 1), ("y", 9), ("z", 2)]),
            finished("b", &[("x", 5), ("w", 3), ("v", 4)]),
        ];
        let seconds: Vec<_> = slowest(&jobs)
            .iter()
            .map(|(took, job, _)| (took.as_secs(), *job))
            .collect();
        assert_eq!(
            seconds[..5],
            [(9, "a"), (5, "b"), (4, "b"), (3, "b"), (2, "a")]
        );
    }

    #[test]
    fn a_row_says_why_a_job_failed() {
        assert!(row(&finished("a", &[])).ends_with("0.0 s: ok"));
        let killed = Finished {
            success: false,
            timed_out: true,
            ..finished("a", &[])
        };
        assert!(row(&killed).ends_with("budget"));
    }
}
