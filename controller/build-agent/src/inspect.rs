//! Inspects a finished agent: its linkage, its table of functions.

use std::{path::Path, process::Command};

use offshoot_bootstrap::{
    Platform,
    elf::{Elf, Linkage},
};

use crate::run::output_of;

/// The section with one entry for each function of an agent.
const FUNCTIONS: &str = "linkme_FUNCTIONS";

/// Checks that `program` is static, so that it runs on a machine without libraries.
///
/// # Errors
/// Returns an error if the program is not static, or not a program.
pub(crate) fn is_static(program: &[u8], platform: Platform) -> Result<(), String> {
    let elf = Elf::read(program).ok_or("the agent is not an ELF file")?;
    match elf
        .linkage()
        .ok_or("the agent's program headers are damaged")?
    {
        Linkage::Static => Ok(()),
        Linkage::StaticPie | Linkage::Dynamic => Err(format!(
            "the agent for {platform} is not static: it has an interpreter or needs relocation"
        )),
    }
}

/// Checks that no function was lost between source and binary and that names are unique. An agent
/// for this machine is run to list its functions; those whose addresses are as wide must have a
/// table of the same size, and the others one of so many equal entries.
///
/// # Errors
/// Returns an error if a table is missing, has another size, or has two functions of one name.
pub(crate) fn functions(agents: &[(Platform, &Path)]) -> Result<(), String> {
    let mut sizes = Vec::new();
    let mut listed = None;
    for &(platform, path) in agents {
        let program =
            std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let size = Elf::read(&program).and_then(|elf| elf.section(FUNCTIONS));
        let Some(size) = size else {
            return Err(format!(
                "the agent for {platform} has no function table (section {FUNCTIONS})"
            ));
        };
        sizes.push((platform, size));
        if size == 0 {
            return Err(format!(
                "the function table of the agent for {platform} is empty"
            ));
        }
        if Some(platform) == Platform::host() {
            let names = output_of(Command::new(path).arg("--offshoot-functions")).map_err(|error| {
                format!(
                    "{error}: the agent does not list its functions; its main must be `agent_main()` or begin with `init()`"
                )
            })?;
            distinct(names.lines())?;
            listed = Some((names.lines().count() as u64).max(1));
        }
    }
    same(&sizes, listed)
}

/// Compares the lengths of the function tables with each other, and with the number of functions
/// that an agent has listed.
fn same(sizes: &[(Platform, u64)], listed: Option<u64>) -> Result<(), String> {
    for (platform, size) in sizes {
        if let Some(count) = listed.filter(|count| size % count != 0) {
            return Err(format!(
                "an agent lists {count} functions, but the table of that for {platform} has {size} bytes"
            ));
        }
        let other = sizes.iter().find(|(other, length)| {
            other.pointer_width() == platform.pointer_width() && length != size
        });
        if other.is_some() {
            return Err(format!(
                "the agents do not have the same functions: {sizes:?}"
            ));
        }
    }
    Ok(())
}

/// Checks that names are unique: a call finds its function by name only, so of two functions with
/// one name it would run the one that the linker put first.
fn distinct<'a>(names: impl Iterator<Item = &'a str>) -> Result<(), String> {
    let mut seen = std::collections::BTreeSet::new();
    match names.into_iter().find(|name| !seen.insert(*name)) {
        None => Ok(()),
        Some(name) => Err(format!(
            "the agent has two functions named {name}: rename one or move it to another module (the binary \
             and the library of a package have the same root module, and so do two versions of one crate)"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::{distinct, same};
    use offshoot_bootstrap::Platform::{Armv7, I686, X86_64};

    #[test]
    fn tables_of_other_lengths_are_refused() {
        assert_eq!(
            same(&[(X86_64, 640), (I686, 400), (Armv7, 400)], Some(10)),
            Ok(())
        );
        assert!(same(&[(X86_64, 640), (I686, 404)], Some(10)).is_err());
        assert!(same(&[(I686, 400), (Armv7, 360)], None).is_err());
    }

    #[test]
    fn duplicate_function_names_in_an_image_are_refused() {
        assert_eq!(distinct(["a::one", "a::two", "b::one"].into_iter()), Ok(()));
        let error = distinct(["a::one", "a::two", "a::one"].into_iter()).unwrap_err();
        assert!(error.contains("named a::one:"), "{error}");
    }
}
