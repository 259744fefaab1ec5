//! Examples of the documents: extracts console and Rust blocks, starts the hosts they name, runs
//! them in a shell and compares the output.

use std::fs;
use std::path::{Path, PathBuf};

use crate::run::{Run, offshoot_binary};
use crate::sshd::Sshd;
use crate::users::DEPLOY;

/// Placeholder for output that varies: for any part of a line, or, as a line, for any number of
/// lines.
const ANYTHING: &str = "...";

/// A fenced code block of a document.
pub struct Block {
    /// The line before the fence.
    pub comment: String,
    /// The text, with a newline at the end.
    pub body: String,
    /// The line number of the fence.
    pub line: usize,
}

/// Returns the fenced code blocks of a text in one language.
#[must_use]
pub fn blocks(text: &str, language: &str) -> Vec<Block> {
    let mut found = Vec::new();
    let mut before = "";
    let mut lines = (1..).zip(text.lines());
    while let Some((number, line)) = lines.next() {
        if let Some(fence) = line.strip_prefix("```") {
            let body: Vec<_> = lines
                .by_ref()
                .map(|(_, line)| line)
                .take_while(|line| *line != "```")
                .collect();
            if fence == language {
                found.push(Block {
                    comment: before.to_owned(),
                    body: body.join("\n") + "\n",
                    line: number,
                });
            }
        }
        before = line;
    }
    found
}

/// Starts the hosts that a comment names with `runs:`; `None` if the block is not to be run.
#[must_use]
pub fn hosts(comment: &str) -> Option<Vec<Sshd>> {
    let names = comment.strip_suffix("-->")?.split_once("runs: ")?.1;
    let names = names
        .split(',')
        .next()
        .unwrap_or_default()
        .split_whitespace();
    Some(names.filter(|name| *name != "local").map(host).collect())
}

/// Starts a host as the documents assume it: its user has passwordless sudo.
///
/// # Panics
/// Panics if it does not start.
#[must_use]
pub fn host(name: &str) -> Sshd {
    Sshd::named(name)
        .client_line(format!("User {}", DEPLOY.name))
        .start()
}

/// Prepares a shell script with the finished `offshoot` and the programs of `folders` in its PATH.
#[must_use]
pub fn shell(text: &str, directory: &Path, folders: &[PathBuf]) -> Run {
    let binary = offshoot_binary();
    let folders = folders
        .iter()
        .map(|folder| format!(":{}", folder.display()))
        .collect::<String>();
    let own = binary.parent().unwrap_or(Path::new("/")).display();
    // `cargo xtask VERB` becomes the program itself, which is in PATH.
    let before = "cargo() { shift; \"$@\"; }\n\
                  mkdir -p ~/.ssh; cp /var/lib/offshoot-fixtures/client_key ~/.ssh/id_ed25519; ";
    // First in PATH, because cargo may have left another binary in `folders`.
    let path = format!("{own}{folders}:/usr/sbin:/usr/bin:/sbin:/bin");
    Run::program("sh")
        .arg("-c")
        .arg(format!("{before}{text}"))
        .env("PATH", path)
        .directory(directory)
}

/// Removes the key that [`shell`] gives to root.
#[derive(Debug, Default)]
pub struct Key;

impl Drop for Key {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all("/root/.ssh");
    }
}

/// Runs each command of a `console` block and compares its output with the text after it; returns
/// the number of commands.
///
/// # Errors
/// Returns an error for the first command that fails, writes to stderr, or prints something else.
pub fn run_console(block: &Block, directory: &Path, folders: &[PathBuf]) -> Result<usize, String> {
    let body = block
        .body
        .strip_prefix("$ ")
        .ok_or("a block of console begins with a command")?;
    let examples: Vec<&str> = body.trim_end().split("\n$ ").collect();
    for example in &examples {
        let (command, expected) = example.split_once('\n').unwrap_or((example, ""));
        let seen = shell(command, directory, folders).finish();
        let (out, err) = (seen.out(), seen.err());
        if seen.code != 0 || !err.is_empty() || !prints(out.trim_end(), expected) {
            return Err(format!(
                "$ {command}\nended with {} and printed:\n{out}{err}and not:\n{expected}",
                seen.code
            ));
        }
    }
    Ok(examples.len())
}

/// Returns true if the output of a program matches a document.
#[must_use]
pub fn prints(seen: &str, expected: &str) -> bool {
    let (seen, expected): (Vec<_>, Vec<_>) = (seen.lines().collect(), expected.lines().collect());
    lines_match(&seen, &expected)
}

fn lines_match(seen: &[&str], expected: &[&str]) -> bool {
    match expected.split_first() {
        None => seen.is_empty(),
        Some((&ANYTHING, rest)) => {
            (0..=seen.len()).any(|skipped| lines_match(&seen[skipped..], rest))
        }
        Some((line, rest)) => seen
            .split_first()
            .is_some_and(|(first, seen)| line_matches(first, line) && lines_match(seen, rest)),
    }
}

fn line_matches(seen: &str, expected: &str) -> bool {
    let Some((start, rest)) = expected.split_once(ANYTHING) else {
        return seen == expected;
    };
    let Some(seen) = seen.strip_prefix(start) else {
        return false;
    };
    (0..=seen.len()).any(|skipped| {
        seen.get(skipped..)
            .is_some_and(|seen| line_matches(seen, rest))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ellipses_match_varying_output() {
        assert!(prints("a\nb", "a\nb") && !prints("a\nb", "a") && !prints("a", "a\nb"));
        assert!(
            prints("a 17 b", "a ... b") && !prints("a 17 c", "a ... b") && prints("ab", "a...")
        );
        assert!(
            prints("a\nx\ny\nb", "a\n...\nb")
                && prints("a\nb", "a\n...\nb")
                && !prints("a\nx", "a\n...\nb")
        );
        assert!(prints("", "...") && prints("", "") && !prints("x", ""));
    }

    #[test]
    fn blocks_carry_their_comment_and_line_number() {
        let text =
            "<!-- a -->\n```rust\n1\n```\n\n```text\n2\n```\n<!-- runs: local -->\n```rust\n```\n";
        let found = blocks(text, "rust");
        let [one, two] = &found[..] else {
            panic!("{}", found.len())
        };
        assert_eq!(
            (one.comment.as_str(), one.body.as_str(), one.line),
            ("<!-- a -->", "1\n", 2)
        );
        assert_eq!(
            (
                two.line,
                hosts(&one.comment).is_none(),
                hosts(&two.comment).map(|all| all.len())
            ),
            (10, true, Some(0))
        );
    }
}
