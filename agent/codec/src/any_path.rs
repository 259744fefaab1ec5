//! Paths of any bytes.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::ops::Deref;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

/// A path that can be sent whatever its bytes are. serde refuses a `PathBuf` that is not UTF-8, and
/// names of files often are not. Derefs to [`Path`]. In formats for people, such as JSON, it is a
/// text like every path.
///
/// ```
/// # use offshoot_codec::AnyPath;
/// let path = AnyPath::from("/srv/data");
/// assert!(path.is_absolute());
/// let path: std::path::PathBuf = path.into();
/// ```
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AnyPath(PathBuf);

impl AnyPath {
    /// Returns the path.
    #[must_use]
    pub fn into_path_buf(self) -> PathBuf {
        self.0
    }
}

impl<T: ?Sized + AsRef<OsStr>> From<&T> for AnyPath {
    fn from(path: &T) -> Self {
        Self(path.into())
    }
}

impl From<PathBuf> for AnyPath {
    fn from(path: PathBuf) -> Self {
        Self(path)
    }
}

impl From<OsString> for AnyPath {
    fn from(path: OsString) -> Self {
        Self(path.into())
    }
}

impl From<String> for AnyPath {
    fn from(path: String) -> Self {
        Self(path.into())
    }
}

impl From<AnyPath> for PathBuf {
    fn from(path: AnyPath) -> Self {
        path.0
    }
}

impl Deref for AnyPath {
    type Target = Path;
    fn deref(&self) -> &Path {
        &self.0
    }
}

impl AsRef<Path> for AnyPath {
    fn as_ref(&self) -> &Path {
        self
    }
}

impl AsRef<OsStr> for AnyPath {
    fn as_ref(&self) -> &OsStr {
        self.0.as_ref()
    }
}

impl fmt::Debug for AnyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for AnyPath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match serializer.is_human_readable() {
            true => self.0.serialize(serializer),
            false => serializer.serialize_bytes(self.0.as_os_str().as_bytes()),
        }
    }
}

impl<'de> Deserialize<'de> for AnyPath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl de::Visitor<'_> for Bytes {
            type Value = OsString;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a path")
            }
            fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<OsString, E> {
                Ok(OsString::from_vec(bytes.to_vec()))
            }
            fn visit_byte_buf<E: de::Error>(self, bytes: Vec<u8>) -> Result<OsString, E> {
                Ok(OsString::from_vec(bytes))
            }
        }
        match deserializer.is_human_readable() {
            true => PathBuf::deserialize(deserializer).map(Self),
            false => deserializer.deserialize_byte_buf(Bytes).map(Self::from),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{from_bytes, to_bytes};

    #[test]
    fn a_path_of_any_bytes_is_encoded_like_them() {
        let texts = [&b""[..], b"/srv", b"/\xff\xfe/\n", "/\u{1f980}".as_bytes()];
        for bytes in texts {
            let path = AnyPath::from(OsStr::from_bytes(bytes));
            let encoded = to_bytes(&(&path, 7u8)).unwrap();
            assert_eq!(encoded, to_bytes(&(bytes, 7u8)).unwrap());
            assert_eq!(from_bytes(&encoded), Ok((path, 7u8)));
        }
    }
}
