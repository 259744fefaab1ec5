//! Creates a Unix socket at a path: mode 0600 from creation, replaces a stale socket but never a
//! live one, and removes it on request.
//!
//! The socket is created in a new folder that only this user can enter, gets its mode there, and is
//! linked to its path; a link replaces no file. Other users may be able to write to the folder of
//! the path and exchange files there meanwhile: folders are opened once, checked, and then used by
//! their descriptors. The umask of the process is not changed, because other threads create files,
//! too.

use offshoot_proto::Error;
use offshoot_proto::Result;
use offshoot_sys as sys;
use offshoot_sys::socket::LONGEST;
use offshoot_sys::socket::connect;
use offshoot_sys::socket::peer;
use std::fs;
use std::fs::DirBuilder;
use std::fs::File;
use std::fs::OpenOptions;
use std::fs::Permissions;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

/// The longest that a process may leave a connection unanswered. A live one answers at once.
const PATIENCE: Duration = Duration::from_secs(5);

/// Held by the thread of this process that creates a socket.
static ONE_BY_ONE: Mutex<()> = Mutex::new(());

/// A socket in the file system that this process has created.
pub(crate) struct Bound {
    path: PathBuf,
    /// The folder of the socket, also if a part of its path is renamed.
    folder: File,
    /// Device and inode, which identify the socket.
    file: (u64, u64),
}

impl Bound {
    /// Listens at `path`.
    pub(crate) fn new(path: &Path) -> Result<(Self, UnixListener)> {
        let failed = |detail: String| Error::System {
            action: format!("listening at {}", path.display()),
            detail,
        };
        let system = |error: io::Error| failed(error.to_string());
        let Some(name) = path.file_name() else {
            return Err(failed("the path does not end in a file name".into()));
        };
        // Resolved now, because this process may change its working directory.
        let around = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder.canonicalize(),
            _ => std::env::current_dir(),
        };
        let around = around.map_err(system)?;
        let folder = open(&around, offshoot_sys::open::O_PATH).map_err(system)?;
        let place = within(&folder).join(name);
        let _turn = ONE_BY_ONE.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = Fresh::within(&folder).map_err(system)?;
        let listener = fresh.listen().map_err(system)?;
        let file = identity(&fresh.own()).map_err(system)?;
        // Unlike a rename, a link replaces nothing.
        if let Err(error) = fs::hard_link(fresh.own(), &place) {
            if error.kind() != io::ErrorKind::AlreadyExists {
                return Err(system(error));
            }
            match occupant(&place).map_err(system)? {
                Occupant::Stale(stale) => fresh.replace(&place, stale).map_err(system)?,
                Occupant::Nobody => fs::hard_link(fresh.own(), &place).map_err(system)?,
                Occupant::Other(what) => return Err(failed(what)),
            }
        }
        Ok((
            Self {
                path: around.join(name),
                folder,
                file,
            },
            listener,
        ))
    }

    /// Returns the absolute path.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Removes the socket, unless another file has replaced it. It must still listen, so that no
    /// other process takes it for stale.
    pub(crate) fn unlink(&self) {
        let Some(name) = self.path.file_name() else {
            return;
        };
        let place = within(&self.folder).join(name);
        if identity(&place).is_ok_and(|seen| seen == self.file) {
            let _ = fs::remove_file(place);
        }
    }
}

/// Opens a folder, and no other type of file.
fn open(path: &Path, how: i32) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .custom_flags(how | offshoot_sys::open::O_DIRECTORY | offshoot_sys::open::O_NOFOLLOW)
        .open(path)
}

/// Returns a path to an open folder that does not depend on its name.
fn within(folder: &File) -> PathBuf {
    Path::new("/proc/self/fd").join(folder.as_raw_fd().to_string())
}

/// Returns device and inode of a file; of a symbolic link those of the link.
fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|seen| (seen.dev(), seen.ino()))
}

/// A new folder that only this user can enter, removed on drop.
struct Fresh {
    folder: File,
    path: PathBuf,
}

impl Fresh {
    fn within(around: &File) -> io::Result<Self> {
        let random: [u8; 6] = sys::random();
        let name = random
            .iter()
            .fold(String::from(".o"), |name, byte| format!("{name}{byte:02x}"));
        let path = within(around).join(name);
        DirBuilder::new().mode(0o700).create(&path)?;
        let made = open(&path, 0).and_then(|folder| {
            // Another user may have exchanged the folder. Any empty folder of this user that only
            // this user can enter is as good.
            let about = folder.metadata()?;
            let own = about.uid() == offshoot_sys::user::effective() && about.mode() & 0o077 == 0;
            if !own || fs::read_dir(within(&folder))?.next().is_some() {
                return Err(io::Error::other(
                    "another process exchanges files in its folder",
                ));
            }
            // The umask may have removed the owner's permissions.
            folder.set_permissions(Permissions::from_mode(0o700))?;
            Ok(folder)
        });
        match made {
            Ok(folder) => Ok(Self { folder, path }),
            Err(error) => {
                let _ = fs::remove_dir(&path);
                Err(error)
            }
        }
    }

    /// Returns the path of the socket in it.
    fn own(&self) -> PathBuf {
        within(&self.folder).join("s")
    }

    fn listen(&self) -> io::Result<UnixListener> {
        let own = self.own();
        let listener = UnixListener::bind(&own)?;
        fs::set_permissions(&own, Permissions::from_mode(0o600))?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    }

    /// Replaces a stale socket. The old one is moved away and checked again: if another process has
    /// created a live one meanwhile, it is moved back.
    fn replace(&self, place: &Path, stale: (u64, u64)) -> io::Result<()> {
        let old = within(&self.folder).join("old");
        fs::rename(place, &old)?;
        if identity(&old)? != stale {
            let back = fs::hard_link(&old, place);
            fs::remove_file(&old)?;
            return back.and(Err(io::Error::other(
                "another process has just begun to listen there",
            )));
        }
        fs::remove_file(&old)?;
        fs::hard_link(self.own(), place)
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        let _ = fs::remove_file(self.own());
        let _ = fs::remove_dir(&self.path);
    }
}

/// The file at a path.
enum Occupant {
    Nobody,
    /// A socket of this user without a listener: its device and inode.
    Stale((u64, u64)),
    /// A file that must stay, with a description.
    Other(String),
}

fn occupant(path: &Path) -> io::Result<Occupant> {
    let seen = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Occupant::Nobody),
        seen => seen?,
    };
    if !seen.file_type().is_socket() {
        return Ok(Occupant::Other(
            "a file that is not a socket is there already".into(),
        ));
    }
    if seen.uid() != offshoot_sys::user::effective() {
        return Ok(Occupant::Other(format!(
            "a socket of user {} is there already",
            seen.uid()
        )));
    }
    match connect(path, PATIENCE) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            Ok(Occupant::Stale((seen.dev(), seen.ino())))
        }
        Err(error) => Ok(Occupant::Other(format!(
            "a socket that does not answer is there already: {error}"
        ))),
        Ok(stream) => Ok(Occupant::Other(format!(
            "process {} listens there already",
            peer(&stream)?.process
        ))),
    }
}

/// Returns a path that fits into a socket address. A long path goes through its folder's
/// descriptor, which has to stay open.
pub(crate) fn address(path: &Path) -> io::Result<(PathBuf, Option<File>)> {
    match (path.parent(), path.file_name()) {
        (Some(folder), Some(name)) if path.as_os_str().as_bytes().len() > LONGEST => {
            let folder = File::open(folder)?;
            let short = Path::new("/proc/self/fd")
                .join(folder.as_raw_fd().to_string())
                .join(name);
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
        let folder =
            std::env::temp_dir().join(format!("offshoot-bound-{}-{name}", std::process::id()));
        fs::create_dir_all(&folder).expect("there is a temporary directory");
        folder
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).expect("it is there");
        entries
            .map(|entry| {
                entry
                    .expect("it is there")
                    .file_name()
                    .to_string_lossy()
                    .into_owned()
            })
            .collect()
    }

    #[test]
    fn a_socket_has_mode_0600_and_is_removed_on_unlink() {
        let folder = scratch("mode");
        let path = folder.join("socket");
        let (bound, listener) = Bound::new(&path).expect("nobody is there");
        let mode = fs::symlink_metadata(&path)
            .expect("it is there")
            .permissions()
            .mode();
        assert_eq!(mode & 0o7777, 0o600);
        assert_eq!(names(&folder), ["socket"]);
        let mut client = UnixStream::connect(bound.path()).expect("it is listened on");
        drop(listener.accept().expect("it was connected"));
        assert_eq!(client.read(&mut [0]).expect("it is closed"), 0);
        bound.unlink();
        fs::remove_dir(&folder).expect("it is empty");
    }

    #[test]
    fn a_stale_socket_is_replaced_but_no_live_socket_or_other_file() {
        let folder = scratch("stale");
        let path = folder.join("socket");
        drop(Bound::new(&path).expect("nobody is there"));
        let (stale, listener) = Bound::new(&path).expect("the first is stale");
        let error = Bound::new(&path)
            .err()
            .expect("the second lives")
            .to_string();
        assert!(
            error.contains(&format!("process {} listens", std::process::id())),
            "{error}"
        );
        drop(listener);
        let (bound, _listener) = Bound::new(&path).expect("the second is stale");
        // The end of one that was replaced is not that of its successor.
        stale.unlink();
        assert!(path.exists());
        bound.unlink();
        fs::write(&path, "precious").expect("it is ours");
        let error = Bound::new(&path)
            .err()
            .expect("a file is there")
            .to_string();
        assert!(error.contains("not a socket"), "{error}");
        assert_eq!(fs::read(&path).expect("it is left alone"), b"precious");
        fs::remove_file(&path).expect("it is ours");
        fs::remove_dir(&folder).expect("nothing else was left");
    }

    #[test]
    fn a_path_may_be_longer_than_a_socket_address() {
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
    fn a_lock_on_the_directory_blocks_nobody() {
        let folder = scratch("locked");
        let held = File::open(&folder).expect("it is there");
        held.lock().expect("nobody else does");
        let (bound, _listener) = Bound::new(&folder.join("socket")).expect("nobody is there");
        bound.unlink();
        fs::remove_dir(&folder).expect("it is empty");
    }

    #[test]
    fn a_swapped_temporary_directory_changes_no_other_file() {
        use std::sync::atomic::{AtomicBool, Ordering};
        let folder = scratch("exchanged");
        let (victim, around) = (folder.join("victim"), folder.join("around"));
        for made in [&victim, &around] {
            fs::create_dir(made).expect("it is ours");
            fs::set_permissions(made, Permissions::from_mode(0o755)).expect("it is ours");
        }
        fs::write(victim.join("s"), "precious").expect("it is ours");
        fs::set_permissions(victim.join("s"), Permissions::from_mode(0o644)).expect("it is ours");
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                // Whatever appears becomes a link, or the victim itself under another name, as soon
                // as it is seen.
                while !over.load(Ordering::Relaxed) {
                    for name in names(&around)
                        .into_iter()
                        .filter(|name| name.starts_with(".o"))
                    {
                        let _ = fs::rename(around.join(&name), folder.join("moved"));
                        let _ = std::os::unix::fs::symlink(&victim, around.join(&name));
                        let _ = fs::remove_dir_all(folder.join("moved"));
                    }
                }
            });
            for _ in 0..300 {
                if let Ok((bound, _listener)) = Bound::new(&around.join("socket")) {
                    bound.unlink();
                }
                for name in names(&around) {
                    let _ = fs::remove_file(around.join(name));
                }
            }
            over.store(true, Ordering::Relaxed);
        });
        let mode = |path: &Path| {
            fs::metadata(path)
                .expect("it is there")
                .permissions()
                .mode()
                & 0o7777
        };
        assert_eq!((mode(&victim), mode(&victim.join("s"))), (0o755, 0o644));
        assert_eq!(
            fs::read(victim.join("s")).expect("it is there"),
            b"precious"
        );
        fs::remove_dir_all(&folder).expect("it is ours");
    }

    #[test]
    fn concurrent_binds_to_one_path_yield_one_listener() {
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
            let mut won: Vec<_> = threads
                .into_iter()
                .filter_map(|thread| thread.join().expect("no panic"))
                .collect();
            assert_eq!(won.len(), 1);
            let (bound, _listener) = won.remove(0);
            bound.unlink();
            assert_eq!(names(&folder), Vec::<String>::new());
        }
        fs::remove_dir(&folder).expect("it is empty");
    }
}
