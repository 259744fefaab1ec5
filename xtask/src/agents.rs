//! `build-agent`: what the crate `offshoot-build-agent` does, for the agents of this workspace as
//! well, with a budget and a check that a second build gives the same bytes.

use std::env;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use offshoot_bootstrap::Platform;
use offshoot_build_agent::{
    Builder, Built, Panic, Project, build, parse_panic, parse_target, path, print,
};

use crate::test::packages;
use crate::workspace::{Outcome, workspace};

/// The largest size of an image, in bytes. Code for i686 passes arguments on the stack and has half
/// the registers, so that it is longer and compresses worse.
fn budget(platform: Platform) -> usize {
    match platform {
        Platform::I686 => 122_880,
        _ => 114_688,
    }
}

/// The package of the stock agent.
pub(crate) const STOCK: &str = "offshoot-agent";

/// The words of `build-agent`, read.
struct Request {
    project: Project,
    platforms: Vec<Platform>,
    panic: Panic,
    out: PathBuf,
    check: bool,
    verify: bool,
    quiet: bool,
}

impl Request {
    fn parse(words: &[String]) -> Result<Self, String> {
        let (mut manifest, mut package, mut panic, mut out) = (None, None, None, None);
        let mut platforms = Vec::new();
        let (mut check, mut verify, mut quiet) = (false, false, false);
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or(format!("{word} needs a value"));
            match word.as_str() {
                "--target" => platforms.push(parse_target(value()?)?),
                "--manifest-path" => manifest = Some(value()?.clone()),
                "--package" | "-p" => package = Some(value()?.clone()),
                "--panic" => panic = Some(parse_panic(value()?)?),
                "--out" => out = Some(PathBuf::from(value()?)),
                "--check" => check = true,
                "--verify" => verify = true,
                "--quiet" | "-q" => quiet = true,
                _ => {
                    return Err(format!(
                        "unknown argument {word:?}; `cargo xtask help` shows the usage"
                    ));
                }
            }
        }
        let project = match manifest {
            Some(manifest) => of_manifest(&manifest, package)?,
            None => inside(&workspace(), package.as_deref().unwrap_or(STOCK)),
        };
        let is_inside = project.root == workspace();
        if verify && !is_inside {
            return Err(
                "--verify works only for packages of this workspace, which it copies".into(),
            );
        }
        if platforms.is_empty() {
            platforms = Platform::STOCK.to_vec();
        }
        // Every host receives the stock agent, so each byte counts, and its functions do not panic.
        // The functions of a program may panic, and then the caller needs the message.
        let panic = panic.unwrap_or(if is_inside && project.package == STOCK {
            Panic::Abort
        } else {
            Panic::Unwind
        });
        let out = out.unwrap_or_else(|| project.images());
        Ok(Self {
            project,
            platforms,
            panic,
            out,
            check,
            verify,
            quiet,
        })
    }
}

/// Returns a package of this workspace, or of a copy of it at `root`.
fn inside(root: &Path, package: &str) -> Project {
    Project {
        root: root.to_owned(),
        package: package.to_owned(),
        target: root.join("target"),
        names: vec![(root.to_owned(), "/offshoot")],
    }
}

/// Returns the package of a manifest, of this workspace or another.
fn of_manifest(manifest: &str, package: Option<String>) -> Result<Project, String> {
    let mut project = Project::of(manifest, package)?;
    if project.root == workspace() {
        return Ok(inside(&workspace(), &project.package));
    }
    project.names.push((workspace(), "/offshoot"));
    Ok(project)
}

/// Builds agents and images.
///
/// # Errors
/// Returns an error if something cannot be built, an agent lacks a function or is not static, an
/// image is over its budget (`--check`), or a second build differs (`--verify`).
pub(crate) fn run(words: &[String]) -> Outcome {
    let Request {
        project,
        platforms,
        panic,
        out,
        check,
        verify: again,
        quiet,
    } = Request::parse(words)?;
    // The first build takes minutes, so even --quiet shows the progress of cargo on stderr.
    let first = platforms
        .iter()
        .any(|&platform| !path(&out, &project.package, platform).exists());
    let mut builder = Builder::new(project, panic, quiet && !first)?;
    if panic == Panic::Abort {
        provide_musl(&mut builder, &platforms);
    }
    let rows = build(&builder, &platforms, &out)?;
    if again {
        verify(&builder, &rows, quiet)?;
    }
    if !quiet {
        print(&rows, panic, Some(budget));
    }
    match rows
        .iter()
        .find(|row| check && row.compressed > budget(row.platform))
    {
        None => Ok(()),
        Some(row) => Err(format!(
            "the image for {} is {} bytes, over {}",
            row.platform,
            row.compressed,
            budget(row.platform)
        )
        .into()),
    }
}

/// Returns true if the toolchain has the target of a platform, or there is a C library for it.
pub(crate) fn can_build(platform: Platform) -> bool {
    Builder::new(inside(&workspace(), STOCK), Panic::Abort, true)
        .is_ok_and(|builder| builder.add_target(platform).is_ok())
        || packages::musl(platform).is_ok()
}

/// Fetches the C library for targets that rustup cannot add, as its mirrors lack some. Without one,
/// the build says what is missing.
fn provide_musl(builder: &mut Builder, platforms: &[Platform]) {
    for &platform in platforms {
        if builder.add_target(platform).is_err() && !builder.has_musl(platform) {
            match packages::musl(platform) {
                Ok(folder) => builder.set_musl(folder),
                Err(error) => println!("no C library for {platform}: {error}"),
            }
        }
    }
}

/// Returns the folder of this workspace's images, an absolute path.
pub(crate) fn folder() -> PathBuf {
    workspace().join("target/agents")
}

/// Builds the agents a second time, in another folder, and compares the bytes.
fn verify(builder: &Builder, rows: &[Built], quiet: bool) -> Outcome {
    let elsewhere = copy_of(&builder.project().root)?;
    let project = inside(&elsewhere.path(), &builder.project().package);
    let platforms: Vec<_> = rows.iter().map(|row| row.platform).collect();
    let mut builder = Builder::new(project, builder.panic(), quiet)?;
    provide_musl(&mut builder, &platforms);
    for row in rows {
        let again = fs::read(builder.build(row.platform, "agent-verify")?)?;
        if again != fs::read(&row.agent)? {
            return Err(format!(
                "the agent for {} is not reproducible: a second build in another folder differs",
                row.platform
            )
            .into());
        }
    }
    if !quiet {
        println!("a second build in another folder gives the same bytes");
    }
    Ok(())
}

/// A copy of the workspace, in a directory of its own that is removed when dropped.
struct Copy(PathBuf);

impl Copy {
    /// Where it is.
    fn path(&self) -> PathBuf {
        self.0.join("another/checkout")
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Copies the sources of the workspace to a path of another length, without `target` and hidden
/// files.
fn copy_of(root: &Path) -> Result<Copy, String> {
    let copy = Copy(env::temp_dir().join(format!("offshoot-verify-{}", std::process::id())));
    copy_folder(root, &copy.path(), true).map_err(|error| {
        format!(
            "the workspace cannot be copied to {}: {error}",
            copy.0.display()
        )
    })?;
    Ok(copy)
}

fn copy_folder(from: &Path, to: &Path, top: bool) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let name = entry.file_name();
        if top && (name == "target" || name == ".git") {
            continue;
        }
        let kind = entry.file_type()?;
        if kind.is_dir() {
            copy_folder(&entry.path(), &to.join(name), false)?;
        } else if kind.is_symlink() {
            // To another file or folder of the workspace, by a relative path.
            symlink(fs::read_link(entry.path())?, to.join(name))?;
        } else {
            fs::copy(entry.path(), to.join(name))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_of_this_workspace_names_a_package_inside() {
        let manifest = |folder: &str| {
            workspace()
                .join(folder)
                .join("Cargo.toml")
                .display()
                .to_string()
        };
        let own = of_manifest(&manifest("tests/agent"), None).unwrap();
        assert_eq!(own.package, "offshoot-test-agent");
        assert_eq!(own.names, [(workspace(), "/offshoot")]);
        let example = manifest("controller/examples/projects/own-agent");
        let outside = of_manifest(&example, None).unwrap();
        assert_eq!(outside.package, "own-agent");
        assert_eq!(outside.images(), outside.root.join("target/agents"));
        assert_eq!(outside.names.len(), 2);
        let error = of_manifest(&manifest("bootstrap"), None).err().unwrap();
        assert!(error.contains("offshoot-bootstrap has none"), "{error}");
    }
}
