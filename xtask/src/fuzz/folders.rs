//! The folders of a fuzz run.

use std::path::PathBuf;

use crate::workspace::workspace;

/// Returns the folder of everything that a fuzz run builds, apart from other builds: its flags go
/// into every crate.
pub(super) fn folder() -> PathBuf {
    workspace().join("target/fuzz")
}

/// Returns the folder of a target's corpus in the tree.
pub(super) fn tree(name: &str) -> PathBuf {
    workspace().join("tests/fuzz/corpus").join(name)
}

/// Returns the folder of the inputs that runs on this machine have added to a target's corpus.
pub(super) fn scratch(name: &str) -> PathBuf {
    folder().join("corpus").join(name)
}

/// Returns the folder of the inputs at which a target has failed.
pub(super) fn artifacts(name: &str) -> PathBuf {
    workspace().join("tests/fuzz/artifacts").join(name)
}
