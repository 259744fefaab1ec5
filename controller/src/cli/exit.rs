//! Exit statuses, and the end of a program that was called wrongly.

use std::process::exit;

/// Exit status: the command line was wrong.
pub const USAGE: i32 = 2;
/// Exit status: a program was found and could not be executed.
pub const NOT_EXECUTABLE: i32 = 126;
/// Exit status: a program was not found.
pub const NOT_FOUND: i32 = 127;
/// Exit status: nobody reads our stdout, as a program has that SIGPIPE ended.
pub const NO_READER: i32 = 128 + 13;
/// Exit status: a target could not be reached or was lost.
pub const TRANSPORT: i32 = 255;

/// Ends because the command line is wrong.
pub fn misused(message: impl std::fmt::Display) -> ! {
    eprintln!("offshoot: {message}");
    exit(USAGE)
}
