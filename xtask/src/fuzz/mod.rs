//! `fuzz`: runs the fuzz targets of `tests/fuzz` under libFuzzer, on the stable toolchain and
//! without cargo-fuzz.
//!
//! Only the sanitizers would need a nightly toolchain, and they are not used: the code under test
//! is safe Rust, and a broken promise is a panic. Every toolchain has LLVM's coverage pass.
//! libFuzzer is compiled from the crate `libfuzzer-sys`, which needs a C++ compiler.

mod corpus;
mod folders;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::workspace::{Outcome, cargo};
use folders::{artifacts, folder, scratch, tree};

/// The targets in the order in which they start: the slowest first.
const TARGETS: [&str; 9] = [
    "routes", "messages", "dialogue", "boot", "frames", "records", "names", "flow", "targets",
];

/// Seconds for each target without `--smoke`.
const SECONDS: u64 = 300;
/// Seconds for each target with `--smoke`, and the number of targets that run at a time.
/// Nine targets run in two rounds; with four at a time, a third round would have one target only.
const SMOKE: (u64, usize) = (60, 5);

/// The flags for what libFuzzer observes: counters at every edge, and both sides of every
/// comparison.
const FLAGS: [&str; 6] = [
    "--cfg=fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
];

/// The words of `fuzz`, read.
#[derive(Debug, PartialEq)]
struct Wish {
    targets: Vec<String>,
    seconds: u64,
    jobs: usize,
    minimize: bool,
    reproduce: Option<PathBuf>,
}

/// Runs `fuzz [TARGET...] [--smoke] [--seconds N] [--jobs N] [--minimize] [--reproduce FILE]`.
///
/// # Errors
/// Returns an error if a target finds a failure, or the targets cannot be built.
pub(crate) fn run(words: &[String]) -> Outcome {
    let wish = wish(words)?;
    compiler()?;
    let programs = build(&wish.targets)?;
    if let Some(file) = &wish.reproduce {
        let [(_, program)] = &programs[..] else {
            return Err("--reproduce takes one target".into());
        };
        let status = Command::new(program)
            .arg("-timeout=60")
            .arg(file)
            .status()?;
        return if status.success() {
            Ok(())
        } else {
            Err(format!("the failure is still there: {status}").into())
        };
    }
    let findings = all(&programs, &wish)?;
    if wish.minimize && findings.is_empty() {
        for (name, program) in &programs {
            corpus::merge(name, program)?;
        }
    }
    match findings.len() {
        0 => Ok(()),
        count => Err(format!(
            "{count} of {} targets found a failure: {}",
            programs.len(),
            findings.join(", ")
        )
        .into()),
    }
}

fn wish(words: &[String]) -> Result<Wish, Box<dyn std::error::Error>> {
    let mut wish = Wish {
        targets: Vec::new(),
        seconds: SECONDS,
        jobs: 2,
        minimize: false,
        reproduce: None,
    };
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word} needs a value"));
        match word.as_str() {
            "--smoke" => (wish.seconds, wish.jobs) = SMOKE,
            "--seconds" => wish.seconds = value()?.parse()?,
            "--jobs" => wish.jobs = value()?.parse::<usize>()?.max(1),
            "--minimize" => wish.minimize = true,
            "--reproduce" => wish.reproduce = Some(std::env::current_dir()?.join(value()?)),
            name if TARGETS.contains(&name) => wish.targets.push(name.to_owned()),
            other => {
                return Err(format!(
                    "there is no target {other:?}; the targets are {}",
                    TARGETS.join(", ")
                )
                .into());
            }
        }
    }
    if wish.targets.is_empty() {
        wish.targets = TARGETS.map(str::to_owned).to_vec();
    }
    Ok(wish)
}

/// Checks that there is a C++ compiler for libFuzzer.
fn compiler() -> Outcome {
    let name = std::env::var("CXX").unwrap_or_else(|_| "c++".into());
    match Command::new(&name).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status() {
        Ok(status) if status.success() => Ok(()),
        _ => Err(format!(
            "there is no C++ compiler {name} to build libFuzzer with; install one: apt-get install g++"
        )
        .into()),
    }
}

fn build(targets: &[String]) -> Result<Vec<(String, PathBuf)>, Box<dyn std::error::Error>> {
    let triple = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let mut command = cargo();
    command.args([
        "build",
        "--release",
        "--manifest-path",
        "tests/fuzz/Cargo.toml",
    ]);
    // With --target, the flags do not apply to build scripts and macros.
    command
        .args(["--target", &triple, "--target-dir"])
        .arg(folder());
    for name in targets {
        command.args(["--bin", name]);
    }
    command
        .env("CARGO_ENCODED_RUSTFLAGS", FLAGS.join("\u{1f}"))
        .env_remove("RUSTFLAGS");
    if !command.status()?.success() {
        return Err("the fuzz targets do not compile".into());
    }
    let built = folder().join(triple).join("release");
    Ok(targets
        .iter()
        .map(|name| (name.clone(), built.join(name)))
        .collect())
}

/// A running target.
struct Running {
    name: String,
    child: Child,
    log: PathBuf,
    began: Instant,
}

/// Runs all targets, some at a time; returns the names of those that found a failure.
fn all(
    programs: &[(String, PathBuf)],
    wish: &Wish,
) -> Result<Vec<String>, Box<dyn std::error::Error>> {
    let mut waiting = programs.iter();
    let mut running: Vec<Running> = Vec::new();
    let mut findings = Vec::new();
    loop {
        while running.len() < wish.jobs {
            let Some((name, program)) = waiting.next() else {
                break;
            };
            running.push(start(name, program, wish.seconds)?);
        }
        if running.is_empty() {
            return Ok(findings);
        }
        std::thread::sleep(Duration::from_millis(200));
        let mut at = 0;
        while at < running.len() {
            match running[at].child.try_wait()? {
                None => at += 1,
                Some(status) => {
                    let run = running.swap_remove(at);
                    if !report(&run, status.success())? {
                        findings.push(run.name);
                    }
                }
            }
        }
    }
}

fn start(name: &str, program: &Path, seconds: u64) -> Result<Running, Box<dyn std::error::Error>> {
    // A seed has 32 bits, and 0 would make libFuzzer choose one that is not printed here.
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let seed = (now.as_nanos() as u32) | 1;
    for folder in [
        scratch(name),
        artifacts(name),
        tree(name),
        folder().join("logs"),
    ] {
        fs::create_dir_all(folder)?;
    }
    println!("{name}: {seconds} s, seed {seed}");
    let log = folder().join("logs").join(name);
    let child = Command::new(program)
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-seed={seed}"))
        .arg(format!("-max_len={}", corpus::longest(name)))
        .arg(format!("-artifact_prefix={}/", artifacts(name).display()))
        .args(["-timeout=60", "-rss_limit_mb=1024", "-print_final_stats=1"])
        // libFuzzer writes new inputs to the first folder.
        .args([scratch(name), tree(name)])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(fs::File::create(&log)?)
        .spawn()?;
    Ok(Running {
        name: name.into(),
        child,
        log,
        began: Instant::now(),
    })
}

/// Prints the result of a run, and for a failure how to reproduce it. Returns true without a
/// failure.
fn report(run: &Running, success: bool) -> Result<bool, Box<dyn std::error::Error>> {
    let log = String::from_utf8_lossy(&fs::read(&run.log)?).into_owned();
    let number = |key: &str| {
        log.lines()
            .rev()
            .find_map(|line| line.strip_prefix(key))
            .map_or("?", str::trim)
            .to_owned()
    };
    let (total, each) = (
        number("stat::number_of_executed_units:"),
        number("stat::average_exec_per_sec:"),
    );
    let took = run.began.elapsed().as_secs();
    if success {
        println!(
            "{}: ok, {total} runs in {took} s, {each} a second",
            run.name
        );
        return Ok(true);
    }
    failure(&log).for_each(|line| println!("  {line}"));
    println!(
        "{}: FAILURE found after {took} s; the whole output is in {}",
        run.name,
        run.log.display()
    );
    let file = log.lines().rev().find_map(|line| {
        line.split_once("Test unit written to ")
            .map(|(_, file)| file)
    });
    match file {
        Some(file) => println!(
            "  to reproduce: cargo xtask fuzz {} --reproduce {file}",
            run.name
        ),
        None => println!("  there is no file to reproduce the failure"),
    }
    Ok(false)
}

/// Returns the lines of a fuzzer's output that say what has failed: the message of the panic, which
/// stands below its place, and the summary of libFuzzer.
fn failure(log: &str) -> impl Iterator<Item = &str> {
    let lines = log.lines().enumerate();
    let panics = log.lines().position(|line| line.contains("panicked at"));
    let told = move |(number, line): &(usize, &str)| {
        panics.is_some_and(|first| (first..first + 6).contains(number))
            || line.starts_with("==")
            || line.contains("ERROR")
    };
    lines.filter(told).map(|(_, line)| line).take(12)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::workspace;

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn without_names_all_targets_are_selected() {
        let wish = wish(&words("--smoke")).unwrap();
        assert_eq!(
            (wish.targets.len(), wish.seconds, wish.jobs),
            (TARGETS.len(), 60, 5)
        );
    }

    #[test]
    fn a_failure_shows_the_message_of_the_panic() {
        let log = "#2 INITED\n#3 NEW\n\nthread '<unnamed>' panicked at a.rs:1:2:\nleft: 1\n right: 2\n\
                   a\nb\nc\nd\n==7== ERROR: libFuzzer: deadly signal\nMS: 1";
        let shown: Vec<&str> = failure(log).collect();
        assert_eq!(shown.len(), 7, "{shown:?}");
        assert!(
            shown.contains(&" right: 2")
                && shown.contains(&"==7== ERROR: libFuzzer: deadly signal")
        );
    }

    #[test]
    fn an_unknown_target_is_named() {
        assert!(
            wish(&words("flow --seconds 5 frame"))
                .unwrap_err()
                .to_string()
                .contains("\"frame\"")
        );
    }

    #[test]
    fn every_target_is_in_the_fuzz_crate_and_has_a_corpus() {
        for name in TARGETS {
            let file = workspace()
                .join("tests/fuzz/fuzz_targets")
                .join(name)
                .with_extension("rs");
            assert!(
                file.exists() && tree(name).read_dir().unwrap().next().is_some(),
                "{name}"
            );
        }
    }
}
