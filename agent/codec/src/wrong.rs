//! The error inside of the encoder and the decoder.

use crate::error::CodecError;
use std::cell::Cell;
use std::fmt;
use std::mem::ManuallyDrop;

/// An error without a destructor, because serde's derived code handles it in every line.
#[derive(Debug)]
pub struct Wrong(pub &'static str);

thread_local! {
    /// Error of a type that rejects its bytes or its value itself. It has no destructor, which
    /// would be the only one of a thread in an agent: a kilobyte of an image. So a thread leaks the
    /// text if it ends before anyone asks for the error or decodes again.
    static OBJECTION: ManuallyDrop<Cell<Option<String>>> =
        const { ManuallyDrop::new(Cell::new(None)) };
}

impl From<Wrong> for CodecError {
    fn from(Wrong(text): Wrong) -> Self {
        Self(
            OBJECTION
                .with(|text| text.take())
                .unwrap_or_else(|| text.into()),
        )
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Wrong {}

/// Result of one step.
pub(crate) type Result<T> = std::result::Result<T, Wrong>;

impl Wrong {
    /// Returns the error with a text that is made when it happens.
    #[cold]
    pub fn told(text: String) -> Self {
        OBJECTION.with(|objection| objection.set(Some(text)));
        Self("its type refuses it")
    }

    /// Forgets an unused error of an earlier value.
    pub fn forget() {
        OBJECTION.with(|objection| objection.set(None));
    }
}

impl serde::ser::Error for Wrong {
    fn custom<T: fmt::Display>(text: T) -> Self {
        Self::told(text.to_string())
    }
}

impl serde::de::Error for Wrong {
    fn custom<T: fmt::Display>(text: T) -> Self {
        Self::told(text.to_string())
    }
    fn invalid_type(_: serde::de::Unexpected<'_>, _: &dyn serde::de::Expected) -> Self {
        Self("a value of another type")
    }
    fn invalid_value(_: serde::de::Unexpected<'_>, _: &dyn serde::de::Expected) -> Self {
        Self("a value that its type does not have")
    }
    fn invalid_length(_: usize, _: &dyn serde::de::Expected) -> Self {
        Self("a list of another length")
    }
    fn unknown_variant(_: &str, _: &'static [&'static str]) -> Self {
        Self("an unknown variant")
    }
    fn unknown_field(_: &str, _: &'static [&'static str]) -> Self {
        Self("an unknown field")
    }
    fn missing_field(_: &'static str) -> Self {
        Self("a field is missing")
    }
    fn duplicate_field(_: &'static str) -> Self {
        Self("a field comes twice")
    }
}
