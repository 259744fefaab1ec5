//! A socket's place in the file system: for this user alone from its first moment, in the way of nobody who lives, gone at
//! the end.
//!
//! It is made in a fresh folder that only this user can enter, gets its mode there, and is moved into place under a lock of the
//! folder around it. The process's umask is not touched: other threads make files, too.

use crate::error::{Error, Result};
use crate::sys;
use crate::sys::socket::{LONGEST, connect, peer};
use std::fs::{self, DirBuilder, File, Permissions, TryLockError};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long others may hold the lock of the folder, or leave a connect unanswered. Both take no time when all is well.
const PATIENCE: Duration = Duration::from_secs(5);

/// A socket in the file system that this process has put there.
pub(crate) struct Bound {
    path: PathBuf,
    /// Device and number, by which it is known again.
    file: (u64, u64),
}

impl Bound {
    /// Listens at `path`.
    pub fn new(path: &Path) -> Result<(Bound, UnixListener)> {
        let failed =
            |detail: String| Error::System { action: format!("listening at {}", path.display()), detail };
        let system = |error: io::Error| failed(error.to_string());
        let Some(name) = path.file_name() else { return Err(failed("that is no name of a file".into())) };
        // As it is now: this process may change its working directory.
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder.canonicalize(),
            _ => std::env::current_dir(),
        };
        let folder = folder.map_err(system)?;
        let path = folder.join(name);
        let _locked = lock(&folder).map_err(system)?;
        let stale = match occupant(&path).map_err(system)? {
            Occupant::Nobody => false,
            Occupant::Stale => true,
            Occupant::Other(what) => return Err(failed(what)),
        };
        let random: [u8; 6] = sys::random();
        let fresh = random.iter().fold(String::from(".o"), |name, byte| format!("{name}{byte:02x}"));
        let fresh = folder.join(fresh);
        DirBuilder::new().mode(0o700).create(&fresh).map_err(system)?;
        let made = make(&fresh, &path, stale);
        let _ = fs::remove_file(fresh.join("s"));
        let _ = fs::remove_dir(&fresh);
        let (file, listener) = made.map_err(system)?;
        Ok((Bound { path, file }, listener))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Takes it away, if what is there is still it. To be called while it is listened on: nobody takes it for stale then.
    pub fn unlink(&self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|seen| (seen.dev(), seen.ino()) == self.file) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Makes the socket in the folder `fresh` and moves it to `path`, where nothing is, or a stale one.
fn make(fresh: &Path, path: &Path, stale: bool) -> io::Result<((u64, u64), UnixListener)> {
    // A umask may have taken the owner's rights.
    fs::set_permissions(fresh, Permissions::from_mode(0o700))?;
    let own = fresh.join("s");
    let (address, _folder) = address(&own)?;
    let listener = UnixListener::bind(address)?;
    fs::set_permissions(&own, Permissions::from_mode(0o600))?;
    listener.set_nonblocking(true)?;
    let seen = fs::symlink_metadata(&own)?;
    if stale {
        fs::rename(&own, path)?;
    } else {
        // Unlike a rename, this replaces nothing.
        fs::hard_link(&own, path)?;
    }
    Ok(((seen.dev(), seen.ino()), listener))
}

/// The lock of a folder; it ends with what is returned.
fn lock(folder: &Path) -> io::Result<File> {
    let file = File::open(folder)?;
    let end = Instant::now() + PATIENCE;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(error)) => return Err(error),
            Err(TryLockError::WouldBlock) if Instant::now() >= end => {
                return Err(io::Error::other("another process holds the lock of its folder"));
            }
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

/// Who is at a path.
enum Occupant {
    Nobody,
    /// A socket of this user that nobody listens on.
    Stale,
    /// Something that stays; what that is.
    Other(String),
}

fn occupant(path: &Path) -> io::Result<Occupant> {
    let seen = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Occupant::Nobody),
        seen => seen?,
    };
    if !seen.file_type().is_socket() {
        return Ok(Occupant::Other("something else is there already, which is no socket".into()));
    }
    if seen.uid() != nix::unistd::geteuid().as_raw() {
        return Ok(Occupant::Other(format!("a socket of user {} is there already", seen.uid())));
    }
    let (address, _folder) = address(path)?;
    match connect(&address, PATIENCE) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(Occupant::Stale),
        Err(error) => Ok(Occupant::Other(format!("a socket is there already, and does not answer: {error}"))),
        Ok(stream) => {
            Ok(Occupant::Other(format!("process {} listens there already", peer(&stream)?.process)))
        }
    }
}

/// How the kernel is told of a path: one that is too long for an address goes by way of its folder, which is to be held.
pub(crate) fn address(path: &Path) -> io::Result<(PathBuf, Option<File>)> {
    match (path.parent(), path.file_name()) {
        (Some(folder), Some(name)) if path.as_os_str().as_bytes().len() > LONGEST => {
            let folder = File::open(folder)?;
            let short = Path::new("/proc/self/fd").join(folder.as_raw_fd().to_string()).join(name);
            Ok((short, Some(folder)))
        }
        _ => Ok((path.into(), None)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;
    use std::os::unix::net::UnixStream;

    fn scratch(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("offshoot-bound-{}-{name}", std::process::id()));
        fs::create_dir_all(&folder).expect("there is a temporary directory");
        folder
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).expect("it is there");
        entries.map(|entry| entry.expect("it is there").file_name().to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn a_socket_is_its_users_alone_and_goes_without_a_trace() {
        let folder = scratch("mode");
        let path = folder.join("socket");
        let (bound, listener) = Bound::new(&path).expect("nobody is there");
        let mode = fs::symlink_metadata(&path).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o7777, 0o600);
        assert_eq!(names(&folder), ["socket"]);
        let mut client = UnixStream::connect(bound.path()).expect("it is listened on");
        drop(listener.accept().expect("it was connected"));
        assert_eq!(client.read(&mut [0]).expect("it is closed"), 0);
        bound.unlink();
        fs::remove_dir(&folder).expect("it is empty");
    }

    #[test]
    fn a_stale_one_is_replaced_and_a_live_one_is_not_nor_anything_else() {
        let folder = scratch("stale");
        let path = folder.join("socket");
        drop(Bound::new(&path).expect("nobody is there"));
        let (stale, listener) = Bound::new(&path).expect("the first is stale");
        let error = Bound::new(&path).err().expect("the second lives").to_string();
        assert!(error.contains(&format!("process {} listens", std::process::id())), "{error}");
        drop(listener);
        let (bound, _listener) = Bound::new(&path).expect("the second is stale");
        // The end of one that was replaced is not that of its successor.
        stale.unlink();
        assert!(path.exists());
        bound.unlink();
        fs::write(&path, "precious").expect("it is ours");
        let error = Bound::new(&path).err().expect("a file is there").to_string();
        assert!(error.contains("no socket"), "{error}");
        assert_eq!(fs::read(&path).expect("it is left alone"), b"precious");
        fs::remove_file(&path).expect("it is ours");
        fs::remove_dir(&folder).expect("nothing else was left");
    }

    #[test]
    fn a_path_may_be_longer_than_an_address() {
        let folder = scratch("long");
        let deep = folder.join("a".repeat(100)).join("b".repeat(100));
        fs::create_dir_all(&deep).expect("it is ours");
        let path = deep.join("socket");
        let (bound, listener) = Bound::new(&path).expect("nobody is there");
        let (short, _held) = address(&path).expect("its folder is there");
        connect(&short, PATIENCE).expect("it is listened on");
        assert!(Bound::new(&path).is_err());
        drop(listener);
        bound.unlink();
        fs::remove_dir_all(&folder).expect("it is ours");
    }

    #[test]
    fn many_who_want_one_place_at_once_get_one_listener() {
        let folder = scratch("race");
        for _ in 0..20 {
            let path = folder.join("socket");
            drop(Bound::new(&path));
            let threads: Vec<_> = (0..8)
                .map(|_| {
                    let path = path.clone();
                    std::thread::spawn(move || Bound::new(&path).ok())
                })
                .collect();
            let mut won: Vec<_> =
                threads.into_iter().filter_map(|thread| thread.join().expect("no panic")).collect();
            assert_eq!(won.len(), 1);
            let (bound, _listener) = won.remove(0);
            bound.unlink();
            assert_eq!(names(&folder), Vec::<String>::new());
        }
        fs::remove_dir(&folder).expect("it is empty");
    }
}
