//! The functions that run on the hosts. Both binaries of this package use them: the agent the code,
//! the program the types.

use std::io;
use std::path::PathBuf;

/// The `count` largest files below `folder` with their lengths, the largest first. Folders that
/// cannot be read are passed over, links are not followed.
#[offshoot::remote]
pub fn largest(folder: PathBuf, count: usize) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut files = Vec::new();
    let mut entries: Vec<_> = std::fs::read_dir(folder)?.flatten().collect();
    while let Some(entry) = entries.pop() {
        let Ok(found) = entry.metadata() else {
            continue;
        };
        if found.is_dir() {
            entries.extend(
                std::fs::read_dir(entry.path())
                    .into_iter()
                    .flatten()
                    .flatten(),
            );
        } else {
            files.push((found.len(), entry.path()));
        }
    }
    files.sort_unstable_by(|one, other| other.cmp(one));
    files.truncate(count);
    Ok(files)
}
