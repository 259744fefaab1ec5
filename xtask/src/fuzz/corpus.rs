//! The corpora: small in the tree, of any size in the scratch folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::folders::{folder, scratch, tree};
use crate::workspace::Outcome;

/// The largest number of files and of bytes that the corpus of one target has in the tree.
const MOST: (usize, u64) = (95, 190_000);

/// Returns the longest input of a target, in bytes. Long inputs make a target slow.
pub(super) fn longest(name: &str) -> usize {
    match name {
        "routes" => 2048,
        "frames" | "dialogue" => 8192,
        _ => 4096,
    }
}

/// Adds inputs of the scratch folder that cover new code to the tree, after libFuzzer has minimized
/// the set.
///
/// # Errors
/// Returns an error if libFuzzer cannot merge the folders.
pub(super) fn merge(name: &str, program: &Path) -> Outcome {
    let merged = folder().join("merged").join(name);
    let _ = fs::remove_dir_all(&merged);
    fs::create_dir_all(&merged)?;
    let status = Command::new(program)
        .args(["-merge=1", "-timeout=60", "-rss_limit_mb=1024"])
        .arg(format!("-max_len={}", longest(name)))
        .args([&merged, &tree(name), &scratch(name)])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(fs::File::create(
            folder().join("logs").join(format!("{name}.merge")),
        )?)
        .status()?;
    if !status.success() {
        return Err(format!("{name}: libFuzzer could not merge its corpus: {status}").into());
    }
    let tree = tree(name);
    let mut kept = files(&tree)?;
    let mut size: u64 = kept.iter().map(|(size, _)| size).sum();
    // Inputs of the tree stay, because coverage does not show why some of them were added. Of the
    // others, inputs of every size are taken: the smallest reach little of the code.
    let found = files(&merged)?;
    let every = found
        .len()
        .div_ceil(MOST.0.saturating_sub(kept.len()).max(1))
        .max(1);
    for (length, file) in found.into_iter().rev().step_by(every) {
        let Some(file_name) = file.file_name() else {
            continue;
        };
        let place = tree.join(file_name);
        if place.exists() || kept.len() >= MOST.0 || size + length > MOST.1 {
            continue;
        }
        fs::copy(&file, &place)?;
        size += length;
        kept.push((length, place));
    }
    println!(
        "{name}: {} files with {size} bytes in {}",
        kept.len(),
        tree.display()
    );
    Ok(())
}

/// Returns the files of a folder with their sizes, the smallest first.
fn files(folder: &Path) -> Result<Vec<(u64, PathBuf)>, Box<dyn std::error::Error>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        files.push((entry.metadata()?.len(), entry.path()));
    }
    files.sort_unstable();
    Ok(files)
}
