//! The tasks of the project, one verb each: `cargo xtask VERB ARGS...`.
//!
//! This file only picks the verb. It must never do work of its own: each verb has a module of its
//! name.

mod agents;
mod bench;
mod ci;
mod dist;
mod fuzz;
mod miri;
mod package;
mod slow_path;
mod test;
mod widths;
mod workspace;

use std::process::ExitCode;

use test::{guide, sandbox};

const USAGE: &str = "\
usage: cargo xtask VERB [ARGS...]

  build-agent [--target T]... [--package P] [--manifest-path FILE]
              [--panic abort|unwind] [--out DIR] [--check] [--verify]
        Builds agent images into target/agents: those of this workspace, or of the package
        of another manifest; for x86_64 and aarch64, or for the machines or Rust targets T,
        which also can be i686, armv7 and riscv64. --check fails if an image is over its budget, --verify if a
        second build in another folder gives other bytes.
  package [--keep]
        Makes the packages for a registry in target/package, with the stock images, and
        builds them. --keep leaves the images in place, for `cargo publish`.
  dist [--target T]...
        Builds the one-file command line, target/dist/offshoot, with the images for x86_64,
        aarch64 and T.
  offshoot ARGS...
        Builds what is out of date, then runs target/dist/offshoot ARGS.
  test [--skip-build] [--jobs N] [SUITE...|FILTER...]
        Runs all tests: unit tests here; as root also the end-to-end suites, each in a
        sandbox, N at a time. Builds only what the named SUITEs need. Any other word is a
        FILTER: part of the name of a test or suite.
  test --changed
        Runs the tests of what differs from the main branch, and says which they are.
  bench [--json] [--skip-build] [CASE...]
        Measures offshoot, Mitogen and plain ssh in a sandbox.
  guide
        Builds the programs of docs/guide into target/guide.
  slow-path [--round-trip MS] [--rate MBIT] -- COMMAND...
        Runs a command that reaches a host `far` over 250 ms.
  fuzz [TARGET...] [--smoke] [--seconds N] [--jobs N] [--minimize] [--reproduce FILE]
        Runs the fuzz targets under libFuzzer, on the stable toolchain.
  miri
        Runs the tests of the pure code under Miri, if a nightly toolchain has it.
  widths [PATH...]
        Lists comments over 100 columns and lines of Markdown over 120.
  ci
        Runs every check that a change must pass.
";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let (verb, rest) = match words.split_first() {
        Some((verb, rest)) => (verb.as_str(), rest),
        None => ("help", &[][..]),
    };
    let done = match verb {
        "build-agent" => agents::run(rest),
        "package" => package::run(rest),
        "dist" => dist::run(rest),
        "offshoot" => dist::run_offshoot(rest),
        "test" => test::run(rest),
        "bench" => bench::run(rest),
        "fuzz" => fuzz::run(rest),
        "guide" => guide::run(rest),
        "slow-path" => slow_path::run(rest),
        "miri" => miri::run(rest),
        "widths" => widths::run(rest),
        "ci" => ci::run(rest),
        sandbox::VERB => sandbox::init(rest),
        bench::INSIDE => bench::run_inside(rest),
        "help" | "-h" | "--help" => {
            print!("{USAGE}");
            Ok(())
        }
        _ => Err(format!("there is no verb {verb:?}; `cargo xtask help` lists them").into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask {verb}: {error}");
            ExitCode::FAILURE
        }
    }
}
