//! An output stream of a program, shown unchanged, as labelled lines or as JSON objects.

use super::lines::Lines;
use super::outlet::Outlet;
use super::utf8::unfinished;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use std::io;
use std::sync::{Arc, Mutex};

/// An output stream of a program.
pub(crate) enum Stream {
    /// Unchanged bytes, at once.
    Plain(Outlet),
    /// Lines with the target as a prefix.
    Lines(Arc<Mutex<Lines>>),
    /// JSON objects, one for each piece.
    Json {
        /// The destination.
        outlet: Outlet,
        /// The target's name.
        target: String,
        /// The members for text and for bytes that are not UTF-8.
        members: (&'static str, &'static str),
        /// The first bytes of a character that is not complete yet.
        tail: Vec<u8>,
    },
}

impl Stream {
    /// Shows a piece of the stream.
    ///
    /// # Errors
    /// Returns an error in the same cases as [`Outlet::write`].
    pub(crate) fn piece(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(outlet) => outlet.write(bytes),
            Self::Lines(lines) => Lines::piece(lines, bytes),
            Self::Json {
                outlet,
                target,
                members,
                tail,
            } => {
                tail.extend_from_slice(bytes);
                let bytes = std::mem::take(tail);
                let (now, later) = bytes.split_at(bytes.len() - unfinished(&bytes));
                *tail = later.to_vec();
                write_piece(outlet, target, *members, now)
            }
        }
    }

    /// Shows the buffered rest at the end of the stream.
    ///
    /// # Errors
    /// Returns an error in the same cases as [`Outlet::write`].
    pub(crate) fn end(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(_) => Ok(()),
            Self::Lines(lines) => Lines::end(lines),
            Self::Json {
                outlet,
                target,
                members,
                tail,
            } => write_piece(outlet, target, *members, &std::mem::take(tail)),
        }
    }
}

/// Writes a piece as a JSON object.
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
