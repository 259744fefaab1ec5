//! `test`: every test of the workspace, and a closing report of what was covered.
//!
//! Unit, property and documentation tests run here, as anywhere. The package `offshoot-tests` drives real sshd and sudo, so
//! each of its test programs gets a [`sandbox`] of its own and runs one test at a time: a test that leaves something
//! behind is found out by name. What could not run is reported with its reason, and fails when `CI` is `true`.

pub mod guide;
pub mod packages;
pub mod projects;
pub mod sandbox;
pub mod sandboxed;

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::workspace::{Outcome, cargo, target_directory};
use crate::{agents, dist};

/// Seconds after which a test program is killed: a hung test must not hang the whole run.
const LIMIT: &str = "900";

/// The suite that runs the example projects.
const PROJECTS_SUITE: &str = "agent_delivery";

/// What one test program, or one cargo run of several, has said about itself.
#[derive(Default)]
struct Tally {
    name: String,
    passed: u64,
    failed: u64,
    success: bool,
}

/// A finished program that libtest made.
struct TestProgram {
    name: String,
    path: PathBuf,
}

/// `test [--skip-build] [FILTER...]`: all tests, or those whose name, or whose suite's name, holds one of the filters.
///
/// # Errors
/// When a test fails, or nothing could be built.
pub fn run(words: &[String]) -> Outcome {
    let skip_build = words.iter().any(|word| word == "--skip-build");
    let filters: Vec<&String> = words.iter().filter(|word| *word != "--skip-build").collect();
    let mut skipped = Vec::new();
    let root = nix::unistd::geteuid().is_root();
    if root {
        packages::require()?;
    } else {
        let reason = packages::require().map_or_else(|error| format!(", {error}"), |()| String::new());
        skipped.push(format!("end-to-end suites: namespaces and users need root{reason}"));
    }
    if root && let Err(error) = packages::arm64_busybox() {
        println!("no busybox for aarch64: {error}");
    }
    if !skip_build && root {
        agents::run(&[])?;
        // The agent with functions of its own that the suite `calls` needs, for this machine alone.
        let target = format!("{}-unknown-linux-musl", std::env::consts::ARCH);
        agents::run(&["--package", "offshoot-test-agent", "--target", &target].map(str::to_owned))?;
        dist::run(&[])?;
        // Outside the sandbox, where neither toolchain nor registry is to be seen.
        let wanted =
            |suite: &str| filters.is_empty() || filters.iter().any(|filter| suite.contains(filter.as_str()));
        if wanted(PROJECTS_SUITE) {
            projects::build()?;
        }
        if wanted(guide::SUITE) {
            guide::run(&[])?;
        }
    }
    let mut tallies = vec![outside(&filters)?];
    if root {
        let notes = target_directory().join("test-skips");
        let _ = fs::remove_file(&notes);
        for program in test_programs()? {
            tallies.push(inside(&program, &filters, &notes)?);
        }
        skipped.extend(fs::read_to_string(&notes).unwrap_or_default().lines().map(str::to_owned));
    }
    if !filters.is_empty() && tallies.iter().all(|tally| tally.success && tally.passed == 0) {
        return Err("no test has a name that contains one of the filters".into());
    }
    report(&tallies, &skipped)
}

fn outside(filters: &[&String]) -> Result<Tally, Box<dyn std::error::Error>> {
    let mut command = cargo();
    command
        .args(["test", "--workspace", "--exclude", "offshoot-tests", "--no-fail-fast", "--"])
        .args(filters);
    count(command, "unit, property and documentation tests")
}

fn inside(
    program: &TestProgram,
    filters: &[&String],
    notes: &Path,
) -> Result<Tally, Box<dyn std::error::Error>> {
    // A suite that is named runs whole.
    let whole = filters.iter().any(|filter| program.name.contains(filter.as_str()));
    let filters = if whole { &[] } else { filters };
    println!("\n     Running {} in a sandbox", program.name);
    let mut command = sandboxed::command(Path::new("/usr/bin/timeout"))?;
    command.args(["--kill-after=5", LIMIT]).arg(&program.path).arg("--test-threads=1").args(filters);
    command.env("OFFSHOOT_SKIPS", notes);
    count(command, &format!("suite {}", program.name))
}

/// Builds the test programs of `offshoot-tests` and finds them in cargo's messages.
fn test_programs() -> Result<Vec<TestProgram>, Box<dyn std::error::Error>> {
    let mut command = cargo();
    command.args(["test", "--no-run", "--package", "offshoot-tests", "--lib", "--tests", "--bins"]);
    command.args(["--message-format", "json-render-diagnostics"]);
    let output = command.stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err("the end-to-end suites do not compile".into());
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let messages = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut programs: Vec<TestProgram> = messages.filter_map(|message| test_program(&message)).collect();
    programs.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(programs)
}

fn test_program(message: &Value) -> Option<TestProgram> {
    let is_test = message["profile"]["test"].as_bool()?;
    let kind = message["target"]["kind"][0].as_str()?;
    if !is_test || kind == "bin" {
        return None;
    }
    let name = message["target"]["name"].as_str()?.to_owned();
    Some(TestProgram { name, path: message["executable"].as_str()?.into() })
}

/// Runs a command, shows what it prints and adds up its `test result:` lines.
fn count(mut command: Command, name: &str) -> Result<Tally, Box<dyn std::error::Error>> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let mut tally = Tally { name: name.to_owned(), ..Tally::default() };
    let mut screen = std::io::stdout();
    let mut reader = BufReader::new(child.stdout.take().ok_or("stdout is piped")?);
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line)? > 0 {
        screen.write_all(&line)?;
        screen.flush()?;
        let text = String::from_utf8_lossy(&line);
        if let Some(result) = text.split_once("test result: ") {
            tally.passed += number_before(result.1, " passed");
            tally.failed += number_before(result.1, " failed");
        }
        line.clear();
    }
    tally.success = child.wait()?.success();
    Ok(tally)
}

fn number_before(text: &str, word: &str) -> u64 {
    let before = text.split(word).next().unwrap_or_default();
    before
        .rsplit(|letter: char| !letter.is_ascii_digit())
        .next()
        .and_then(|digits| digits.parse().ok())
        .unwrap_or(0)
}

fn report(tallies: &[Tally], skipped: &[String]) -> Outcome {
    println!("\ncovered:");
    for tally in tallies {
        let verdict = if tally.success { "ok" } else { "FAILED" };
        println!("  {:<44} {:>4} passed, {} failed: {verdict}", tally.name, tally.passed, tally.failed);
    }
    for reason in skipped {
        println!("  skipped: {reason}");
    }
    let strict = std::env::var("CI").is_ok_and(|value| value == "true") && !skipped.is_empty();
    let broken = tallies.iter().filter(|tally| !tally.success).count();
    let (passed, failed) = tallies.iter().fold((0, 0), |sum, one| (sum.0 + one.passed, sum.1 + one.failed));
    let verdict = if broken == 0 && !strict { "ok" } else { "FAILED" };
    println!("\ntest result: {verdict}. {passed} passed; {failed} failed; {} skipped", skipped.len());
    match (broken, strict) {
        (0, false) => Ok(()),
        (0, true) => Err("with CI=true a skipped suite is a failure".into()),
        _ => Err(format!("{broken} of {} runs failed", tallies.len()).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::number_before;

    #[test]
    fn counts_are_read_from_a_result_line() {
        let line = "ok. 12 passed; 3 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s";
        assert_eq!((number_before(line, " passed"), number_before(line, " failed")), (12, 3));
    }
}
