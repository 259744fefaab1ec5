//! `build-agent`: agent images that are small, static and reproducible.
//!
//! The flags that make an agent small are in this folder only. It must never change the user's
//! toolchain, except to add a target or the source of std, and it prints when it does.

mod build;
mod inspect;
mod project;
mod smaller;

use std::{
    fs,
    path::{Path, PathBuf},
};

use offshoot_bootstrap::{Image, MAX_COMMAND, Mode, Nonce, Platform, Stage0, native, pack};

use crate::workspace::{Outcome, workspace};
use build::{Builder, Panic};
use project::Project;

/// The largest size of an image, in bytes.
const WIRE_BUDGET: usize = 115_200;

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
            Some(manifest) => Project::of(&manifest, package)?,
            None => Project::inside(package),
        };
        if verify && project.is_outside() {
            return Err(
                "--verify works only for packages of this workspace, which it copies".into(),
            );
        }
        if platforms.is_empty() {
            platforms = Platform::ALL.to_vec();
        }
        // Every host receives the stock agent, so each byte counts, and its functions do not panic.
        // The functions of a program may panic, and then the caller needs the message.
        let panic = panic.unwrap_or(if project.is_stock() {
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

fn parse_panic(text: &str) -> Result<Panic, String> {
    match text {
        "abort" => Ok(Panic::Abort),
        "unwind" => Ok(Panic::Unwind),
        _ => Err(format!("--panic is abort or unwind, not {text:?}")),
    }
}

fn parse_target(text: &str) -> Result<Platform, String> {
    let by_target = Platform::ALL
        .into_iter()
        .find(|platform| platform.rust_target() == text);
    by_target
        .or_else(|| Platform::from_machine(text))
        .ok_or_else(|| {
            let known: Vec<_> = Platform::ALL
                .iter()
                .map(|platform| platform.rust_target())
                .collect();
            format!(
                "there is no agent for {text}; the targets are {}",
                known.join(" and ")
            )
        })
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
        .any(|&platform| !agent_path(&out, &project.package, platform).exists());
    let builder = Builder::new(project, panic, quiet && !first)?;
    let mut rows = Vec::new();
    for &platform in &platforms {
        rows.push(build_one(&builder, &out, platform)?);
    }
    inspect::functions(
        &rows
            .iter()
            .map(|row| (row.platform, row.agent.as_path()))
            .collect::<Vec<_>>(),
    )?;
    if again {
        verify(&builder, &rows, quiet)?;
    }
    if !quiet {
        print(&rows, panic);
    }
    for row in &rows {
        if row.stage0 > MAX_COMMAND {
            return Err(format!(
                "stage 0 for {} is {} bytes, over {MAX_COMMAND}",
                row.platform, row.stage0
            )
            .into());
        }
        if check && row.wire > WIRE_BUDGET {
            return Err(format!(
                "the image for {} is {} bytes, over {WIRE_BUDGET}",
                row.platform, row.wire
            )
            .into());
        }
    }
    Ok(())
}

/// Returns the folder of this workspace's images, an absolute path.
pub(crate) fn folder() -> PathBuf {
    workspace().join("target/agents")
}

/// Returns the path of a package's agent in a folder of images. The image has the same path with
/// the extension `image`.
fn agent_path(out: &Path, package: &str, platform: Platform) -> PathBuf {
    out.join(platform.rust_target()).join(package)
}

/// The agent and image of one platform, with their sizes in bytes.
struct Row {
    platform: Platform,
    agent: PathBuf,
    raw: usize,
    wire: usize,
    stage0: usize,
    hash: String,
}

fn build_one(
    builder: &Builder,
    out: &Path,
    platform: Platform,
) -> Result<Row, Box<dyn std::error::Error>> {
    let built = builder.build(platform, "agent-build")?;
    let program = fs::read(&built)?;
    inspect::is_static(&program, platform)?;
    let stages = stages(builder, platform)?;

    let agent = agent_path(out, &builder.project().package, platform);
    let image = agent.with_extension("image");
    fs::create_dir_all(out.join(platform.rust_target()))?;
    let bytes = match current(&agent, &image, &program, &stages) {
        Some(bytes) => bytes,
        None => {
            let bytes = pack(platform, &program, &stages.loader, &stages.unpacker)?;
            write(&image, &bytes)?;
            bytes
        }
    };
    if fs::read(&agent).ok().as_deref() != Some(&program) {
        write(&agent, &program)?;
        make_executable(&agent)?;
    }
    let wire = bytes.len();
    let parsed = Image::parse(bytes)?;
    let stage0 = Stage0::new(
        &parsed,
        &Nonce::new([0; 8]),
        Mode::Wait,
        "offshoot: build-agent",
    )
    .command()
    .len();
    Ok(Row {
        platform,
        raw: program.len(),
        wire,
        stage0,
        hash: inspect::sha256(&image)?,
        agent,
    })
}

/// Returns the existing image if it consists of these parts. Packing takes longer than comparing.
fn current(agent: &Path, image: &Path, program: &[u8], stages: &native::Stages) -> Option<Vec<u8>> {
    if fs::read(agent).ok()? != program {
        return None;
    }
    let bytes = fs::read(image).ok()?;
    let parsed = Image::parse(bytes.as_slice()).ok()?;
    let unpacker = stages.unpacker.as_slice();
    // Bytes 96 to 111 of the program header are two lengths that depend on the rest of the image.
    let same = parsed.loader() == stages.loader
        && bytes.get(..96) == unpacker.get(..96)
        && bytes.get(112..unpacker.len()) == unpacker.get(112..);
    same.then_some(bytes)
}

fn stages(
    builder: &Builder,
    platform: Platform,
) -> Result<native::Stages, Box<dyn std::error::Error>> {
    let scratch = builder.project().target.join("agent-build/stages");
    fs::create_dir_all(&scratch)?;
    Ok(native::compile(platform, builder.rustc(), &scratch)?)
}

/// Builds the agents a second time, in another folder, and compares the bytes.
fn verify(builder: &Builder, rows: &[Row], quiet: bool) -> Outcome {
    let elsewhere = build::copy_of(&builder.project().root)?;
    let builder = Builder::new(
        builder.project().copied_to(&elsewhere.path()),
        builder.panic(),
        quiet,
    )?;
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

/// Writes a file atomically: a reader sees the old bytes or the new ones.
fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let partial = path.with_extension(format!("partial-{}", std::process::id()));
    fs::write(&partial, bytes)?;
    fs::rename(&partial, path)
}

fn make_executable(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
}

fn print(rows: &[Row], panic: Panic) {
    println!(
        "{:<28} {:>8} {:>8} {:>8} {:>8}  a panic  sha256 of the image",
        "target", "raw", "wire", "budget", "stage 0"
    );
    let panic = match panic {
        Panic::Abort => "aborts",
        Panic::Unwind => "unwinds",
    };
    for row in rows {
        let target = row.platform.rust_target();
        println!(
            "{target:<28} {:>8} {:>8} {WIRE_BUDGET:>8} {:>8}  {panic:<7}  {}",
            row.raw, row.wire, row.stage0, row.hash
        );
    }
}
