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
    let elf = Elf::read(program).ok_or("the agent is not a 64-bit ELF file")?;
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
/// for this machine is run to list its functions; the others must have a table of the same size.
///
/// # Errors
/// Returns an error if a table is missing, has another size, or has two functions of one name.
pub(crate) fn functions(agents: &[(Platform, &Path)]) -> Result<(), String> {
    let mut sizes = Vec::new();
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
        if Some(platform) == Platform::host() {
            let names = output_of(Command::new(path).arg("--offshoot-functions")).map_err(|error| {
                format!(
                    "{error}: the agent does not list its functions; its main must be `agent_main()` or begin with `init()`"
                )
            })?;
            distinct(names.lines())?;
            let count = names.lines().count() as u64;
            if count == 0 || size % count != 0 {
                return Err(format!(
                    "the agent for {platform} lists {count} functions, but its table has {size} bytes"
                ));
            }
        }
    }
    match sizes.as_slice() {
        [(_, first), rest @ ..] if rest.iter().any(|(_, size)| size != first) => Err(format!(
            "the agents do not have the same functions: {sizes:?}"
        )),
        _ => Ok(()),
    }
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
    use super::distinct;

    #[test]
    fn duplicate_function_names_in_an_image_are_refused() {
        assert_eq!(distinct(["a::one", "a::two", "b::one"].into_iter()), Ok(()));
        let error = distinct(["a::one", "a::two", "a::one"].into_iter()).unwrap_err();
        assert!(error.contains("named a::one:"), "{error}");
    }
}
