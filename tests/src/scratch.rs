//! Directories that exist for the length of one test.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// A fresh directory under `/tmp`, mode 0755, removed with its contents when dropped.
#[derive(Debug)]
pub struct ScratchDir {
    path: PathBuf,
}

impl ScratchDir {
    /// Creates a directory whose name starts with `label`.
    ///
    /// # Panics
    /// Panics if it cannot be made.
    pub fn new(label: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = PathBuf::from(format!("/tmp/{label}.{}.{number}", std::process::id()));
        fs::create_dir(&path)
            .unwrap_or_else(|error| panic!("cannot make {}: {error}", path.display()));
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(&path, mode)
            .unwrap_or_else(|error| panic!("cannot open {}: {error}", path.display()));
        Self { path }
    }

    /// Returns its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a file into it and returns its path.
    ///
    /// # Panics
    /// Panics if it cannot be written.
    pub fn file(&self, name: &str, contents: impl AsRef<[u8]>, mode: u32) -> PathBuf {
        let path = self.path.join(name);
        write_file(&path, contents, mode);
        path
    }
}

impl Drop for ScratchDir {
    fn drop(&mut self) {
        // The leak check reports files that cannot be removed.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Writes a file with exactly this mode.
///
/// # Panics
/// Panics if it cannot be written.
pub fn write_file(path: &Path, contents: impl AsRef<[u8]>, mode: u32) {
    let written = fs::write(path, contents)
        .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(mode)));
    written.unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
}
