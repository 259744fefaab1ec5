//! Finds the programs in the Markdown of the guide, with the line numbers that they have there.
//!
//! On the line before each block of Rust, a comment says what the block is, as in README:
//!
//! | | |
//! |---|---|
//! | `program: NAME` | A program begins here. The next block of `text` is its output. |
//! | `goes on` | The program before continues. |
//! | `runs: HOST...` | The hosts that the program needs; `local` if it needs none. |
//! | `args: WORD...`, `env: NAME=VALUE...` | The arguments and the environment. |
//! | `exit: STATUS` | The exit status, if not 0. |
//! | `sorted` | The lines of output come in any order. |
//! | `both` | The output includes stderr, after stdout. |
//! | `compiles` | Instead of `runs`: the program is compiled and not run. |
//! | `same as FILE` | The block shows a file of the repository, which is built elsewhere. |
//! | `tests` | The block is a test program, with the harness of `cargo test` as its `main`. |
//!
//! A program without a `main` becomes the body of the one in [`HEAD`]. This module builds and runs
//! nothing.

use serde_json::{Value, json};

/// The text before a program without a `main`, on the line of its fence.
const HEAD: &str = "#[allow(unused_imports)] use offshoot::prelude::*; fn main() -> Result<(), offshoot::Report> { offshoot::init(); \
                    let router = offshoot::Router::builder().own_image().start()?;";
/// The text after such a program.
const TAIL: &str = "Ok(()) }";

/// One program of the guide.
pub(super) struct Program {
    /// The name of the program and of its crate.
    pub name: String,
    /// The line number of its first fence.
    pub line: usize,
    /// Hosts, arguments and expected output; null if the program is only compiled.
    pub run: Value,
    /// True if its `main` is the harness of `cargo test`.
    pub tests: bool,
    /// The source.
    pub source: String,
}

/// A fenced block.
struct Block {
    comment: String,
    language: String,
    /// The line number of its fence, counted from 1.
    line: usize,
    lines: Vec<String>,
}

/// Returns the programs of one file of the guide.
///
/// # Errors
/// Returns an error if a block is not marked correctly: `file:line` and the reason.
pub(super) fn programs(file: &str, text: &str) -> Result<Vec<Program>, String> {
    let mut found: Vec<(Program, Vec<Block>)> = Vec::new();
    for block in blocks(file, text)? {
        let wrong = |what: &str| format!("{file}:{}: {what}", block.line);
        match block.language.as_str() {
            "rust" if words(&block.comment, "goes on").is_some() => {
                let (_, parts) = found
                    .last_mut()
                    .ok_or_else(|| wrong("no program comes before this block"))?;
                parts.push(block);
            }
            "rust" if words(&block.comment, "same as").is_some() => {}
            "rust" => {
                let name = words(&block.comment, "program:").ok_or_else(|| {
                    wrong("a block of Rust needs a comment before it: <!-- program: NAME, runs: HOST... -->")
                })?;
                let run = run(&block.comment).map_err(|what| wrong(&what))?;
                let program = Program {
                    name,
                    line: block.line,
                    run,
                    tests: words(&block.comment, "tests").is_some(),
                    source: String::new(),
                };
                found.push((program, vec![block]));
            }
            "text" => {
                if let Some((program, _)) = found.last_mut()
                    && program.run.is_object()
                    && program.run["prints"].is_null()
                {
                    program.run["prints"] = block.lines.join("\n").into();
                }
            }
            "console" | "sh" | "toml" => {}
            other => {
                return Err(wrong(&format!(
                    "a block of {other:?} is not allowed in the guide"
                )));
            }
        }
    }
    found
        .into_iter()
        .map(|(program, parts)| whole(file, program, &parts))
        .collect()
}

fn blocks(file: &str, text: &str) -> Result<Vec<Block>, String> {
    let mut found = Vec::new();
    let mut before = "";
    let mut lines = (1..).zip(text.lines());
    while let Some((number, line)) = lines.next() {
        if let Some(language) = line.strip_prefix("```") {
            let body: Vec<String> = lines
                .by_ref()
                .take_while(|(_, line)| *line != "```")
                .map(|(_, line)| line.to_owned())
                .collect();
            if language.is_empty() {
                return Err(format!("{file}:{number}: a block needs its language"));
            }
            let (comment, language) = (before.to_owned(), language.to_owned());
            found.push(Block {
                comment,
                language,
                line: number,
                lines: body,
            });
        }
        before = line;
    }
    Ok(found)
}

/// Returns the text after `key` in a comment, up to the next comma.
fn words(comment: &str, key: &str) -> Option<String> {
    let inside = comment.strip_prefix("<!--")?.strip_suffix("-->")?;
    inside
        .split(',')
        .find_map(|part| Some(part.trim().strip_prefix(key)?.trim().to_owned()))
}

fn run(comment: &str) -> Result<Value, String> {
    let list = |key: &str| -> Vec<String> {
        words(comment, key)
            .unwrap_or_default()
            .split_whitespace()
            .map(str::to_owned)
            .collect()
    };
    if words(comment, "compiles").is_some() {
        return Ok(Value::Null);
    }
    let hosts =
        words(comment, "runs:").ok_or("its comment says neither `runs: HOST...` nor `compiles`")?;
    let hosts: Vec<&str> = hosts
        .split_whitespace()
        .filter(|host| *host != "local")
        .collect();
    let exit: i32 = words(comment, "exit:")
        .map_or(Ok(0), |exit| exit.parse())
        .map_err(|_| "exit: NUMBER")?;
    Ok(json!({
        "hosts": hosts,
        "args": list("args:"),
        "env": list("env:"),
        "exit": exit,
        "sorted": words(comment, "sorted").is_some(),
        "both": words(comment, "both").is_some(),
        "prints": null,
    }))
}

/// Assembles the source of a program; each line keeps its number.
fn whole(file: &str, mut program: Program, parts: &[Block]) -> Result<Program, String> {
    let at = format!("{file}:{}", program.line);
    if program.run.is_object() && program.run["prints"].is_null() {
        return Err(format!(
            "{at}: no block of `text` with the output of {} follows it",
            program.name
        ));
    }
    let framed = !program.tests
        && !parts
            .iter()
            .flat_map(|part| &part.lines)
            .any(|line| line.starts_with("fn main("));
    let mut lines: Vec<&str> = Vec::new();
    for (index, part) in parts.iter().enumerate() {
        lines.resize(part.line - 1, "");
        lines.push(if framed && index == 0 { HEAD } else { "" });
        lines.extend(part.lines.iter().map(String::as_str));
    }
    if framed {
        lines.push(TAIL);
    }
    program.source = lines.join("\n") + "\n";
    Ok(program)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
# Title
<!-- program: one, runs: web1 local, args: a b, sorted -->
```rust
fn f() {}
```
and then
<!-- goes on -->
```rust
fn main() { f() }
```
```text
out
...
```
<!-- program: two, compiles -->
```rust
let _ = 1;
```
<!-- program: three, tests, compiles -->
```rust
#[test]
```
";

    #[test]
    fn a_program_keeps_its_line_numbers_of_the_guide() {
        let found = programs("x.md", TEXT).unwrap();
        let [one, two, three] = &found[..] else {
            panic!("{}", found.len())
        };
        let line = |program: &Program, number: usize| {
            program.source.lines().nth(number - 1).unwrap().to_owned()
        };
        assert_eq!((one.name.as_str(), one.line), ("one", 3));
        assert_eq!(
            (line(one, 4), line(one, 9)),
            ("fn f() {}".into(), "fn main() { f() }".into())
        );
        assert_eq!(one.run["prints"], "out\n...");
        assert_eq!(
            (&one.run["hosts"], &one.run["args"]),
            (&json!(["web1"]), &json!(["a", "b"]))
        );
        assert_eq!(
            (&one.run["sorted"], &one.run["both"]),
            (&json!(true), &json!(false))
        );
        assert_eq!(line(two, 17), "let _ = 1;");
        assert_eq!(line(three, 21), "#[test]");
        assert!(three.tests && !three.source.contains("fn main") && !two.tests);
        assert!(two.run.is_null() && line(two, 16) == HEAD && two.source.ends_with("\nOk(()) }\n"));
    }

    #[test]
    fn a_block_that_would_never_run_is_an_error_with_its_position() {
        let wrong = |text: &str| programs("x.md", text).err().unwrap();
        assert!(wrong("\n```rust\n```\n").starts_with("x.md:2: "));
        assert!(
            wrong("<!-- program: a -->\n```rust\n```\n").contains("neither `runs: HOST...` nor")
        );
        assert!(
            wrong("<!-- program: a, runs: local -->\n```rust\n```\n")
                .contains("the output of a follows")
        );
        assert!(wrong("<!-- goes on -->\n```rust\n```\n").contains("no program comes before"));
        assert!(wrong("```\n```\n").contains("needs its language"));
    }
}
