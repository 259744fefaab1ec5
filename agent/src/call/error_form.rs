//! How the error of a function travels, picked at compile time by its type: as itself where it serialises, as kind and
//! text where it is an [`io::Error`], as its text with those of its sources where the function is marked `flatten`. Used by the
//! attribute, which finds the right one by auto-referencing: the impl for the most references is tried first.

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

/// The chooser for an error of type `E`.
pub struct ErrorForm<E>(PhantomData<E>);

impl<E> ErrorForm<E> {
    /// The chooser for `E`.
    #[must_use]
    pub fn new() -> Self {
        ErrorForm(PhantomData)
    }
}

impl<E> Default for ErrorForm<E> {
    fn default() -> Self {
        Self::new()
    }
}

/// Errors that serialise travel as they are.
pub trait AsItself {
    /// The error.
    type Error;
    /// To bytes.
    ///
    /// # Errors
    /// When it does not serialise after all.
    fn encode(&self, error: &Self::Error) -> Result<Vec<u8>, CodecError>;
    /// From bytes.
    ///
    /// # Errors
    /// When they are no such error.
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

/// An [`io::Error`] travels as the system's number, or as kind and text.
pub trait AsIoError {
    /// To bytes.
    ///
    /// # Errors
    /// When it is too large.
    fn encode(&self, error: &io::Error) -> Result<Vec<u8>, CodecError>;
    /// From bytes.
    ///
    /// # Errors
    /// When they are no such error.
    fn decode(&self, bytes: &[u8]) -> Result<io::Error, CodecError>;
}

/// The kinds that keep their meaning on the way; any other arrives as `Other` with its text.
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
        let kind = KINDS.iter().position(|kind| *kind == error.kind()).unwrap_or(0) as u8;
        codec::to_bytes(&(error.raw_os_error(), kind, error.to_string()))
    }
    fn decode(&self, bytes: &[u8]) -> Result<io::Error, CodecError> {
        let (errno, kind, text): (Option<i32>, u8, String) = codec::from_bytes(bytes)?;
        Ok(match errno {
            Some(errno) => io::Error::from_raw_os_error(errno),
            None => {
                let kind = KINDS.get(usize::from(kind)).copied().unwrap_or(io::ErrorKind::Other);
                io::Error::new(kind, one_line(&text))
            }
        })
    }
}

/// What an error is that can travel; never implemented by hand.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot travel as the error of a remote function",
    label = "neither serialises nor is a std::io::Error",
    note = "derive serde::Serialize and serde::Deserialize for it, or write #[remote(flatten)] to send its text and those of its sources"
)]
pub trait ErrorTravels {}

/// The last resort, which does not compile and says why.
pub trait CannotTravel<E> {
    /// Never.
    ///
    /// # Errors
    /// Never.
    fn encode(&self, error: &E) -> Result<Vec<u8>, CodecError>
    where
        E: ErrorTravels;
    /// Never.
    ///
    /// # Errors
    /// Never.
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

/// The text of an error that has one.
pub trait HasText<E> {
    /// The text.
    fn text(&self, error: &E) -> String;
}

impl<E: fmt::Display> HasText<E> for &ErrorForm<E> {
    fn text(&self, error: &E) -> String {
        error.to_string()
    }
}

/// What is said of an error that has no text.
pub trait HasNoText<E> {
    /// Always the same.
    fn text(&self, error: &E) -> String;
}

impl<E> HasNoText<E> for ErrorForm<E> {
    fn text(&self, _: &E) -> String {
        "it returned an error without a text".into()
    }
}

/// An error of a type that does not travel: its text, and those of its sources. What a function marked `#[remote(flatten)]`
/// gives to its callers.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ErrorText {
    #[serde(deserialize_with = "offshoot_proto::text::read")]
    text: String,
    source: Option<Box<ErrorText>>,
}

/// How many sources of an error travel.
const SOURCES: usize = 32;

impl ErrorText {
    /// An error with its sources.
    pub fn new(error: &(dyn Error + 'static)) -> ErrorText {
        let sources: Vec<_> =
            std::iter::successors(Some(error), |&error| error.source()).take(SOURCES).collect();
        let (first, rest) = sources.split_first().expect("the error itself is the first");
        let mut source = None;
        for error in rest.iter().rev() {
            source = Some(Box::new(ErrorText { text: error.to_string(), source }));
        }
        ErrorText { text: first.to_string(), source }
    }
}

impl fmt::Display for ErrorText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Error for ErrorText {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn Error + 'static))
    }
}

/// The chooser of how an error is flattened.
pub struct Flat<'a, E>(pub &'a E);

/// An error in the sense of the standard library.
pub trait FlatError {
    /// Its texts.
    fn flatten(&self) -> ErrorText;
}

impl<E: Error + 'static> FlatError for &&&Flat<'_, E> {
    fn flatten(&self) -> ErrorText {
        ErrorText::new(self.0)
    }
}

/// A box of any error that may be sent to other threads.
pub trait FlatBox {
    /// Its texts.
    fn flatten(&self) -> ErrorText;
}

impl<E: AsRef<dyn Error + Send + Sync + 'static>> FlatBox for &&Flat<'_, E> {
    fn flatten(&self) -> ErrorText {
        ErrorText::new(self.0.as_ref())
    }
}

/// A box of any error.
pub trait FlatLocalBox {
    /// Its texts.
    fn flatten(&self) -> ErrorText;
}

impl<E: AsRef<dyn Error + 'static>> FlatLocalBox for &Flat<'_, E> {
    fn flatten(&self) -> ErrorText {
        ErrorText::new(self.0.as_ref())
    }
}

/// Anything that has a text.
pub trait FlatText {
    /// It.
    fn flatten(&self) -> ErrorText;
}

impl<E: fmt::Display> FlatText for Flat<'_, E> {
    fn flatten(&self) -> ErrorText {
        ErrorText { text: self.0.to_string(), source: None }
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
    #[expect(clippy::needless_borrow, reason = "as the attribute writes it, whatever the type")]
    fn an_error_is_flattened_with_its_sources_boxed_or_not() {
        let outer = || Outer(io::Error::other("inner"));
        let boxed: Box<dyn Error> = Box::new(outer());
        let sent: Box<dyn Error + Send + Sync> = Box::new(outer());
        let outer = outer();
        for flat in [(&&&&Flat(&outer)).flatten(), (&&&&Flat(&boxed)).flatten(), (&&&&Flat(&sent)).flatten()]
        {
            let sources: Vec<String> =
                std::iter::successors(Some(&flat as &dyn Error), |&error| error.source())
                    .map(<_>::to_string)
                    .collect();
            assert_eq!(sources, ["outer", "inner"]);
            assert_eq!(codec::from_bytes::<ErrorText>(&codec::to_bytes(&flat).unwrap()), Ok(flat));
        }
        assert_eq!((&&&&Flat(&"text")).flatten().to_string(), "text");
    }
}
