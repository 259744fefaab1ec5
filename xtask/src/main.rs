//! The project's chores, one verb each: `cargo xtask VERB ARGS...`.
//!
//! This file only picks the verb. It must never hold work of its own: each verb lives in a module of its name.

mod agents;
mod bench;
mod ci;
mod dist;
mod fuzz;
mod miri;
mod slow_path;
mod test;
mod workspace;

use std::process::ExitCode;

use test::{guide, sandbox};

const USAGE: &str = "\
usage: cargo xtask VERB [ARGS...]

  build-agent [--target T]... [--package P] [--manifest-path FILE] [--panic abort|unwind] [--out DIR] [--check] [--verify]
                                                                   build the agent images, of this workspace or of another
                                                                   crate, into target/agents
  dist                                                             build the one-file command line, target/dist/offshoot
  offshoot ARGS...                                                 build what is stale, then run target/dist/offshoot ARGS
  test [--skip-build] [FILTER...]                                  all tests: units here, end-to-end suites in a sandbox
  bench [--json] [CASE...]                                         ours against Mitogen and plain ssh, in the sandbox
  guide                                                            build the programs of docs/guide into target/guide
  slow-path [--round-trip MS] [--rate MBIT] -- COMMAND...          run a command that reaches a host `far` over 250 ms
  fuzz [TARGET...] [--smoke] [--seconds N] [--jobs N] [--minimize] [--reproduce FILE]
                                                                   the fuzz targets under libFuzzer, on stable
  miri                                                             the pure parts under Miri, where a nightly has it
  ci                                                               everything that must pass before a change goes in
";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let (verb, rest) = match words.split_first() {
        Some((verb, rest)) => (verb.as_str(), rest),
        None => ("help", &[][..]),
    };
    let done = match verb {
        "build-agent" => agents::run(rest),
        "dist" => dist::run(rest),
        "offshoot" => dist::run_offshoot(rest),
        "test" => test::run(rest),
        "bench" => bench::run(rest),
        "fuzz" => fuzz::run(rest),
        "guide" => guide::run(rest),
        "slow-path" => slow_path::run(rest),
        "miri" => miri::run(rest),
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
