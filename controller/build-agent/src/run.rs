//! Runs a tool and takes its output.

use std::process::Command;

/// Runs a command and returns its output.
///
/// # Errors
/// Returns an error if the command cannot be started or fails: one line, with the last line of its
/// stderr.
pub fn output_of(command: &mut Command) -> Result<String, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command
        .output()
        .map_err(|error| format!("{name}: {error}"))?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        let last = words
            .lines()
            .rev()
            .find(|line| !line.trim().is_empty())
            .unwrap_or("no error message");
        return Err(format!("{name} failed: {last}"));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
