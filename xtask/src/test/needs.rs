//! What the suites need beside themselves: agents, the command line, example projects.
//!
//! A suite finds each of these by an environment variable or a package name, which stands as text
//! in its program. So the programs are searched for these texts, and nothing is built that none of
//! them could use. There is no table to forget.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

use offshoot_bootstrap::Platform;

use super::built::TestProgram;
use super::{guide, packages, projects};
use crate::workspace::{Outcome, cargo, target_directory};
use crate::{agents, dist};

/// Something that is built, or fetched, before a suite runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Need {
    /// The stock agents of all platforms; each suite needs that of this machine.
    AllPlatforms,
    /// Busyboxes for other processors.
    Busyboxes,
    /// The stock agents of processors that have none in packages.
    Processors,
    /// A kubectl that speaks WebSocket.
    Kubectl,
    /// The agent with the functions of `offshoot-test-agent`.
    TestAgent,
    /// The one-file command line.
    CommandLine,
    /// The command line, installed from packages, and the example projects built with it.
    Projects,
    /// The programs of the guide.
    Guide,
    /// The examples of the library.
    Examples,
}

/// The texts by which a program that needs something is known.
const MARKS: [(&str, &[Need]); 9] = [
    ("OFFSHOOT_BIN", &[Need::AllPlatforms, Need::CommandLine]),
    ("OFFSHOOT_BUSYBOXES", &[Need::AllPlatforms, Need::Busyboxes]),
    (
        "OFFSHOOT_PROCESSORS",
        &[Need::AllPlatforms, Need::Processors],
    ),
    ("OFFSHOOT_KUBECTL", &[Need::Kubectl]),
    ("offshoot-test-agent", &[Need::TestAgent]),
    ("OFFSHOOT_PROJECTS", &[Need::AllPlatforms, Need::Projects]),
    ("OFFSHOOT_INSTALLED", &[Need::AllPlatforms, Need::Projects]),
    ("OFFSHOOT_GUIDE", &[Need::AllPlatforms, Need::Guide]),
    ("OFFSHOOT_EXAMPLES", &[Need::Examples]),
];

/// Returns what some programs need.
///
/// # Errors
/// Returns an error if `grep` cannot read the programs.
pub(super) fn of(programs: &[TestProgram]) -> Result<BTreeSet<Need>, Box<dyn std::error::Error>> {
    let (helpers, suites): (Vec<_>, Vec<_>) = programs.iter().partition(|program| program.helper);
    if suites.is_empty() {
        return Ok(BTreeSet::new());
    }
    // A suite has the path of every program that it starts.
    let paths: Vec<&str> = helpers
        .iter()
        .filter_map(|helper| helper.path.to_str())
        .collect();
    let marks = MARKS.map(|(mark, _)| mark);
    let found = texts_in(&suites, &[&marks[..], &paths].concat())?;
    let started: Vec<_> = helpers
        .into_iter()
        .filter(|helper| {
            helper
                .path
                .to_str()
                .is_some_and(|path| found.contains(path))
        })
        .collect();
    let indirect = texts_in(&started, &marks)?;
    let is_found = |mark: &str| found.contains(mark) || indirect.contains(mark);
    Ok(MARKS
        .iter()
        .filter(|(mark, _)| is_found(mark))
        .flat_map(|(_, needs)| *needs)
        .copied()
        .collect())
}

/// Returns those of some texts that stand in one of the programs. These are large, and this program
/// is not optimized, so `grep` does it.
fn texts_in(programs: &[&TestProgram], texts: &[&str]) -> Result<BTreeSet<String>, String> {
    if programs.is_empty() {
        return Ok(BTreeSet::new());
    }
    let mut grep = Command::new("grep");
    grep.args([
        "--text",
        "--only-matching",
        "--no-filename",
        "--fixed-strings",
    ]);
    grep.args(texts.iter().flat_map(|text| ["-e", text]))
        .arg("--");
    let output = grep
        .args(programs.iter().map(|program| &program.path))
        .env("LC_ALL", "C")
        .output();
    let output = output.map_err(|error| format!("grep: {error}"))?;
    // Status 1 says that nothing was found.
    if output.status.code().is_none_or(|code| code > 1) {
        return Err(format!(
            "grep failed: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        ));
    }
    Ok(String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(str::to_owned)
        .collect())
}

/// Builds what is needed, and the stock agent of this machine.
///
/// # Errors
/// Returns an error if something cannot be built; a busybox that cannot be fetched is only
/// reported.
pub(super) fn build(needs: &BTreeSet<Need>) -> Outcome {
    let host = format!("{}-unknown-linux-musl", std::env::consts::ARCH);
    if needs.contains(&Need::AllPlatforms) {
        agents::run(&[])?;
    } else {
        agents::run(&["--target".to_owned(), host.clone()])?;
    }
    for need in needs {
        match need {
            Need::AllPlatforms => {}
            Need::Busyboxes => {
                for architecture in packages::BUSYBOXES {
                    if let Err(error) = packages::busybox(architecture) {
                        println!("no busybox for {architecture}: {error}");
                    }
                }
            }
            Need::Processors => processors()?,
            Need::Kubectl => {
                if let Err(error) = packages::kubectl() {
                    println!("no kubectl of its own: {error}");
                }
            }
            Need::TestAgent => {
                agents::run(
                    &["--package", "offshoot-test-agent", "--target", &host].map(str::to_owned),
                )?;
            }
            Need::CommandLine => dist::run(&[])?,
            // Built out here: the sandbox has neither toolchain nor registry.
            Need::Projects => projects::build()?,
            Need::Guide => guide::run(&[])?,
            Need::Examples => {
                let mut examples = cargo();
                examples.args(["build", "--quiet", "--package", "offshoot", "--examples"]);
                if !examples.status()?.success() {
                    return Err(
                        "the examples do not compile; the messages of cargo are above".into(),
                    );
                }
            }
        }
    }
    Ok(())
}

/// Returns the folder with the stock images of all platforms.
pub(super) fn processors_folder() -> PathBuf {
    target_directory().join("processors")
}

/// Builds the stock images of all platforms into a folder of their own: in the usual one, suites
/// would find images that packages do not have.
fn processors() -> Outcome {
    for platform in Platform::ALL {
        let out = processors_folder().display().to_string();
        let words = ["--check", "--out", &out, "--target", platform.machine()];
        match agents::run(&words.map(str::to_owned)) {
            Ok(()) => {}
            Err(error) if agents::can_build(platform) => return Err(error),
            Err(error) => println!("no agent for {platform}: {error}"),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn program(folder: &std::path::Path, name: &str, text: &str, helper: bool) -> TestProgram {
        let path = folder.join(name);
        fs::write(&path, format!("\0\u{1}{text}\0\n")).unwrap();
        TestProgram {
            package: String::new(),
            name: name.to_owned(),
            path,
            folder: PathBuf::new(),
            helper,
        }
    }

    #[test]
    fn the_needs_of_a_suite_come_from_its_program_and_its_helpers() {
        let folder = std::env::temp_dir().join(format!("offshoot-needs-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let helper = program(&folder, "started", "offshoot-test-agent", true);
        let path = helper.path.display().to_string();
        let idle = program(&folder, "idle", "OFFSHOOT_GUIDE", true);
        let suite = program(
            &folder,
            "suite",
            &format!("OFFSHOOT_BIN OFFSHOOT_EXAMPLES {path}"),
            false,
        );
        let needs = of(&[helper, idle, suite]);
        fs::remove_dir_all(&folder).unwrap();
        let wanted = [
            Need::AllPlatforms,
            Need::TestAgent,
            Need::CommandLine,
            Need::Examples,
        ];
        assert_eq!(needs.unwrap(), BTreeSet::from(wanted));
    }
}
