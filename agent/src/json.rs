//! Values of any type that serde knows, as JSON inside a message.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};
use std::any::type_name;
use std::ops::{Deref, DerefMut};

/// A value that is sent as JSON: for types that a message cannot carry as they are, with serde's
/// `flatten`, `untagged` or `tag`, and for `serde_json::Value`. Costs the time and the bytes of a
/// text. In other formats, such as JSON itself, it is the value alone.
///
/// Needs the feature `json`.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Json<T>(pub T);

impl<T> From<T> for Json<T> {
    fn from(value: T) -> Self {
        Self(value)
    }
}

impl<T> Deref for Json<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for Json<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

impl<T: Serialize> Serialize for Json<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            return self.0.serialize(serializer);
        }
        let text = serde_json::to_vec(&self.0).map_err(|error| {
            ser::Error::custom(format_args!("{} as JSON: {error}", type_name::<T>()))
        })?;
        serializer.serialize_bytes(&text)
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Json<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            return T::deserialize(deserializer).map(Self);
        }
        let text = offshoot_codec::Blob::deserialize(deserializer)?;
        serde_json::from_slice(&text).map(Self).map_err(|error| {
            de::Error::custom(format_args!("{} as JSON: {error}", type_name::<T>()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use offshoot_codec::{from_bytes, to_bytes};
    use std::collections::BTreeMap;

    #[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
    #[serde(untagged)]
    enum Loose {
        Number(u8),
        Text(String),
    }

    #[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
    struct Flat {
        loose: Loose,
        #[serde(flatten)]
        more: BTreeMap<String, serde_json::Value>,
    }

    #[test]
    fn json_carries_types_that_messages_cannot_and_names_them_in_errors() {
        let more = BTreeMap::from([("a".to_owned(), serde_json::json!({"b": [1, null]}))]);
        let loose = Loose::Text("x".into());
        let value = (1u8, Json(Flat { loose, more }), 2u8);
        let bytes = to_bytes(&value).unwrap();
        assert_eq!(from_bytes(&bytes), Ok(value.clone()));
        assert!(to_bytes(&(1u8, &value.1.0, 2u8)).is_err());
        assert_eq!(
            serde_json::to_string(&value.1).unwrap(),
            serde_json::to_string(&value.1.0).unwrap()
        );
        // Read as another type, and a key that JSON does not have.
        let other = from_bytes::<(u8, Json<Vec<Loose>>, u8)>(&bytes).unwrap_err();
        assert!(other.0.contains("Loose> as JSON: "), "{other}");
        let unwritten = to_bytes(&Json(BTreeMap::from([((1, 2), 3)]))).unwrap_err();
        assert!(
            unwritten.0.contains("BTreeMap<(i32, i32), i32> as JSON: "),
            "{unwritten}"
        );
    }
}
