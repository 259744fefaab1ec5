//! Exit statuses, and the end of this program on a wrong command line.

use std::process::exit;

/// Exit status if a report has advice.
pub(super) const ADVICE: i32 = 1;
/// Exit status of a wrong command line.
pub(super) const USAGE: i32 = 2;
/// Exit status if the program was found but could not be executed, as in a shell.
pub(super) const NOT_EXECUTABLE: i32 = 126;
/// Exit status if the program was not found, as in a shell.
pub(super) const NOT_FOUND: i32 = 127;
/// Exit status if nobody reads our stdout: that of a program ended by SIGPIPE.
pub(super) const NO_READER: i32 = 128 + 13;
/// Exit status if a target could not be reached or was lost.
pub(super) const TRANSPORT: i32 = 255;

/// Ends this program because its command line is wrong.
pub(super) fn misused(message: impl std::fmt::Display) -> ! {
    eprintln!("offshoot: {message}");
    exit(USAGE)
}
