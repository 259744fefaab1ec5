//! Runs a tool and takes its output.

use std::process::Command;

/// Runs a command and returns its output.
///
/// # Errors
/// Returns an error if the command cannot be started or fails: one line, with the first error in
/// its stderr, or else the last line there.
pub fn output_of(command: &mut Command) -> Result<String, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command
        .output()
        .map_err(|error| format!("{name}: {error}"))?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        // rustup writes a trace of its calls behind its message.
        let last = words
            .lines()
            .find(|line| line.starts_with("error: "))
            .or_else(|| words.lines().rev().find(|line| !line.trim().is_empty()))
            .unwrap_or("no error message");
        return Err(format!("{name} failed: {last}"));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
