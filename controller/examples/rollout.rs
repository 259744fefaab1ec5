//! `rollout [--sudo] [--mode 644] FILE DESTINATION HOST...`: copies a file to many hosts at once.
//!
//! Each host receives the file as a stream, checks length and checksum, sets its mode and only then
//! renames it, so that nobody ever sees half of it. Hosts that already have the file are left
//! alone. A host that fails does not stop the others.

use offshoot::prelude::*;
use offshoot::{Reader, Writer};
use serde::{Deserialize, Serialize};
use std::error::Error as StdError;
use std::fs::{self, File, OpenOptions, Permissions};
use std::hash::{DefaultHasher, Hasher};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;

/// The expected properties of a file.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Wanted {
    path: PathBuf,
    mode: u32,
    length: u64,
    /// Detects damage, not manipulation. Both ends are this program, so both compute it in the same
    /// way.
    sum: u64,
}

/// The outcome at one host.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
enum Done {
    Written,
    ThereAlready,
}

/// Writes a file with the expected properties.
#[offshoot::remote]
fn install(wanted: Wanted, content: Reader) -> io::Result<Done> {
    let at = |error: io::Error| {
        io::Error::new(error.kind(), format!("{}: {error}", wanted.path.display()))
    };
    if is_there(&wanted) {
        // The stream is not read any further: its writer notices.
        return Ok(Done::ThereAlready);
    }
    let name = wanted
        .path
        .file_name()
        .ok_or_else(|| at(io::ErrorKind::InvalidInput.into()))?;
    let partial = wanted.path.with_file_name(format!(
        ".{}.{}",
        name.to_string_lossy(),
        std::process::id()
    ));
    let written =
        write(&wanted, content, &partial).and_then(|()| fs::rename(&partial, &wanted.path));
    if written.is_err() {
        // Remove the incomplete file, and report the first error.
        let _ = fs::remove_file(&partial);
    }
    written.map(|()| Done::Written).map_err(at)
}

fn is_there(wanted: &Wanted) -> bool {
    let found = File::open(&wanted.path).and_then(|file| {
        Ok((
            file.metadata()?.permissions().mode(),
            summed(file, io::sink())?,
        ))
    });
    found.is_ok_and(|(mode, found)| {
        mode & 0o7777 == wanted.mode && found == (wanted.length, wanted.sum)
    })
}

fn write(wanted: &Wanted, content: Reader, partial: &Path) -> io::Result<()> {
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(partial)?;
    file.set_permissions(Permissions::from_mode(wanted.mode))?;
    let found = summed(content, &file)?;
    if found != (wanted.length, wanted.sum) {
        let text = format!(
            "{} bytes arrived, which differ from those that were sent",
            found.0
        );
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    file.sync_all()
}

/// Copies everything, and returns its length and checksum.
fn summed(mut from: impl Read, mut to: impl Write) -> io::Result<(u64, u64)> {
    let (mut buffer, mut length, mut hasher) = (vec![0; 1 << 16], 0, DefaultHasher::new());
    loop {
        let piece = match from.read(&mut buffer)? {
            0 => return Ok((length, hasher.finish())),
            piece => &buffer[..piece],
        };
        length += piece.len() as u64;
        hasher.write(piece);
        to.write_all(piece)?;
    }
}

/// Sends the file into a stream; if it cannot be read, the receiver gets an error instead of an end
/// of stream.
fn send(file: &Path, mut to: Writer) {
    match File::open(file).and_then(|mut file| io::copy(&mut file, &mut to)) {
        // The receiver has closed the stream: its answer says why.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        Err(error) => to.fail(&format!("{}: {error}", file.display())),
        // The answer says whether the file arrived.
        Ok(_) => drop(to.finish()),
    }
}

const USAGE: &str = "usage: rollout [--sudo] [--mode 644] FILE DESTINATION HOST...";

fn roll_out() -> Result<ExitCode, Box<dyn StdError>> {
    let mut words: Vec<String> = std::env::args().skip(1).collect();
    let (mut sudo, mut mode) = (false, None);
    while words.first().is_some_and(|word| word.starts_with("--")) {
        match words.remove(0).as_str() {
            "--sudo" => sudo = true,
            "--mode" if !words.is_empty() => mode = Some(u32::from_str_radix(&words.remove(0), 8)?),
            _ => return Err(USAGE.into()),
        }
    }
    let [file, destination, hosts @ ..] = &words[..] else {
        return Err(USAGE.into());
    };
    let file = Path::new(file);
    let opened = File::open(file).map_err(|error| format!("{}: {error}", file.display()))?;
    let mode = mode.unwrap_or(opened.metadata()?.permissions().mode() & 0o777);
    let (length, sum) = summed(opened, io::sink())?;
    let wanted = Wanted {
        path: destination.into(),
        mode,
        length,
        sum,
    };

    let router = Router::builder().own_image().start()?;
    let failed = thread::scope(|scope| -> offshoot::Result<usize> {
        let outcomes = Select::default();
        for host in hosts {
            let user = router.ssh(host).start()?.context();
            let place = if sudo {
                user.sudo().start()?.context()
            } else {
                user
            };
            let (writer, content) = router.pipe()?;
            let (call, host) = (
                place.start(install {
                    wanted: wanted.clone(),
                    content,
                }),
                host.clone(),
            );
            outcomes.add(call.map_items(move |(_, done)| (host.clone(), done)));
            // One thread for each host: a slow host delays only itself.
            scope.spawn(|| send(file, writer));
        }
        let mut failed = 0;
        for (host, outcome) in outcomes {
            match outcome {
                Ok(Done::Written) => println!("{host}: written"),
                Ok(Done::ThereAlready) => println!("{host}: there already"),
                Err(error) => {
                    match error {
                        // The function's own words, without its name and that of the context.
                        CallError::Function { error, .. } => eprintln!("{host}: {error}"),
                        CallError::Failed(error) => eprintln!("{host}: {error}"),
                    }
                    failed += 1;
                }
            }
        }
        Ok(failed)
    })?;
    Ok(if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn main() -> ExitCode {
    offshoot::init();
    roll_out().unwrap_or_else(|error| {
        eprintln!("rollout: {error}");
        ExitCode::FAILURE
    })
}
