//! Files that can be trusted: no other user can have created, replaced or changed them.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Permission of everybody to write.
const OTHERS: u32 = 0o002;
/// Permission of the group to write.
const GROUP: u32 = 0o020;
/// In a folder with this bit only the owner of a file can rename or remove it.
const STICKY: u32 = 0o1000;

/// The id that the kernel shows for users who are not mapped into a user namespace.
const OVERFLOW: u32 = 65534;

/// The users who may own a trusted file.
#[derive(Clone, Copy)]
pub(super) struct Owners {
    user: u32,
    /// The owner of the running program, who controls it anyway.
    program: u32,
    /// The id for all users that a user namespace does not map, the root of the machine among them.
    unmapped: Option<u32>,
}

/// The reason why a file is not read.
pub(super) enum Refused {
    /// The file does not exist, or cannot be examined.
    Io(io::Error),
    /// Another user could have written the file. The text is a sentence about which and where.
    Others(String),
}

impl Owners {
    /// Returns this user, root, and the owner of the program at `program`.
    pub(super) fn of(program: &Path) -> Self {
        let user = nix::unistd::geteuid().as_raw();
        let whole = fs::read_to_string("/proc/self/uid_map")
            .is_ok_and(|map| map.trim_end().ends_with("4294967295"));
        Self {
            user,
            program: fs::metadata(program).map_or(user, |about| about.uid()),
            unmapped: (!whole).then_some(OVERFLOW),
        }
    }

    /// Reads a file if the file and every folder above it belong to one of these users, and no
    /// other user may write to them. A folder with the sticky bit may be open to others, who cannot
    /// rename or remove the files of their owners.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read, or if another user could have written it.
    pub(super) fn read(self, path: &Path) -> Result<Vec<u8>, Refused> {
        // Resolved once: the folders that links lead through are checked, and cannot be swapped
        // after the check.
        let path = fs::canonicalize(path).map_err(Refused::Io)?;
        for part in path.ancestors() {
            let about = fs::symlink_metadata(part).map_err(Refused::Io)?;
            if let Some(why) = self.objection(&about) {
                return Err(Refused::Others(format!(
                    "{} is not used: {why} {}",
                    path.display(),
                    part.display()
                )));
            }
        }
        // Reading a FIFO would block until somebody writes to it.
        if !fs::symlink_metadata(&path).is_ok_and(|about| about.is_file()) {
            return Err(Refused::Others(format!(
                "{} is not used: it is not a regular file",
                path.display()
            )));
        }
        fs::read(&path).map_err(Refused::Io)
    }

    /// Returns why other users could change a file or a folder, as words that end before its path.
    fn objection(self, about: &Metadata) -> Option<String> {
        let (owner, mode) = (about.uid(), about.mode());
        let sticky = about.is_dir() && mode & STICKY != 0;
        // Distributions give each user a group with the same id, of which nobody else is a member.
        let shared = mode & GROUP != 0 && about.gid() != owner;
        if ![0, self.user, self.program].contains(&owner) && Some(owner) != self.unmapped {
            return Some(format!("user {owner} owns"));
        }
        if sticky {
            return None;
        }
        if mode & OTHERS != 0 {
            Some("everybody may write to".into())
        } else if shared {
            Some(format!("group {} may write to", about.gid()))
        } else {
            None
        }
    }
}

/// Returns the target folders of cargo in which `program` was built, the nearest first: the folders
/// above it with a mark of cargo. There are two after `cargo build --target`, whose outer one has
/// the agents.
pub(super) fn built_in(program: &Path) -> Vec<PathBuf> {
    let above = program.ancestors().skip(1).take(4);
    let made = |folder: &&Path| {
        ["CACHEDIR.TAG", ".rustc_info.json"]
            .iter()
            .any(|name| folder.join(name).exists())
    };
    above.filter(made).map(Path::to_path_buf).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn scratch(name: &str) -> PathBuf {
        let folder =
            std::env::temp_dir().join(format!("offshoot-guarded-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(folder.join("target/agents")).expect("there is a temporary directory");
        fs::write(folder.join("target/agents/image"), "image").expect("it is ours");
        fs::write(folder.join("app"), "program").expect("it is ours");
        for (path, mode) in [
            ("", 0o755),
            ("target", 0o755),
            ("target/agents", 0o755),
            ("target/agents/image", 0o644),
        ] {
            fs::set_permissions(folder.join(path), fs::Permissions::from_mode(mode))
                .expect("it is ours");
        }
        folder
    }

    fn refusal(folder: &Path, path: &str) -> Option<String> {
        match Owners::of(&folder.join("app")).read(&folder.join(path)) {
            Ok(bytes) => {
                assert_eq!(bytes, b"image");
                None
            }
            Err(Refused::Others(why)) => Some(why),
            Err(Refused::Io(error)) => panic!("{error}"),
        }
    }

    #[test]
    fn a_special_file_is_refused_without_blocking() {
        let folder = scratch("fifo");
        let image = folder.join("target/agents/image");
        fs::remove_file(&image).expect("it is ours");
        nix::unistd::mkfifo(&image, nix::sys::stat::Mode::S_IRUSR).expect("it is our folder");
        for place in ["target/agents/image", "target/agents"] {
            let why = refusal(&folder, place).expect("it is none");
            assert!(why.ends_with("it is not a regular file"), "{why}");
        }
        fs::remove_dir_all(&folder).expect("it is ours");
    }

    #[test]
    fn a_file_writable_by_others_is_refused_with_path_and_reason() {
        let folder = scratch("modes");
        let image = "target/agents/image";
        assert_eq!(refusal(&folder, image), None);
        for (path, mode, usual) in [
            ("", 0o777, 0o755),
            ("target", 0o757, 0o755),
            ("target/agents", 0o777, 0o755),
            ("target/agents", 0o702, 0o755),
            (image, 0o666, 0o644),
            // Sticky is for folders.
            (image, 0o1666, 0o644),
        ] {
            let path = folder.join(path);
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("it is ours");
            let why = refusal(&folder, image)
                .unwrap_or_else(|| panic!("{} of mode {mode:o}", path.display()));
            let part = path.components().as_path().display().to_string();
            assert!(
                why.contains("everybody may write to") && why.ends_with(&part),
                "{why}"
            );
            fs::set_permissions(&path, fs::Permissions::from_mode(usual)).expect("it is ours");
        }
        for mode in [0o1777, 0o700, 0o555] {
            fs::set_permissions(folder.join("target"), fs::Permissions::from_mode(mode))
                .expect("it is ours");
            assert_eq!(refusal(&folder, image), None, "mode {mode:o}");
        }
        fs::remove_dir_all(&folder).expect("it is ours");
    }

    #[test]
    fn a_file_of_another_user_is_refused_unless_that_user_owns_the_program() {
        let folder = scratch("owners");
        let image = "target/agents/image";
        if std::os::unix::fs::chown(folder.join("target/agents"), Some(4711), None).is_ok() {
            let why = refusal(&folder, image).expect("it is another's");
            assert!(why.contains("user 4711 owns"), "{why}");
            std::os::unix::fs::chown(folder.join("app"), Some(4711), None).expect("root may");
            assert_eq!(refusal(&folder, image), None);
            // A group that others are in as well.
            std::os::unix::fs::chown(folder.join("target"), None, Some(100)).expect("root may");
            fs::set_permissions(folder.join("target"), fs::Permissions::from_mode(0o775))
                .expect("it is ours");
            let why = refusal(&folder, image).expect("a group may write");
            assert!(why.contains("group 100 may write"), "{why}");
        }
        fs::remove_dir_all(&folder).expect("it is ours");
    }

    #[test]
    fn a_symlink_is_judged_by_its_target() {
        let folder = scratch("links");
        symlink("target", folder.join("good")).expect("it is ours");
        assert_eq!(refusal(&folder, "good/agents/image"), None);
        fs::set_permissions(folder.join("target"), fs::Permissions::from_mode(0o777))
            .expect("it is ours");
        assert!(refusal(&folder, "good/agents/image").is_some());
        fs::remove_dir_all(&folder).expect("it is ours");
    }

    #[test]
    fn only_a_cargo_target_directory_is_searched() {
        let folder = scratch("beside");
        let program = folder.join("target/release/app");
        assert_eq!(built_in(&program), Vec::<PathBuf>::new());
        for tag in ["CACHEDIR.TAG", ".rustc_info.json"] {
            fs::write(folder.join("target").join(tag), "").expect("it is ours");
            for program in [
                "target/release/app",
                "target/debug/deps/app",
                "target/x86_64-unknown-linux-musl/release/app",
            ] {
                assert_eq!(
                    built_in(&folder.join(program)),
                    [folder.join("target")],
                    "{tag}, {program}"
                );
            }
            // cargo marks the folder of a target as well, and leaves the agents in the outer one.
            let inner = folder.join("target/x86_64-unknown-linux-musl");
            fs::create_dir_all(&inner).expect("it is ours");
            fs::write(inner.join(tag), "").expect("it is ours");
            assert_eq!(
                built_in(&inner.join("release/examples/app")),
                [inner.clone(), folder.join("target")]
            );
            fs::remove_dir_all(inner).expect("it is ours");
            fs::remove_file(folder.join("target").join(tag)).expect("it is ours");
        }
        fs::remove_dir_all(&folder).expect("it is ours");
    }
}
