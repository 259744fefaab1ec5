//! `unmount_idle HOST PATH`: as root behind ssh and sudo, unmounts the file system at a path if
//! nobody uses it.
//!
//! The path may contain any byte that a path can: it is an argument, and no shell ever sees it. One
//! process on the host checks the condition and acts on it.

use offshoot::prelude::*;
use serde::{Deserialize, Serialize};
use std::error::Error as StdError;
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The state that was found, and the action taken.
#[derive(Debug, Serialize, Deserialize)]
enum Found {
    NotMounted,
    /// In use by these processes.
    InUse(Vec<(u32, String)>),
    Unmounted,
}

#[offshoot::remote]
fn unmount_idle(cx: &Context, path: PathBuf) -> offshoot::Result<Found> {
    let mounts = fs::read("/proc/self/mountinfo")?;
    let is_mounted = mounts
        .split(|byte| *byte == b'\n')
        .filter_map(|line| line.split(|byte| *byte == b' ').nth(4))
        .any(|place| unescaped(place) == path);
    if !is_mounted {
        return Ok(Found::NotMounted);
    }
    let users = users(&path)?;
    if !users.is_empty() {
        return Ok(Found::InUse(users));
    }
    let output = cx.command("umount").arg(&path).output()?;
    match output.status.success() {
        true => Ok(Found::Unmounted),
        false => Err(Error::Function(
            String::from_utf8_lossy(&output.stderr)
                .trim_end()
                .to_owned(),
        )),
    }
}

/// A path as the kernel writes it there: characters that would break the columns are in octal.
fn unescaped(mut text: &[u8]) -> PathBuf {
    let mut bytes = Vec::new();
    while let [first, rest @ ..] = text {
        match rest {
            [
                a @ b'0'..=b'3',
                b @ b'0'..=b'7',
                c @ b'0'..=b'7',
                after @ ..,
            ] if *first == b'\\' => {
                bytes.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                text = after;
            }
            _ => {
                bytes.push(*first);
                text = rest;
            }
        }
    }
    OsString::from_vec(bytes).into()
}

/// The processes that have a folder as working directory or a file below it open, with their names.
fn users(path: &Path) -> offshoot::Result<Vec<(u32, String)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")?.flatten() {
        let Some(number) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        let process = entry.path();
        let open = fs::read_dir(process.join("fd"))
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path());
        let links = ["cwd", "root", "exe"]
            .map(|name| process.join(name))
            .into_iter()
            .chain(open);
        // A process that ends during this check uses nothing any more.
        if links
            .filter_map(|link| fs::read_link(link).ok())
            .any(|target| is_below(&target, path))
        {
            let name = fs::read_to_string(process.join("comm")).unwrap_or_default();
            found.push((number, name.trim_end().to_owned()));
        }
    }
    Ok(found)
}

fn is_below(target: &Path, path: &Path) -> bool {
    // A removed file can still be open; the kernel adds a note to its name.
    let target = target.as_os_str().as_bytes();
    let target = target.strip_suffix(b" (deleted)").unwrap_or(target);
    Path::new(std::ffi::OsStr::from_bytes(target)).starts_with(path)
}

fn main() -> ExitCode {
    offshoot::init();
    let mut words = std::env::args_os().skip(1);
    let (Some(host), Some(path), None) = (words.next(), words.next(), words.next()) else {
        eprintln!("usage: unmount_idle HOST PATH");
        return ExitCode::FAILURE;
    };
    let host = host.to_string_lossy().into_owned();
    match act(&host, path.into()) {
        Ok(Found::NotMounted) => println!("{host}: nothing is mounted there"),
        Ok(Found::Unmounted) => println!("{host}: unmounted"),
        Ok(Found::InUse(users)) => {
            let users: Vec<String> = users
                .iter()
                .map(|(number, name)| format!("{name} ({number})"))
                .collect();
            println!("{host}: in use by {}", users.join(", "));
        }
        Err(error) => {
            eprintln!("{host}: {error}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn act(host: &str, path: PathBuf) -> Result<Found, Box<dyn StdError>> {
    let router = Router::builder().own_image().start()?;
    let root = router.ssh(host).start()?.context().sudo().connect()?;
    Ok(root.call(unmount_idle { path })?)
}
