//! The end-to-end suites: what is known of each beside its name.

use std::fs;

use crate::workspace::workspace;

/// Seconds after which a program of unit tests is killed.
pub(super) const UNIT_SECONDS: u64 = 600;

/// What the scheduler knows of a suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct About {
    /// Its name: that of its file in `tests/tests`.
    pub name: &'static str,
    /// Its budget: seconds after which it is killed. Suites with a large budget start first.
    pub seconds: u64,
    /// True if it must not run beside others.
    pub alone: bool,
}

/// What holds for a suite that is not in [`TABLE`].
const USUAL: About = About {
    name: "",
    seconds: 240,
    alone: false,
};

/// The suites that are slow, or measure what the rest of the machine would change.
const TABLE: [About; 11] = [
    slow("guard"),
    slow("guide"),
    slow("chains"),
    slow("job_control"),
    slow("cleanup"),
    slow("aborted_programs"),
    // Bounds on memory, processor time and the end of a tree under a flood.
    alone("hostile_child"),
    alone("hostile_child_contexts"),
    alone("hostile_child_streams"),
    alone("hostile_child_values"),
    // A host is lost after three seconds of silence, which a busy machine prolongs.
    alone("silent_host"),
];

const fn slow(name: &'static str) -> About {
    About {
        name,
        seconds: 480,
        alone: false,
    }
}

const fn alone(name: &'static str) -> About {
    About {
        name,
        seconds: 600,
        alone: true,
    }
}

/// Returns what is known of a suite.
pub(super) fn about(name: &str) -> About {
    TABLE
        .into_iter()
        .find(|about| about.name == name)
        .unwrap_or(USUAL)
}

/// Returns the names of all suites.
///
/// # Errors
/// Returns an error if the folder of the suites cannot be read.
pub(super) fn all() -> std::io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(workspace().join("tests/tests"))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            names.extend(
                path.file_stem()
                    .map(|stem| stem.to_string_lossy().into_owned()),
            );
        }
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_suite_in_the_table_exists() {
        let all = all().unwrap();
        for about in TABLE {
            assert!(
                all.iter().any(|name| name == about.name),
                "no suite {}",
                about.name
            );
        }
        assert!(all.len() > 40, "{all:?}");
    }
}
