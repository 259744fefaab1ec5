//! `offshoot build-agent`: an agent with the functions of a package.

use super::contract::Command;
use crate::cli::exit::{TRANSPORT, misused};
use crate::cli::ui::notes::tell;
use clap::Args;
use offshoot_bootstrap::Platform;
use offshoot_build_agent::{Builder, Panic, Project, build, parse_panic, parse_target, print};
use std::path::PathBuf;
use std::process::exit;

const ABOUT: &str = "\
Build an agent with the functions of a package, for x86_64 and aarch64, into its folder
target/agents, where `Builder::package` finds it. The agent is the binary with the name of the
package; its `main` is `offshoot::agent_main()`, or begins with `offshoot::init()`. A target or the
source of std that the toolchain lacks is added by rustup.";

const EXAMPLES: &str = "\
Examples:
  offshoot build-agent --manifest-path disks/Cargo.toml
  offshoot build-agent --manifest-path disks/Cargo.toml --target x86_64 --target armv7";

/// Build an agent with the functions of a package
#[derive(Args, Debug)]
#[command(long_about = ABOUT, after_long_help = EXAMPLES)]
pub(super) struct BuildAgent {
    /// The manifest of the package, or of its workspace
    #[arg(long, value_name = "FILE")]
    manifest_path: Option<String>,
    /// The package, if the manifest is that of a workspace
    #[arg(short, long, value_name = "NAME")]
    package: Option<String>,
    /// A machine instead of both: x86_64, aarch64, i686, armv7 or riscv64; may be repeated
    #[arg(long, value_name = "TARGET")]
    target: Vec<String>,
    /// The effect of a panic: to `unwind` to its call, or to `abort` the agent, which is smaller
    #[arg(long, value_name = "EFFECT", default_value = "unwind")]
    panic: String,
    /// The folder of the images [default: target/agents]
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// Print errors only
    #[arg(short, long)]
    quiet: bool,
}

impl Command for BuildAgent {
    const NAME: &str = "build-agent";

    fn run(self) -> ! {
        let Some(manifest) = &self.manifest_path else {
            misused(
                "--manifest-path is missing: the Cargo.toml of the package whose functions the agent is to have \
                 (the stock agent needs no build: `offshoot version` lists it)",
            )
        };
        let panic = parse_panic(&self.panic).unwrap_or_else(|error| misused(error));
        let platforms = match self.target.is_empty() {
            true => Ok(Platform::STOCK.to_vec()),
            false => self.target.iter().map(|word| parse_target(word)).collect(),
        };
        let platforms = platforms.unwrap_or_else(|error| misused(error));
        let built = Project::of(manifest, self.package.clone())
            .map_err(Into::into)
            .and_then(|project| self.build(project, panic, &platforms));
        match built {
            Ok(()) => exit(0),
            Err(error) => {
                tell(&error.to_string());
                exit(TRANSPORT)
            }
        }
    }
}

impl BuildAgent {
    /// Builds the agents and prints what they are.
    fn build(
        &self,
        project: Project,
        panic: Panic,
        platforms: &[Platform],
    ) -> Result<(), Box<dyn std::error::Error>> {
        let out = self.out.clone().unwrap_or_else(|| project.images());
        let builder = Builder::new(project, panic, self.quiet)?;
        let built = build(&builder, platforms, &out)?;
        if !self.quiet {
            print(&built, panic, None);
            println!("in {}", out.display());
        }
        Ok(())
    }
}
