//! `test`: the tests of the workspace, and a closing report of what was covered.
//!
//! Unit, property and documentation tests run as anywhere. Each suite of the package
//! `offshoot-tests` drives real sshd and sudo, so it runs in a [`sandbox`] of its own, one test at
//! a time: a test that leaves something behind is found by name. Because sandboxes share nothing,
//! several programs run side by side. A test that cannot run here is reported with the reason, and
//! fails the run when `CI` is `true`.

mod built;
mod changed;
pub(crate) mod guide;
mod jobs;
mod needs;
pub(crate) mod packages;
pub(crate) mod projects;
mod registry;
mod report;
pub(crate) mod sandbox;
pub(crate) mod sandboxed;
mod selection;
mod suites;

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::workspace::{Outcome, cargo, output_of, target_directory, workspace};
use built::TestProgram;
use jobs::Job;
use selection::{Request, Selection};

/// Runs the tests that the words select: `test [--skip-build] [--changed] [--jobs N]
/// [SUITE|FILTER...]`.
///
/// # Errors
/// Returns an error if a test fails, no test is selected, or something cannot be built.
pub(crate) fn run(words: &[String]) -> Outcome {
    let request = Request::parse(words)?;
    let root = nix::unistd::geteuid().is_root();
    let mut skipped = Vec::new();
    if root {
        packages::require()?;
    } else {
        let reason =
            packages::require().map_or_else(|error| format!(", {error}"), |()| String::new());
        skipped.push(format!(
            "end-to-end suites: namespaces and users need root{reason}"
        ));
    }
    let known = suites::all()?;
    let selection = if request.changed {
        changed::selection(&known)?
    } else {
        Selection::of(&request, &known)
    };
    let built = built::build(&selection, root)?;
    let mut jobs = unit_jobs(&selection, built.units, root)?;
    let notes = target_directory().join("test-skips");
    if root {
        let _ = fs::remove_file(&notes);
        let mut programs = built.suites;
        if !selection.filters.is_empty() {
            let is_wanted =
                |program: &TestProgram| has_test(program, selection.filters_of(&program.name));
            programs.retain(|program| program.helper || is_wanted(program));
        }
        if !request.skip_build && programs.iter().any(|program| !program.helper) {
            needs::build(&needs::of(&programs)?)?;
        }
        for program in programs.iter().filter(|program| !program.helper) {
            jobs.push(suite_job(program, &selection, &notes)?);
        }
    }
    let finished = jobs::run(jobs, request.jobs)?;
    skipped.extend(
        fs::read_to_string(&notes)
            .unwrap_or_default()
            .lines()
            .map(str::to_owned),
    );
    if !selection.filters.is_empty() && finished.iter().all(|one| one.success && one.passed == 0) {
        return Err("no test has a name that contains one of the filters".into());
    }
    report::print(&finished, &skipped)
}

/// Returns a job for each program of unit and property tests, and one for all documentation tests.
fn unit_jobs(
    selection: &Selection,
    programs: Vec<TestProgram>,
    root: bool,
) -> Result<Vec<Job>, Box<dyn std::error::Error>> {
    let Some(packages) = &selection.packages else {
        return Ok(Vec::new());
    };
    let libraries = compiler_libraries()?;
    let mut jobs = Vec::new();
    for program in programs {
        let mut command = limited(suites::UNIT_SECONDS);
        command
            .arg(&program.path)
            .arg("--test-threads=1")
            .args(&selection.filters);
        // As cargo would start it: the tests of a macro crate load the compiler's own libraries.
        command
            .current_dir(&program.folder)
            .env("CARGO_MANIFEST_DIR", &program.folder);
        command.env("LD_LIBRARY_PATH", &libraries);
        let name = format!("unit tests {} {}", program.package, program.name);
        jobs.push(Job {
            name,
            command,
            seconds: suites::UNIT_SECONDS,
            alone: false,
        });
    }
    let mut documentation = cargo();
    documentation.args(["test", "--doc", "--no-fail-fast"]);
    documentation.args(built::packages_as_arguments(packages, root));
    documentation.arg("--").args(&selection.filters);
    let name = "documentation tests".to_owned();
    jobs.push(Job {
        name,
        command: documentation,
        seconds: suites::UNIT_SECONDS,
        alone: false,
    });
    Ok(jobs)
}

/// Returns the folders of the compiler's shared libraries, in the form of `LD_LIBRARY_PATH`.
fn compiler_libraries() -> Result<String, String> {
    let print = |what: &str| {
        output_of(
            Command::new("rustc")
                .args(["--print", what])
                .current_dir(workspace()),
        )
    };
    Ok(format!(
        "{}/lib:{}",
        print("sysroot")?.trim(),
        print("target-libdir")?.trim()
    ))
}

fn suite_job(
    program: &TestProgram,
    selection: &Selection,
    notes: &Path,
) -> Result<Job, Box<dyn std::error::Error>> {
    let about = suites::about(&program.name);
    let limited = limited(about.seconds);
    let mut command = sandboxed::command(Path::new(limited.get_program()))?;
    command
        .args(limited.get_args())
        .arg(&program.path)
        .arg("--test-threads=1");
    command
        .args(selection.filters_of(&program.name))
        .env("OFFSHOOT_SKIPS", notes);
    let name = format!("suite {}", program.name);
    Ok(Job {
        name,
        command,
        seconds: about.seconds,
        alone: about.alone,
    })
}

/// Returns true if a program has a test that one of the filters selects. To list its tests, it
/// needs no sandbox.
fn has_test(program: &TestProgram, filters: &[String]) -> bool {
    let list = output_of(
        Command::new(&program.path)
            .args(["--list", "--format", "terse"])
            .args(filters),
    );
    list.is_ok_and(|names| names.lines().any(|name| name.ends_with(": test")))
}

/// Returns the beginning of a command that is killed after its budget: a hung test must not hang
/// the whole run.
fn limited(seconds: u64) -> Command {
    let mut command = Command::new("/usr/bin/timeout");
    command
        .arg("--kill-after=5")
        .arg(OsStr::new(&seconds.to_string()));
    command
}
