//! Logging to a file or to stderr for programs without a subscriber of their own, configured by the
//! environment variable `OFFSHOOT_LOG`.
//!
//! Records of contexts are filtered in the context that logs them. Everything that arrives is
//! written.

use nix::libc;
use offshoot_agent::{Error, Filter, Result};
use std::fs::{File, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::{
    FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::Path;
use std::sync::Mutex;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime, uptime};
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};

/// The level without `OFFSHOOT_LOG`: warnings and errors. Lines that functions print come as well.
const DEFAULT_LEVEL: u8 = 2;
/// The target of records that contexts send.
const REMOTE: &str = "offshoot::remote";

/// Appends the log records of this program and of all contexts to a file from now on.
/// `OFFSHOOT_LOG` selects the records; without it, warnings, errors and the lines that functions
/// print are written. Returns the filter in force, for
/// [`Builder::log_filter`](crate::Builder::log_filter); a tree that is started later without a
/// filter has the same.
///
/// ```no_run
/// fn main() -> Result<(), offshoot::Report> {
///     let filter = offshoot::log_to_file("rollout.log")?;
///     let router = offshoot::Router::builder().log_filter(filter).start()?;
///     router.ssh("web1").connect()?;
///     Ok(())
/// }
/// ```
///
/// The file is created if it does not exist, and gets mode 600 in any case. Links are not followed,
/// and a file of another user is refused.
///
/// # Errors
/// Returns an error if `OFFSHOOT_LOG` is not a filter, if the file cannot be opened, or if the
/// program has a `tracing` subscriber already, for instance by an earlier call of this function.
/// That subscriber stays and gets the records of contexts; the file gets none.
pub fn log_to_file(path: impl AsRef<Path>) -> Result<Filter> {
    let path = path.as_ref();
    let (what, filter) = (format!("logging to {}", path.display()), environment()?);
    let file = open(path).map_err(|error| Error::System {
        action: what.clone(),
        detail: error.to_string(),
    })?;
    write(&what, &filter, Mutex::new(file), SystemTime)?;
    Ok(filter)
}

/// Writes the log records of this program and of all contexts to stderr, with the seconds since
/// this call instead of the time of day. `OFFSHOOT_LOG` selects the records, as for
/// [`log_to_file`].
///
/// # Errors
/// Returns an error in the same cases as [`log_to_file`].
pub fn log_to_stderr() -> Result<Filter> {
    let filter = environment()?;
    log_to_stderr_by(&filter)?;
    Ok(filter)
}

/// Writes log records to stderr like [`log_to_stderr`], selected by a filter of the program instead
/// of `OFFSHOOT_LOG`.
///
/// # Errors
/// Returns an error in the same cases as [`log_to_file`].
pub fn log_to_stderr_by(filter: &Filter) -> Result<()> {
    write("logging to stderr", filter, std::io::stderr, uptime())
}

/// Writes log records like [`log_to_stderr_by`] to the writer that `writer` returns. It is called
/// once for each record, and its writer gets the bytes of the record in one piece.
///
/// # Errors
/// Returns an error in the same cases as [`log_to_file`].
pub fn log_to_writer_by<W: Write>(
    filter: &Filter,
    writer: impl Fn() -> W + Send + Sync + 'static,
) -> Result<()> {
    write("logging", filter, writer, uptime())
}

/// Opens or creates the file for this user alone. Records can be private, and other users may be
/// able to create links in its folder.
fn open(path: &Path) -> std::io::Result<File> {
    let refused = |why: &str| Err(std::io::Error::other(why));
    let mut options = OpenOptions::new();
    // Opening a FIFO would block until somebody reads from it.
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let file = match options
        .append(true)
        .create(true)
        .mode(0o600)
        .custom_flags(flags)
        .open(path)
    {
        Err(error) if error.raw_os_error() == Some(libc::ELOOP) => {
            return refused(
                "it is a link, which another user may have created; name the file itself",
            );
        }
        file => file?,
    };
    let about = file.metadata()?;
    if about.file_type().is_char_device() {
        return Ok(file);
    }
    if about.uid() != nix::unistd::geteuid().as_raw() {
        return refused("it belongs to another user; name another file");
    }
    if about.is_file() && about.nlink() != 1 {
        return refused(
            "it has a second name (a hard link), which another user may have created; name another file",
        );
    }
    if about.mode() & 0o077 != 0 {
        file.set_permissions(Permissions::from_mode(0o600))?;
    }
    Ok(file)
}

/// Returns the filter of `OFFSHOOT_LOG`, or the default.
fn environment() -> Result<Filter> {
    Ok(offshoot_agent::filter_from_env()?.unwrap_or_else(|| Filter::with_prints(DEFAULT_LEVEL)))
}

/// Sets the subscriber of this process.
fn write<W, T>(what: &str, filter: &Filter, writer: W, time: T) -> Result<()>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
    T: FormatTime + Send + Sync + 'static,
{
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(writer)
        .with_ansi(false)
        .with_timer(time);
    let subscriber = tracing_subscriber::registry().with(layer.with_filter(targets(filter)));
    tracing::subscriber::set_global_default(subscriber).map_err(|_| {
        let detail = "this program has a tracing subscriber already, which gets the records".into();
        Error::System {
            action: what.into(),
            detail,
        }
    })
}

/// Returns the filter in the subscriber's own form. Records of contexts pass in any case: the
/// filter was applied where they were logged, and to their original targets.
fn targets(filter: &Filter) -> Targets {
    let level = |level: u8| match level {
        0 => LevelFilter::OFF,
        1 => LevelFilter::ERROR,
        2 => LevelFilter::WARN,
        3 => LevelFilter::INFO,
        4 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    let others = Targets::new().with_target(REMOTE, LevelFilter::TRACE);
    filter
        .directives()
        .fold(others, |targets, (target, number)| match target {
            "" => targets.with_default(level(number)),
            target => targets.with_target(target, level(number)),
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{chown, symlink};
    use std::{fs, path::PathBuf};
    use tracing::Level;

    #[test]
    fn the_subscriber_filter_agrees_with_ours_and_passes_remote_records() {
        for text in [
            "warn,my_agent::disk=debug,my_agent=off",
            "off",
            "trace,a=error",
            "io",
            "offshoot=off,info",
            "",
        ] {
            let filter: Filter = text.parse().unwrap();
            let targets = targets(&filter);
            for target in [
                "my_agent",
                "my_agent::disk::raw",
                "a::b",
                "b",
                "offshoot",
                "offshoot::io",
            ] {
                for (number, level) in [
                    Level::ERROR,
                    Level::WARN,
                    Level::INFO,
                    Level::DEBUG,
                    Level::TRACE,
                ]
                .into_iter()
                .enumerate()
                {
                    let wanted = (number as u8) < filter.level_of(target);
                    assert_eq!(
                        targets.would_enable(target, &level),
                        wanted,
                        "{text}: {target} {level}"
                    );
                    assert!(targets.would_enable(REMOTE, &level), "{text}");
                }
            }
        }
    }

    fn scratch(name: &str) -> PathBuf {
        let folder =
            std::env::temp_dir().join(format!("offshoot-log-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).expect("there is a temporary directory");
        folder
    }

    #[test]
    fn a_log_file_is_private_even_if_it_existed_before() {
        let folder = scratch("mode");
        for before in [
            None,
            Some(0o644),
            Some(0o666),
            Some(0o640),
            Some(0o600),
            Some(0o400),
        ] {
            let path = folder.join("log");
            if let Some(mode) = before {
                fs::write(&path, "before\n").expect("it is ours");
                fs::set_permissions(&path, Permissions::from_mode(mode)).expect("it is ours");
            }
            let Ok(mut file) = open(&path) else {
                assert_eq!(before, Some(0o400), "whom modes bind");
                continue;
            };
            file.write_all(b"after\n").expect("it is open");
            let mode = file.metadata().expect("it is open").mode() & 0o7777;
            assert_eq!(mode & 0o077, 0, "{before:?}");
            let text = fs::read_to_string(&path).expect("it is ours");
            assert_eq!(
                text,
                if before.is_some() {
                    "before\nafter\n"
                } else {
                    "after\n"
                }
            );
            fs::remove_file(&path).expect("it is ours");
        }
        fs::remove_dir_all(&folder).expect("it is ours");
    }

    #[test]
    fn a_planted_link_fifo_or_foreign_file_is_not_written_to() {
        let folder = scratch("ways");
        let (path, precious) = (folder.join("log"), folder.join("precious"));
        fs::write(&precious, "precious").expect("it is ours");
        let refusal = || {
            let why = open(&path).expect_err("it is refused").to_string();
            assert_eq!(fs::read(&precious).expect("it is there"), b"precious");
            let _ = fs::remove_file(&path);
            why
        };
        symlink(&precious, &path).expect("it is ours");
        assert!(refusal().contains("a link"));
        symlink(folder.join("nothing"), &path).expect("it is ours");
        assert!(refusal().contains("a link"));
        assert!(!folder.join("nothing").exists());
        fs::hard_link(&precious, &path).expect("it is ours");
        assert!(refusal().contains("a second name"));
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).expect("it is free");
        assert!(!refusal().is_empty());
        fs::write(&path, "").expect("it is ours");
        if chown(&path, Some(4711), None).is_ok() {
            assert!(refusal().contains("another user"));
        }
        let _ = fs::remove_file(&path);
        open(Path::new("/dev/null")).expect("a device is taken as it is");
        fs::remove_dir_all(&folder).expect("it is ours");
    }
}
