//! Every file of the corpus through its check, with the ordinary tests, so that no failure found by
//! a fuzzer returns.

use offshoot_fuzz_checks::CHECKS;
use std::path::{Path, PathBuf};

/// The most files and bytes in the corpus of one target, because it is part of every clone.
const MOST: (usize, u64) = (100, 200_000);

fn corpus(target: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../corpus")
        .join(target);
    let entries = folder
        .read_dir()
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.expect("it can be listed").path())
        .collect();
    files.sort();
    files
}

#[test]
fn the_corpus_of_every_target_passes_its_check() {
    for (target, check) in CHECKS {
        let files = corpus(target);
        assert!(!files.is_empty(), "{target} has none");
        for file in files {
            // Shown when the test fails.
            println!("{}", file.display());
            check(&std::fs::read(&file).expect("it can be read"));
        }
    }
}

#[test]
fn the_corpus_is_small() {
    for (target, _) in CHECKS {
        let files = corpus(target);
        let size: u64 = files
            .iter()
            .map(|file| file.metadata().map_or(0, |file| file.len()))
            .sum();
        assert!(
            files.len() <= MOST.0 && size <= MOST.1,
            "{target}: {} files, {size} bytes",
            files.len()
        );
    }
}

#[test]
fn every_fuzz_target_has_a_check() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz_targets");
    let mut targets: Vec<String> = folder
        .read_dir()
        .expect("it is there")
        .filter_map(|entry| Some(entry.ok()?.path().file_stem()?.to_str()?.to_owned()))
        .collect();
    targets.sort();
    let mut checks = CHECKS.map(|(name, _)| name.to_owned());
    checks.sort();
    assert_eq!(targets, checks);
}
