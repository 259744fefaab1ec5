//! Control groups, which a container engine makes below its own and does not remove.
//!
//! They belong to the machine and not to the sandbox, so a fixture removes those of its name.

use std::fs;
use std::path::Path;

use crate::process;
use crate::run::LIMIT;

/// Removes the groups whose names begin so, in every hierarchy, with all groups below them.
pub fn remove(prefix: &str) {
    process::eventually(LIMIT, || {
        let mut left = false;
        for hierarchy in folders(Path::new("/sys/fs/cgroup")) {
            for group in folders(&hierarchy) {
                let name = group.file_name().unwrap_or_default().to_string_lossy();
                if name.starts_with(prefix) {
                    left |= !remove_tree(&group);
                }
            }
        }
        !left
    });
}

/// Removes a group and those below it; returns false while one has processes.
fn remove_tree(group: &Path) -> bool {
    for below in folders(group) {
        remove_tree(&below);
    }
    fs::remove_dir(group).is_ok() || !group.exists()
}

fn folders(path: &Path) -> Vec<std::path::PathBuf> {
    let Ok(listing) = fs::read_dir(path) else {
        return Vec::new();
    };
    let is_folder = |entry: &fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_dir());
    listing
        .flatten()
        .filter(is_folder)
        .map(|entry| entry.path())
        .collect()
}

/// A control group with a limit of memory, removed when dropped.
#[derive(Debug)]
pub struct MemoryLimit {
    path: std::path::PathBuf,
}

impl MemoryLimit {
    /// Creates a group with at most so many bytes; `None` where this system does not allow it.
    pub fn new(name: &str, bytes: u64) -> Option<Self> {
        let name = format!("{name}.{}", std::process::id());
        let hierarchies = [
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
            ("/sys/fs/cgroup", "memory.max"),
        ];
        hierarchies.into_iter().find_map(|(hierarchy, limit)| {
            let path = Path::new(hierarchy).join(&name);
            fs::create_dir(&path).ok()?;
            let group = Self { path };
            fs::write(group.path.join(limit), bytes.to_string()).ok()?;
            Some(group)
        })
    }

    /// Returns words that run `words` in the group.
    pub fn words(&self, words: &[&str]) -> Vec<String> {
        let enter = format!(
            "echo $$ >{}/cgroup.procs && exec \"$@\"",
            self.path.display()
        );
        let enter = ["sh", "-c", &enter, "sh"];
        let all = enter.iter().chain(words);
        all.map(|word| (*word).to_owned()).collect()
    }
}

impl Drop for MemoryLimit {
    fn drop(&mut self) {
        process::eventually(LIMIT, || remove_tree(&self.path));
    }
}
