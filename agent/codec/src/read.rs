//! Decoder of bincode's format with variable-length integers.
//!
//! Replaces bincode's for two reasons. Messages may be hostile: lengths are checked against the
//! rest of the message, and nesting against [`DEPTH`], before anything is allocated or called. And
//! serde's texts about wrong types need the formatting of floating-point numbers and Unicode
//! tables, a twentieth of an agent; the errors of this decoder say only where decoding failed.

use crate::blob;
use crate::error::{CodecError, MAX_MESSAGE, UNTOLD};
use serde::de::DeserializeSeed;
use serde::de::Deserializer;
use serde::de::EnumAccess;
use serde::de::Error;
use serde::de::Expected;
use serde::de::MapAccess;
use serde::de::SeqAccess;
use serde::de::Unexpected;
use serde::de::VariantAccess;
use serde::de::Visitor;
use std::cell::Cell;
use std::mem::ManuallyDrop;
use std::sync::Arc;

/// Maximum nesting depth of values.
pub const DEPTH: u32 = 256;

/// Maximum memory for the elements of all lists of a message: a constant in bytes, plus a multiple
/// of the size of the message. An element of one byte, such as an empty text, may take much more
/// memory.
const LISTS: (usize, usize) = (16 << 20, 8);

/// The bytes that are left, and the state of decoding.
pub struct Reader<'a> {
    /// Bytes that were not decoded yet.
    pub left: &'a [u8],
    /// Message that contains the bytes, if blobs may share its memory.
    whole: Option<&'a Arc<Vec<u8>>>,
    depth: u32,
    /// Name of the type that is being decoded, for errors of user types.
    #[cfg(panic = "unwind")]
    inside: &'static str,
    /// Memory in bytes that elements of lists may still take.
    memory: usize,
}

/// A decoding error without a destructor, because serde's derived code handles it in every line.
#[derive(Debug)]
pub struct Wrong(&'static str);

thread_local! {
    /// Error of a type that rejects its bytes itself. It has no destructor, which would be the only
    /// one of a thread in an agent: a kilobyte of an image. So a thread leaks the text if it ends
    /// before anyone asks for the error or decodes again.
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

impl std::fmt::Display for Wrong {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Wrong {}

type Result<T> = std::result::Result<T, Wrong>;

#[cold]
fn error<T>(text: &'static str) -> Result<T> {
    Err(Wrong(text))
}

impl Error for Wrong {
    fn custom<T: std::fmt::Display>(text: T) -> Self {
        OBJECTION.with(|objection| objection.set(Some(text.to_string())));
        Self("its type refuses it")
    }
    fn invalid_type(_: Unexpected<'_>, _: &dyn Expected) -> Self {
        Self("a value of another type")
    }
    fn invalid_value(_: Unexpected<'_>, _: &dyn Expected) -> Self {
        Self("a value that its type does not have")
    }
    fn invalid_length(_: usize, _: &dyn Expected) -> Self {
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

impl<'a> Reader<'a> {
    /// Creates a decoder of `bytes`, which are part of `whole` if blobs may share its memory.
    pub fn new(bytes: &'a [u8], whole: Option<&'a Arc<Vec<u8>>>) -> Self {
        // An unused error of an earlier value must not be reported for this one.
        OBJECTION.with(|objection| objection.set(None));
        Reader {
            left: bytes,
            whole,
            depth: 0,
            #[cfg(panic = "unwind")]
            inside: "",
            memory: LISTS.0.saturating_add(bytes.len().saturating_mul(LISTS.1)),
        }
    }

    /// Returns the error as text, with the type if the type is at fault.
    #[cold]
    #[inline(never)]
    pub fn tell(&self, wrong: Wrong) -> CodecError {
        #[cfg(panic = "unwind")]
        if wrong.0 == UNTOLD && !self.inside.is_empty() {
            return CodecError(format!("{} has {UNTOLD}", self.inside));
        }
        wrong.into()
    }

    /// Decodes the content of a named type.
    #[cfg(panic = "unwind")]
    fn within<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&mut Self) -> Result<T>,
    ) -> Result<T> {
        let outer = std::mem::replace(&mut self.inside, name);
        let value = read(self)?;
        self.inside = outer;
        Ok(value)
    }

    #[cfg(not(panic = "unwind"))]
    #[inline]
    fn within<T>(
        &mut self,
        _: &'static str,
        read: impl FnOnce(&mut Reader<'a>) -> Result<T>,
    ) -> Result<T> {
        read(self)
    }

    #[inline(never)]
    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let Some((taken, left)) = self.left.split_at_checked(count) else {
            return error("it ends too soon");
        };
        self.left = left;
        Ok(taken)
    }

    #[inline(never)]
    fn byte(&mut self) -> Result<u8> {
        Ok(self.take(1)?[0])
    }

    #[inline(never)]
    fn little_endian(&mut self, count: usize) -> Result<u128> {
        let mut bytes = [0; 16];
        bytes[..count].copy_from_slice(self.take(count)?);
        Ok(u128::from_le_bytes(bytes))
    }

    /// Decodes an unsigned integer of at most `most` bytes: a byte below 251 is the value, others
    /// give the width.
    #[inline(never)]
    fn unsigned(&mut self, most: usize) -> Result<u128> {
        let count = match self.byte()? {
            small @ ..=250 => return Ok(small.into()),
            251 => 2,
            252 => 4,
            253 => 8,
            254 => 16,
            255 => return error("a byte that begins no number"),
        };
        if count > most {
            return error("a number that is too large for its type");
        }
        self.little_endian(count)
    }

    /// Decodes a signed integer: even numbers are positive, odd ones negative.
    #[inline(never)]
    fn signed(&mut self, most: usize) -> Result<i128> {
        let number = self.unsigned(most)?;
        Ok((number >> 1) as i128 ^ -((number & 1) as i128))
    }

    #[inline(never)]
    fn length(&mut self) -> Result<usize> {
        let length = self.unsigned(8)?;
        if length > MAX_MESSAGE as u128 {
            return error("a length beyond the limit of a message");
        }
        Ok(length as usize)
    }

    #[inline(never)]
    fn text(&mut self) -> Result<&'a str> {
        let length = self.length()?;
        let bytes = self.take(length)?;
        std::str::from_utf8(bytes).or_else(|_| error("a text that is not UTF-8"))
    }

    fn below<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        if self.depth == DEPTH {
            return error("values lie too deep in each other");
        }
        self.depth += 1;
        let value = read(self)?;
        self.depth -= 1;
        Ok(value)
    }
}

macro_rules! numbers {
    ($($method:ident $visit:ident $type:ty: $read:ident($most:expr);)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
            visitor.$visit(self.$read($most)? as $type)
        })*
    };
}

macro_rules! unsupported {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, _: V) -> Result<V::Value> {
            error(UNTOLD)
        })*
    };
}

impl<'de> Deserializer<'de> for &mut Reader<'de> {
    type Error = Wrong;

    numbers! {
        deserialize_u16 visit_u16 u16: unsigned(2);
        deserialize_u32 visit_u32 u32: unsigned(4);
        deserialize_u64 visit_u64 u64: unsigned(8);
        deserialize_u128 visit_u128 u128: unsigned(16);
        deserialize_i16 visit_i16 i16: signed(2);
        deserialize_i32 visit_i32 i32: signed(4);
        deserialize_i64 visit_i64 i64: signed(8);
        deserialize_i128 visit_i128 i128: signed(16);
        deserialize_u8 visit_u8 u8: little_endian(1);
        deserialize_i8 visit_i8 i8: little_endian(1);
    }

    unsupported! { deserialize_any deserialize_identifier deserialize_ignored_any }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self.byte()? {
            0 => visitor.visit_bool(false),
            1 => visitor.visit_bool(true),
            _ => error("neither true nor false"),
        }
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        visitor.visit_f32(f32::from_bits(self.little_endian(4)? as u32))
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        visitor.visit_f64(f64::from_bits(self.little_endian(8)? as u64))
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        let length = match self.left.first() {
            Some(0..=0x7f) => 1,
            Some(0xc0..=0xdf) => 2,
            Some(0xe0..=0xef) => 3,
            _ => 4,
        };
        let text = std::str::from_utf8(self.take(length)?).unwrap_or_default();
        match text.chars().next() {
            Some(letter) => visitor.visit_char(letter),
            None => error("a character that is not UTF-8"),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        visitor.visit_borrowed_str(self.text()?)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        visitor.visit_string(self.text()?.into())
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        let length = self.length()?;
        let bytes = self.take(length)?;
        blob::read(self.whole, || visitor.visit_borrowed_bytes(bytes))
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        let length = self.length()?;
        visitor.visit_byte_buf(self.take(length)?.to_vec())
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self.byte()? {
            0 => visitor.visit_none(),
            1 => self.below(|reader| visitor.visit_some(reader)),
            _ => error("neither some nor none"),
        }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value> {
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value> {
        self.within(name, |reader| {
            reader.below(|reader| visitor.visit_newtype_struct(reader))
        })
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        let count = self.length()?;
        self.below(|reader| visitor.visit_seq(Several { reader, count }))
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, count: usize, visitor: V) -> Result<V::Value> {
        self.below(|reader| visitor.visit_seq(Several { reader, count }))
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        count: usize,
        visitor: V,
    ) -> Result<V::Value> {
        self.within(name, |reader| reader.deserialize_tuple(count, visitor))
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        let count = self.length()?;
        self.below(|reader| visitor.visit_map(Several { reader, count }))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        self.within(name, |reader| {
            reader.deserialize_tuple(fields.len(), visitor)
        })
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        self.within(name, |reader| {
            reader.below(|reader| visitor.visit_enum(reader))
        })
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

/// The elements of a list, or the keys and values of a map in turn.
struct Several<'a, 'de> {
    reader: &'a mut Reader<'de>,
    count: usize,
}

impl Several<'_, '_> {
    /// Returns true if there is another element, which takes `size` bytes of memory.
    fn one(&mut self, size: usize) -> Result<bool> {
        let more = self.count > 0;
        self.count -= usize::from(more);
        if more {
            self.spend(size).map(|()| true)
        } else {
            Ok(false)
        }
    }

    fn spend(&mut self, size: usize) -> Result<()> {
        let Some(left) = self.reader.memory.checked_sub(size) else {
            return error("its lists would take many times the memory that it has");
        };
        self.reader.memory = left;
        Ok(())
    }

    /// Returns a lower bound of the number of elements, limited by the bytes that are left.
    fn hint(&self) -> usize {
        self.count.min(self.reader.left.len())
    }
}

impl<'de> SeqAccess<'de> for Several<'_, 'de> {
    type Error = Wrong;
    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>> {
        if self.one(size_of::<T::Value>())? {
            seed.deserialize(&mut *self.reader).map(Some)
        } else {
            Ok(None)
        }
    }
    fn size_hint(&self) -> Option<usize> {
        Some(self.hint())
    }
}

impl<'de> MapAccess<'de> for Several<'_, 'de> {
    type Error = Wrong;
    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>> {
        if self.one(size_of::<K::Value>())? {
            seed.deserialize(&mut *self.reader).map(Some)
        } else {
            Ok(None)
        }
    }
    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value> {
        self.spend(size_of::<V::Value>())?;
        seed.deserialize(&mut *self.reader)
    }
    fn size_hint(&self) -> Option<usize> {
        Some(self.hint())
    }
}

impl<'de> EnumAccess<'de> for &mut Reader<'de> {
    type Error = Wrong;
    type Variant = Self;
    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self)> {
        let variant = self.unsigned(4)? as u32;
        let value = seed.deserialize(serde::de::value::U32Deserializer::<Wrong>::new(variant))?;
        Ok((value, self))
    }
}

impl<'de> VariantAccess<'de> for &mut Reader<'de> {
    type Error = Wrong;
    fn unit_variant(self) -> Result<()> {
        Ok(())
    }
    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value> {
        seed.deserialize(self)
    }
    fn tuple_variant<V: Visitor<'de>>(self, count: usize, visitor: V) -> Result<V::Value> {
        self.deserialize_tuple(count, visitor)
    }
    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        self.deserialize_tuple(fields.len(), visitor)
    }
}
