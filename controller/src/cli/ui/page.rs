//! A text that is all that this program was asked for.

use super::notes;
use super::outlet::Outlet;
use crate::cli::exit::TRANSPORT;
use std::process::exit;

/// Prints a text and ends this program.
pub(crate) fn print(text: &str) -> ! {
    let printed = Outlet::stdout().and_then(|stdout| stdout.write(format!("{text}\n").as_bytes()));
    match printed {
        // A reader such as `head` that closes early is not an error.
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            notes::tell(&format!("writing the output: {error}"));
            exit(TRANSPORT)
        }
        _ => exit(0),
    }
}
