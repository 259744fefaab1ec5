//! `guide`: builds the programs of `docs/guide` and the examples of the library as static programs.
//!
//! Each program can be its own image, so it is built for musl, in a package that this module
//! generates. A program of the guide that does not compile is reported with its file and line in
//! the guide. The suite `guide` runs the programs; this module runs none.

mod blocks;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::{Value, json};

use crate::workspace::{Outcome, cargo, target_directory, workspace};
use blocks::Program;

/// The folder of the guide, from the root of the workspace.
const GUIDE: &str = "docs/guide";

/// The folder of the examples, which the suite runs like the programs of the guide.
const EXAMPLES: &str = "controller/examples";

/// The target for which the programs are built.
const TARGET: &str = "x86_64-unknown-linux-musl";

/// Builds the programs and prints their folder.
///
/// # Errors
/// Returns an error if a block of Rust is not marked, or compiles with a warning or not at all.
pub(crate) fn run(words: &[String]) -> Outcome {
    if let Some(word) = words.first() {
        return Err(format!("guide takes no arguments, got {word:?}").into());
    }
    let folder = folder();
    fs::create_dir_all(folder.join("src"))?;
    let mut programs = Vec::new();
    for (file, text) in chapters()? {
        programs.extend(
            blocks::programs(&file, &text)?
                .into_iter()
                .map(|program| (file.clone(), program)),
        );
    }
    write_sources(&folder, &programs)?;
    let examples = examples()?;
    write_if_other(&folder.join("Cargo.toml"), &manifest(&programs, &examples))?;
    fs::copy(workspace().join("Cargo.lock"), folder.join("Cargo.lock"))?;
    let built = folder.join("build").join(TARGET).join("release");
    build(&folder, &programs)?;
    build_tests(&folder, &programs, &built)?;
    let list: Vec<Value> = programs
        .iter()
        .map(|(file, program)| json!({ "name": program.name, "file": file, "line": program.line, "run": program.run }))
        .collect();
    fs::write(
        folder.join("programs.json"),
        json!({ "folder": built, "programs": list }).to_string(),
    )?;
    println!(
        "{} programs and {} examples in {}",
        programs.len(),
        examples.len(),
        built.display()
    );
    Ok(())
}

/// Returns the folder in which the suite finds the list of programs.
pub(crate) fn folder() -> PathBuf {
    target_directory().join("guide")
}

/// Returns the files of the guide with their texts, in order.
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
    let mut names: Vec<&str> = programs
        .iter()
        .map(|(_, program)| program.name.as_str())
        .collect();
    names.sort_unstable();
    if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(format!("two programs of the guide are named {}", twice[0]).into());
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
         tokio = {{ version = \"1\", default-features = false, features = [\"macros\", \"rt-multi-thread\", \"time\"] }}\n\
         tracing-subscriber = {{ version = \"0.3\", default-features = false, features = [\"std\", \"fmt\"] }}\n\n\
         [features]\ntests = [\"offshoot/testing\"]\n\n\
         [profile.release]\nopt-level = \"s\"\nstrip = true\nlto = false\ncodegen-units = 16\n",
        controller.display()
    );
    for (_, program) in programs {
        text.push_str(&format!(
            "\n[[bin]]\nname = \"{}\"\npath = \"{}\"\n",
            program.name,
            source(program)
        ));
        if program.tests {
            text.push_str("required-features = [\"tests\"]\n");
        }
    }
    for path in examples {
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        text.push_str(&format!(
            "\n[[bin]]\nname = \"{name}\"\npath = \"{}\"\n",
            path.display()
        ));
    }
    text
}

/// Builds the package, and prints each message of the compiler with its place in the guide.
fn build(folder: &Path, programs: &[(String, Program)]) -> Outcome {
    compile(&["build", "--bins", "--keep-going"], folder, programs).map(drop)
}

/// Builds the programs whose `main` is the harness of `cargo test`, with the feature of the library
/// that is meant for them, and puts them beside the others.
fn build_tests(folder: &Path, programs: &[(String, Program)], built: &Path) -> Outcome {
    let mut words = vec!["test", "--no-run", "--features", "tests"];
    let tests: Vec<&str> = programs
        .iter()
        .filter(|(_, program)| program.tests)
        .map(|(_, program)| program.name.as_str())
        .collect();
    words.extend(tests.iter().flat_map(|name| ["--bin", name]));
    let messages = compile(&words, folder, programs)?;
    for name in tests {
        let executable = messages
            .iter()
            .filter(|message| message["target"]["name"] == name)
            .find_map(|message| message["executable"].as_str())
            .ok_or_else(|| format!("cargo did not say where the test program {name} is"))?;
        fs::copy(executable, built.join(name))?;
    }
    Ok(())
}

/// Runs cargo in the package, prints each message of the compiler with its place in the guide, and
/// returns all messages.
fn compile(
    words: &[&str],
    folder: &Path,
    programs: &[(String, Program)],
) -> Result<Vec<Value>, Box<dyn std::error::Error>> {
    let mut command = cargo();
    command
        .current_dir(folder)
        .args(words)
        .args(["--release", "--target", TARGET])
        .args(["--message-format", "json"])
        .arg("--target-dir")
        .arg(folder.join("build"));
    command
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_TARGET_DIR");
    let output = command.stderr(Stdio::inherit()).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let messages: Vec<Value> = text
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    let mut complaints = 0;
    for message in &messages {
        let Some(rendered) = message["message"]["rendered"].as_str() else {
            continue;
        };
        complaints += 1;
        eprintln!("{}", in_the_guide(rendered, programs));
    }
    match (output.status.success(), complaints) {
        (true, 0) => Ok(messages),
        (true, _) => {
            Err("programs of the guide compile with warnings, which a reader would see too".into())
        }
        (false, _) => Err("programs of the guide do not compile".into()),
    }
}

fn in_the_guide(message: &str, programs: &[(String, Program)]) -> String {
    let named = programs
        .iter()
        .find(|(_, program)| message.contains(&source(program)));
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
