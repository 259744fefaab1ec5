//! Agents and images in their folder: built, checked, and packed if they have changed.

use std::{
    error::Error,
    fs,
    path::{Path, PathBuf},
};

use offshoot_bootstrap::{Image, MAX_COMMAND, Mode, Nonce, Platform, Stage0, native, pack};

use crate::{
    build::{Builder, Panic},
    inspect,
    sha256::sha256,
};

/// The agent and image of one platform, with their sizes in bytes.
pub struct Built {
    /// The platform.
    pub platform: Platform,
    /// The path of the agent. Its image has the same path with the extension `image`.
    pub agent: PathBuf,
    /// The size of the agent.
    pub raw: usize,
    /// The size of the image, which is the compressed agent.
    pub compressed: usize,
    /// The size of the command that starts it.
    command: usize,
    hash: String,
}

/// Returns the path of a package's agent in a folder of images. The image has the same path with
/// the extension `image`.
pub fn path(out: &Path, package: &str, platform: Platform) -> PathBuf {
    out.join(platform.rust_target()).join(package)
}

/// Builds the agents and images of some platforms in the folder `out`.
///
/// # Errors
/// Returns an error if something cannot be built, an agent lacks a function or is not static, or
/// the command that starts it is too long.
pub fn build(
    builder: &Builder,
    platforms: &[Platform],
    out: &Path,
) -> Result<Vec<Built>, Box<dyn Error>> {
    let rows = platforms
        .iter()
        .map(|&platform| build_one(builder, out, platform))
        .collect::<Result<Vec<_>, _>>()?;
    inspect::functions(
        &rows
            .iter()
            .map(|row| (row.platform, row.agent.as_path()))
            .collect::<Vec<_>>(),
    )?;
    match rows.iter().find(|row| row.command > MAX_COMMAND) {
        None => Ok(rows),
        Some(row) => Err(format!(
            "the command that starts the agent for {} has {} bytes, more than {MAX_COMMAND}",
            row.platform, row.command
        )
        .into()),
    }
}

fn build_one(builder: &Builder, out: &Path, platform: Platform) -> Result<Built, Box<dyn Error>> {
    let built = builder.build(platform, "agent-build")?;
    let program = fs::read(&built)?;
    inspect::is_static(&program, platform)?;
    let stages = stages(builder, platform)?;

    let agent = path(out, &builder.project().package, platform);
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
    let (compressed, hash) = (bytes.len(), sha256(&bytes));
    let parsed = Image::parse(bytes)?;
    let command = Stage0::new(
        &parsed,
        &Nonce::new([0; 8]),
        Mode::Wait,
        "offshoot: build-agent",
    )
    .command("sh -c")
    .len();
    Ok(Built {
        platform,
        raw: program.len(),
        compressed,
        command,
        hash,
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
    let same = parsed.loader() == stages.loader && parsed.unpacker() == stages.unpacker;
    same.then_some(bytes)
}

fn stages(builder: &Builder, platform: Platform) -> Result<native::Stages, Box<dyn Error>> {
    let scratch = builder.project().target.join("agent-build/stages");
    fs::create_dir_all(&scratch)?;
    Ok(native::compile(platform, builder.rustc(), &scratch)?)
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

/// Prints a table of sizes in bytes and sums, with the limit of each image if there is one.
pub fn print(rows: &[Built], panic: Panic, limit: Option<fn(Platform) -> usize>) {
    // Agents of users have no limit, and their table no such column.
    let head = limit.map_or("", |_| "    limit");
    println!(
        "{:<28} {:>8} {:>10}{} {:>8}  a panic  sha256 of the image",
        "target", "program", "compressed", head, "command"
    );
    let panic = match panic {
        Panic::Abort => "aborts",
        Panic::Unwind => "unwinds",
    };
    for row in rows {
        let target = row.platform.rust_target();
        let limit = limit.map_or_else(String::new, |limit| format!(" {:>8}", limit(row.platform)));
        println!(
            "{target:<28} {:>8} {:>10}{limit} {:>8}  {panic:<7}  {}",
            row.raw, row.compressed, row.command, row.hash
        );
    }
}
