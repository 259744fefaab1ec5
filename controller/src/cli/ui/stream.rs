//! One output stream of a program in the form in which it is shown: as it is, as labelled lines, or as JSON objects.

use super::lines::Lines;
use super::outlet::Outlet;
use super::utf8::unfinished;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use std::io;
use std::sync::{Arc, Mutex};

/// One stream of one program, in the form in which it is shown.
pub enum Stream {
    /// Byte for byte, at once.
    Plain(Outlet),
    /// Lines with the target before each.
    Lines(Arc<Mutex<Lines>>),
    /// Pieces as JSON objects.
    Json {
        /// Where to.
        outlet: Outlet,
        /// The target's name.
        target: String,
        /// The member for text, and the one for what is none.
        members: (&'static str, &'static str),
        /// The beginning of a character whose rest is still to come.
        tail: Vec<u8>,
    },
}

impl Stream {
    /// Shows a piece of the stream.
    ///
    /// # Errors
    /// As [`Outlet::write`].
    pub fn piece(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Stream::Plain(outlet) => outlet.write(bytes),
            Stream::Lines(lines) => Lines::piece(lines, bytes),
            Stream::Json { outlet, target, members, tail } => {
                tail.extend_from_slice(bytes);
                let bytes = std::mem::take(tail);
                let (now, later) = bytes.split_at(bytes.len() - unfinished(&bytes));
                *tail = later.to_vec();
                write_piece(outlet, target, *members, now)
            }
        }
    }

    /// The stream has ended.
    ///
    /// # Errors
    /// As [`Outlet::write`].
    pub fn end(&mut self) -> io::Result<()> {
        match self {
            Stream::Plain(_) => Ok(()),
            Stream::Lines(lines) => Lines::end(lines),
            Stream::Json { outlet, target, members, tail } => {
                write_piece(outlet, target, *members, &std::mem::take(tail))
            }
        }
    }
}

fn write_piece(
    outlet: &Outlet,
    target: &str,
    members: (&'static str, &'static str),
    bytes: &[u8],
) -> io::Result<()> {
    if bytes.is_empty() {
        return Ok(());
    }
    let (member, value) = match std::str::from_utf8(bytes) {
        Ok(text) => (members.0, text.to_owned()),
        Err(_) => (members.1, BASE64_STANDARD.encode(bytes)),
    };
    outlet.write_object([("target", target.into()), (member, value.into())])
}
