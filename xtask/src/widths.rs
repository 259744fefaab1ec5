//! `widths`: comments in Rust have at most 100 columns, lines of Markdown at most 120.
//!
//! rustfmt keeps code within 100 columns and leaves comments alone, so this verb checks comments
//! only. A line is excused if nothing in it can be broken: one long word, or an address that would
//! not fit on a line of its own either.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use crate::workspace::{Outcome, workspace};

/// The most columns of a line with a comment in Rust; rustfmt's default for code.
const RUST: usize = 100;

/// The most columns of a line of Markdown.
const MARKDOWN: usize = 120;

/// Folders that are not searched, besides hidden ones: they hold what was built or found.
const SKIPPED: [&str; 2] = ["target", "artifacts"];

/// A line that is too long.
#[derive(Debug, PartialEq, Eq)]
struct Long {
    file: PathBuf,
    number: usize,
    columns: usize,
    most: usize,
}

impl fmt::Display for Long {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            file,
            number,
            columns,
            most,
        } = self;
        write!(
            formatter,
            "{}:{number}: {columns} columns, at most {most} are allowed",
            file.display()
        )
    }
}

/// Checks the files and folders that are named, or the whole workspace: `widths [PATH...]`.
///
/// # Errors
/// Returns an error if a line is too long; each is printed with its file and number. Returns an
/// error if a file cannot be read.
pub(crate) fn run(words: &[String]) -> Outcome {
    let mut files = Vec::new();
    if words.is_empty() {
        collect(&workspace(), &mut files)?;
    }
    for word in words {
        collect(&std::env::current_dir()?.join(word), &mut files)?;
    }
    files.sort();
    let mut count = 0;
    for file in &files {
        let text =
            fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
        let shown = file.strip_prefix(workspace()).unwrap_or(file);
        for long in long_lines(shown, &text) {
            println!("{long}");
            count += 1;
        }
    }
    match count {
        0 => Ok(()),
        1 => Err("1 line is too long".into()),
        _ => Err(format!("{count} lines are too long").into()),
    }
}

/// Adds a file, or the files of Rust and Markdown below a folder.
fn collect(path: &Path, files: &mut Vec<PathBuf>) -> Result<(), String> {
    let error = |error: std::io::Error| format!("{}: {error}", path.display());
    if !path.metadata().map_err(error)?.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    for entry in fs::read_dir(path).map_err(error)? {
        let entry = entry.map_err(error)?;
        let (name, below) = (entry.file_name(), entry.path());
        let skipped = SKIPPED.iter().any(|skipped| name == *skipped);
        if entry.file_type().map_err(error)?.is_dir() {
            if !skipped && !name.as_encoded_bytes().starts_with(b".") {
                collect(&below, files)?;
            }
        } else if below
            .extension()
            .is_some_and(|kind| kind == "rs" || kind == "md")
        {
            files.push(below);
        }
    }
    Ok(())
}

/// Returns the lines of a file that are too long.
fn long_lines(file: &Path, text: &str) -> Vec<Long> {
    let is_rust = file.extension().is_some_and(|extension| extension == "rs");
    let most = if is_rust { RUST } else { MARKDOWN };
    let mut found = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let columns = line.chars().count();
        if columns > most && (!is_rust || has_comment(line)) && !is_excused(line, most) {
            found.push(Long {
                file: file.to_owned(),
                number,
                columns,
                most,
            });
        }
    }
    found
}

/// Returns true if a line of Rust is a comment or ends in one. Two slashes in a string literal are
/// none.
fn has_comment(line: &str) -> bool {
    let trails = || {
        line.rsplit_once(" // ")
            .is_some_and(|(_, comment)| !comment.contains('"'))
    };
    line.trim_start().starts_with("//") || trails()
}

/// Returns true if a line cannot be broken so that it fits.
fn is_excused(line: &str, most: usize) -> bool {
    let indent = line
        .chars()
        .take_while(|letter| letter.is_whitespace())
        .count();
    let is_mark = |word: &&str| ["//", "///", "//!", "-", "*", ">"].contains(word);
    let marks: usize = line
        .split_whitespace()
        .take_while(is_mark)
        .map(|mark| mark.len() + 1)
        .sum();
    let mut words = line.split_whitespace().skip_while(is_mark);
    let alone = |word: &str| indent + marks + word.chars().count();
    let address = words
        .clone()
        .any(|word| word.contains("://") && alone(word) > most);
    address || (words.next().is_some() && words.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(file: &str, text: &str) -> Vec<usize> {
        long_lines(Path::new(file), text)
            .iter()
            .map(|long| long.number)
            .collect()
    }

    #[test]
    fn comments_of_rust_are_checked_and_code_is_not() {
        let prose = "word ".repeat(20);
        let text = format!(
            "// {prose}\nlet x = \"{prose} // {prose}\";\n    /// {prose}\nlet y = 1; // {prose}\n//! {}\n// ok\n",
            "x".repeat(96)
        );
        assert_eq!(numbers("a.rs", &text), [1, 3, 4]);
    }

    #[test]
    fn columns_are_letters_and_not_bytes() {
        let line = |letters: usize| format!("// {} ü", "ä".repeat(letters));
        assert_eq!(numbers("a.rs", &line(95)), [0; 0]);
        assert_eq!(numbers("a.rs", &line(96)), [1]);
    }

    #[test]
    fn markdown_has_more_room_but_for_tables_and_blocks_no_exception() {
        let line = |columns: usize| format!("{}y", "x ".repeat(columns / 2));
        assert_eq!(
            numbers("a.md", &format!("{}\n{}\n", line(118), line(120))),
            [2]
        );
        assert_eq!(
            numbers("a.md", &format!("```\n| {} |\n```\n", line(120))),
            [2]
        );
    }

    #[test]
    fn an_address_that_cannot_be_broken_is_excused() {
        let address = format!("https://example.org/{}", "x".repeat(100));
        assert_eq!(numbers("a.rs", &format!("/// See {address}\n")), [0; 0]);
        assert_eq!(
            numbers("a.md", &format!("- [{}]({address})\n", "x".repeat(100))),
            [0; 0]
        );
        // One that fits on a line of its own is not.
        let short = format!(
            "{} https://example.org/{}",
            "word ".repeat(15),
            "x".repeat(60)
        );
        assert_eq!(numbers("a.rs", &format!("// {short}\n")), [1]);
    }
}
