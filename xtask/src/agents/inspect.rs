//! Looks at a built agent: is it static, is every function in it and no two under one name, what is its hash.

use std::{path::Path, process::Command};

use offshoot_bootstrap::{
    Platform,
    elf::{Elf, Linkage},
};

use crate::workspace::output_of;

/// The section that holds one entry for each function of an agent.
const FUNCTIONS: &str = "linkme_FUNCTIONS";

/// That `program` runs on a machine on which nothing is installed.
pub fn is_static(program: &[u8], platform: Platform) -> Result<(), String> {
    let elf = Elf::read(program).ok_or("the agent is not a 64-bit ELF file")?;
    match elf.linkage().ok_or("the agent's program headers are damaged")? {
        Linkage::Static => Ok(()),
        Linkage::StaticPie | Linkage::Dynamic => Err(format!(
            "the agent for {platform} is not static: it names an interpreter or needs relocation"
        )),
    }
}

/// That no function was lost between source and binary, and that no two have one name: an agent that can run here is asked
/// for their names, and the others must have a table of the same size.
pub fn functions(agents: &[(Platform, &Path)]) -> Result<(), String> {
    let mut sizes = Vec::new();
    for &(platform, path) in agents {
        let program = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let size = Elf::read(&program).and_then(|elf| elf.section(FUNCTIONS));
        let Some(size) = size else {
            return Err(format!("the agent for {platform} has no function table (section {FUNCTIONS})"));
        };
        sizes.push((platform, size));
        if Some(platform) == Platform::host() {
            let names = output_of(Command::new(path).arg("--offshoot-functions")).map_err(|error| {
                format!(
                    "{error}: asked for its functions, the agent gave none; its main has to be `agent_main()` or begin with `init()`"
                )
            })?;
            distinct(names.lines())?;
            let count = names.lines().count() as u64;
            if count == 0 || size % count != 0 {
                return Err(format!(
                    "the agent for {platform} names {count} functions, but its table has {size} bytes"
                ));
            }
        }
    }
    match sizes.as_slice() {
        [(_, first), rest @ ..] if rest.iter().any(|(_, size)| size != first) => {
            Err(format!("the agents do not have the same functions: {sizes:?}"))
        }
        _ => Ok(()),
    }
}

/// A call finds its function by name alone; of two with one name it would run whichever the linker put first.
fn distinct<'a>(names: impl Iterator<Item = &'a str>) -> Result<(), String> {
    let mut seen = std::collections::BTreeSet::new();
    match names.into_iter().find(|name| !seen.insert(*name)) {
        None => Ok(()),
        Some(name) => Err(format!(
            "the agent has two functions of the name {name}: rename one or move it to another module (a binary              and a library of one package have the same root module; two versions of one crate as well)"
        )),
    }
}

/// The SHA-256 of a file, by the system's own program.
pub fn sha256(path: &Path) -> Result<String, String> {
    let line = output_of(Command::new("sha256sum").arg(path))?;
    Ok(line.split_whitespace().next().unwrap_or_default().into())
}

#[cfg(test)]
mod tests {
    use super::distinct;

    #[test]
    fn two_functions_of_one_name_are_refused_by_it() {
        assert_eq!(distinct(["a::one", "a::two", "b::one"].into_iter()), Ok(()));
        let error = distinct(["a::one", "a::two", "a::one"].into_iter()).unwrap_err();
        assert!(error.contains("the name a::one:"), "{error}");
    }
}
