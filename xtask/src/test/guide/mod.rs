//! `guide`: the programs of `docs/guide` and the examples of the library, built as static programs.
//!
//! Each can be its own image, so they are built for musl, in a package that is made up here. A program of the guide that does not
//! compile is reported with its file and line in the guide. The suite `guide` runs them; nothing is run here.

mod blocks;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::{Value, json};

use crate::workspace::{Outcome, cargo, target_directory, workspace};
use blocks::Program;

/// Where the guide is, from the workspace's root.
const GUIDE: &str = "docs/guide";

/// Examples of the library that are programs of the guide as well.
const EXAMPLES: &str = "controller/examples";

/// For what they are built.
const TARGET: &str = "x86_64-unknown-linux-musl";

/// `guide`: builds the programs and says where they are.
///
/// # Errors
/// When a block is not marked, or does not compile without a warning.
pub fn run(words: &[String]) -> Outcome {
    if let Some(word) = words.first() {
        return Err(format!("guide takes no arguments, not even {word:?}").into());
    }
    let folder = folder();
    fs::create_dir_all(folder.join("src"))?;
    let mut programs = Vec::new();
    for (file, text) in chapters()? {
        programs.extend(blocks::programs(&file, &text)?.into_iter().map(|program| (file.clone(), program)));
    }
    write_sources(&folder, &programs)?;
    let examples = examples()?;
    write_if_other(&folder.join("Cargo.toml"), &manifest(&programs, &examples))?;
    fs::copy(workspace().join("Cargo.lock"), folder.join("Cargo.lock"))?;
    build(&folder, &programs)?;
    let built = folder.join("build").join(TARGET).join("release");
    let list: Vec<Value> = programs
        .iter()
        .map(|(file, program)| json!({ "name": program.name, "file": file, "line": program.line, "run": program.run }))
        .collect();
    fs::write(folder.join("programs.json"), json!({ "folder": built, "programs": list }).to_string())?;
    println!("{} programs and {} examples in {}", programs.len(), examples.len(), built.display());
    Ok(())
}

/// What the suite is given: a folder with the list of programs in it.
pub fn folder() -> PathBuf {
    target_directory().join("guide")
}

/// The files of the guide, in order, with their texts.
fn chapters() -> Result<BTreeMap<String, String>, Box<dyn std::error::Error>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(workspace().join(GUIDE))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "md") {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            found.insert(format!("{GUIDE}/{name}"), fs::read_to_string(&path)?);
        }
    }
    Ok(found)
}

fn examples() -> Result<Vec<PathBuf>, Box<dyn std::error::Error>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(workspace().join(EXAMPLES))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn write_sources(folder: &Path, programs: &[(String, Program)]) -> Outcome {
    let mut names: Vec<&str> = programs.iter().map(|(_, program)| program.name.as_str()).collect();
    names.sort_unstable();
    if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(format!("two programs of the guide have the name {}", twice[0]).into());
    }
    for (_, program) in programs {
        write_if_other(&folder.join(source(program)), &program.source)?;
    }
    Ok(())
}

fn source(program: &Program) -> String {
    format!("src/{}.rs", program.name)
}

fn manifest(programs: &[(String, Program)], examples: &[PathBuf]) -> String {
    let controller = workspace().join("controller");
    let mut text = format!(
        "[package]\nname = \"guide\"\nversion = \"0.0.0\"\nedition = \"2024\"\npublish = false\nautobins = false\n\n[workspace]\n\n\
         [dependencies]\noffshoot = {{ path = \"{}\", default-features = false, features = [\"log\"] }}\nserde = {{ version = \"1\", features = [\"derive\"] }}\n\
         serde_json = \"1\"\ntracing = {{ version = \"0.1\", default-features = false, features = [\"std\"] }}\n\
         tokio = {{ version = \"1\", default-features = false, features = [\"rt-multi-thread\"] }}\n\
         tracing-subscriber = {{ version = \"0.3\", default-features = false, features = [\"std\", \"fmt\"] }}\n\n\
         [profile.release]\nopt-level = \"s\"\nstrip = true\nlto = false\ncodegen-units = 16\n",
        controller.display()
    );
    for (_, program) in programs {
        text.push_str(&format!("\n[[bin]]\nname = \"{}\"\npath = \"{}\"\n", program.name, source(program)));
    }
    for path in examples {
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        text.push_str(&format!("\n[[bin]]\nname = \"{name}\"\npath = \"{}\"\n", path.display()));
    }
    text
}

/// Builds the package; what the compiler says about a program names its place in the guide.
fn build(folder: &Path, programs: &[(String, Program)]) -> Outcome {
    let mut command = cargo();
    command.current_dir(folder).args(["build", "--release", "--bins", "--keep-going", "--target", TARGET]);
    command.args(["--message-format", "json"]).arg("--target-dir").arg(folder.join("build"));
    command.env_remove("RUSTFLAGS").env_remove("CARGO_TARGET_DIR");
    let output = command.stderr(Stdio::inherit()).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let mut complaints = 0;
    for message in text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        let Some(rendered) = message["message"]["rendered"].as_str() else { continue };
        complaints += 1;
        eprintln!("{}", in_the_guide(rendered, programs));
    }
    match (output.status.success(), complaints) {
        (true, 0) => Ok(()),
        (true, _) => Err("programs of the guide compile with warnings; a reader would see them, too".into()),
        (false, _) => Err("programs of the guide do not compile".into()),
    }
}

fn in_the_guide(message: &str, programs: &[(String, Program)]) -> String {
    let named = programs.iter().find(|(_, program)| message.contains(&source(program)));
    match named {
        Some((file, program)) => message.replace(&source(program), file),
        None => message.to_owned(),
    }
}

fn write_if_other(path: &Path, text: &str) -> std::io::Result<()> {
    match fs::read_to_string(path) {
        Ok(found) if found == text => Ok(()),
        _ => fs::write(path, text),
    }
}
