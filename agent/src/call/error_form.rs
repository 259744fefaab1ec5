//! The encoding of a function's error, chosen at compile time by its type: as itself if it
//! serialises; as kind and text if it is an [`io::Error`]; as text with the texts of its sources if
//! the function is marked `flatten`. The attribute chooses by auto-referencing: the compiler tries
//! the impl for the most references first.

use offshoot_codec as codec;
use offshoot_codec::CodecError;
use offshoot_proto::text::one_line;
use serde::Deserialize;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::error::Error;
use std::fmt;
use std::io;
use std::marker::PhantomData;

/// The selector of the encoding for errors of type `E`.
pub struct ErrorForm<E>(PhantomData<E>);

impl<E> ErrorForm<E> {
    /// Returns the selector for `E`.
    #[must_use]
    pub fn new() -> Self {
        Self(PhantomData)
    }
}

impl<E> Default for ErrorForm<E> {
    fn default() -> Self {
        Self::new()
    }
}

/// The encoding of errors that serialise.
pub trait AsItself {
    /// The type of the error.
    type Error;
    /// Encodes the error.
    ///
    /// # Errors
    /// Returns an error if `Serialize` fails.
    fn encode(&self, error: &Self::Error) -> Result<Vec<u8>, CodecError>;
    /// Decodes the error.
    ///
    /// # Errors
    /// Returns an error if the bytes are not an error of this type.
    fn decode(&self, bytes: &[u8]) -> Result<Self::Error, CodecError>;
}

impl<E: Serialize + DeserializeOwned> AsItself for &&ErrorForm<E> {
    type Error = E;
    fn encode(&self, error: &E) -> Result<Vec<u8>, CodecError> {
        codec::to_bytes(error)
    }
    fn decode(&self, bytes: &[u8]) -> Result<E, CodecError> {
        codec::from_bytes(bytes)
    }
}

/// The encoding of an [`io::Error`]: the number of the system's error, or kind and text.
pub trait AsIoError {
    /// Encodes the error.
    ///
    /// # Errors
    /// Returns an error if it is too large.
    fn encode(&self, error: &io::Error) -> Result<Vec<u8>, CodecError>;
    /// Decodes the error.
    ///
    /// # Errors
    /// Returns an error if the bytes are not an error of this type.
    fn decode(&self, bytes: &[u8]) -> Result<io::Error, CodecError>;
}

/// The kinds that are preserved; any other arrives as `Other` with its text.
const KINDS: [io::ErrorKind; 16] = [
    io::ErrorKind::Other,
    io::ErrorKind::NotFound,
    io::ErrorKind::PermissionDenied,
    io::ErrorKind::ConnectionRefused,
    io::ErrorKind::ConnectionReset,
    io::ErrorKind::ConnectionAborted,
    io::ErrorKind::NotConnected,
    io::ErrorKind::AddrInUse,
    io::ErrorKind::BrokenPipe,
    io::ErrorKind::AlreadyExists,
    io::ErrorKind::WouldBlock,
    io::ErrorKind::InvalidInput,
    io::ErrorKind::InvalidData,
    io::ErrorKind::TimedOut,
    io::ErrorKind::UnexpectedEof,
    io::ErrorKind::Unsupported,
];

impl AsIoError for &ErrorForm<io::Error> {
    fn encode(&self, error: &io::Error) -> Result<Vec<u8>, CodecError> {
        let kind = KINDS
            .iter()
            .position(|kind| *kind == error.kind())
            .unwrap_or(0) as u8;
        codec::to_bytes(&(error.raw_os_error(), kind, error.to_string()))
    }
    fn decode(&self, bytes: &[u8]) -> Result<io::Error, CodecError> {
        let (errno, kind, text): (Option<i32>, u8, String) = codec::from_bytes(bytes)?;
        Ok(match errno {
            Some(errno) => io::Error::from_raw_os_error(errno),
            None => {
                let kind = KINDS
                    .get(usize::from(kind))
                    .copied()
                    .unwrap_or(io::ErrorKind::Other);
                io::Error::new(kind, one_line(&text))
            }
        })
    }
}

/// A marker for errors that can be sent. It is never implemented; it gives the compiler its text.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be sent as the error of a remote function",
    label = "does not serialise and is not a std::io::Error",
    note = "derive serde::Serialize and serde::Deserialize for it, or write #[remote(flatten)] to send its text and those of its sources"
)]
pub trait ErrorTravels {}

/// The selection for all other errors, which does not compile and explains why.
pub trait CannotTravel<E> {
    /// Never called.
    ///
    /// # Errors
    /// Never called.
    fn encode(&self, error: &E) -> Result<Vec<u8>, CodecError>
    where
        E: ErrorTravels;
    /// Never called.
    ///
    /// # Errors
    /// Never called.
    fn decode(&self, bytes: &[u8]) -> Result<E, CodecError>
    where
        E: ErrorTravels;
}

impl<E> CannotTravel<E> for ErrorForm<E> {
    fn encode(&self, _: &E) -> Result<Vec<u8>, CodecError>
    where
        E: ErrorTravels,
    {
        Err(CodecError(String::new()))
    }
    fn decode(&self, _: &[u8]) -> Result<E, CodecError>
    where
        E: ErrorTravels,
    {
        Err(CodecError(String::new()))
    }
}

/// The text of an error with `Display`.
pub trait HasText<E> {
    /// Returns the text.
    fn text(&self, error: &E) -> String;
}

impl<E: fmt::Display> HasText<E> for &ErrorForm<E> {
    fn text(&self, error: &E) -> String {
        error.to_string()
    }
}

/// The text of an error without `Display`.
pub trait HasNoText<E> {
    /// Returns a fixed text.
    fn text(&self, error: &E) -> String;
}

impl<E> HasNoText<E> for ErrorForm<E> {
    fn text(&self, _: &E) -> String {
        "it returned an error without a text".into()
    }
}

/// The text of an error and the texts of its sources, for errors that do not serialise: the error
/// of a function marked `#[remote(flatten)]`, as its callers get it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ErrorText {
    #[serde(deserialize_with = "offshoot_proto::text::read")]
    text: String,
    source: Option<Box<Self>>,
}

/// The most texts of an error and its sources.
const SOURCES: usize = 32;

impl ErrorText {
    /// Returns the texts of an error and its sources, up to 32.
    pub fn new(error: &(dyn Error + 'static)) -> Self {
        let sources: Vec<_> = std::iter::successors(Some(error), |&error| error.source())
            .take(SOURCES)
            .collect();
        let (first, rest) = sources
            .split_first()
            .expect("the error itself is the first");
        let mut source = None;
        for error in rest.iter().rev() {
            source = Some(Box::new(Self {
                text: error.to_string(),
                source,
            }));
        }
        Self {
            text: first.to_string(),
            source,
        }
    }
}

impl fmt::Display for ErrorText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Error for ErrorText {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source
            .as_deref()
            .map(|source| source as &(dyn Error + 'static))
    }
}

/// The selector of the conversion of an error to text.
pub struct Flat<'a, E>(pub &'a E);

/// Errors that implement `std::error::Error`.
pub trait FlatError {
    /// Returns its texts.
    fn flatten(&self) -> ErrorText;
}

impl<E: Error + 'static> FlatError for &&&Flat<'_, E> {
    fn flatten(&self) -> ErrorText {
        ErrorText::new(self.0)
    }
}

/// Boxed errors that can be sent to other threads.
pub trait FlatBox {
    /// Returns its texts.
    fn flatten(&self) -> ErrorText;
}

impl<E: AsRef<dyn Error + Send + Sync + 'static>> FlatBox for &&Flat<'_, E> {
    fn flatten(&self) -> ErrorText {
        ErrorText::new(self.0.as_ref())
    }
}

/// Boxed errors.
pub trait FlatLocalBox {
    /// Returns its texts.
    fn flatten(&self) -> ErrorText;
}

impl<E: AsRef<dyn Error + 'static>> FlatLocalBox for &Flat<'_, E> {
    fn flatten(&self) -> ErrorText {
        ErrorText::new(self.0.as_ref())
    }
}

/// Other types with `Display`.
pub trait FlatText {
    /// Returns its text.
    fn flatten(&self) -> ErrorText;
}

impl<E: fmt::Display> FlatText for Flat<'_, E> {
    fn flatten(&self) -> ErrorText {
        ErrorText {
            text: self.0.to_string(),
            source: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Outer(io::Error);
    impl fmt::Display for Outer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("outer")
        }
    }
    impl Error for Outer {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(&self.0)
        }
    }

    #[test]
    #[expect(
        clippy::needless_borrow,
        reason = "as the attribute writes it, whatever the type"
    )]
    fn an_error_is_flattened_with_its_sources_boxed_or_not() {
        let outer = || Outer(io::Error::other("inner"));
        let boxed: Box<dyn Error> = Box::new(outer());
        let sent: Box<dyn Error + Send + Sync> = Box::new(outer());
        let outer = outer();
        for flat in [
            (&&&&Flat(&outer)).flatten(),
            (&&&&Flat(&boxed)).flatten(),
            (&&&&Flat(&sent)).flatten(),
        ] {
            let sources: Vec<String> =
                std::iter::successors(Some(&flat as &dyn Error), |&error| error.source())
                    .map(<_>::to_string)
                    .collect();
            assert_eq!(sources, ["outer", "inner"]);
            assert_eq!(
                codec::from_bytes::<ErrorText>(&codec::to_bytes(&flat).unwrap()),
                Ok(flat)
            );
        }
        assert_eq!((&&&&Flat(&"text")).flatten().to_string(), "text");
    }
}
