//! Decoder of bincode's format with variable-length integers.
//!
//! Replaces bincode's for two reasons. Messages may be hostile: lengths are checked against the
//! rest of the message, and nesting against [`DEPTH`], before anything is allocated or called. And
//! serde's texts about wrong types need the formatting of floating-point numbers and Unicode
//! tables, a twentieth of an agent; the errors of this decoder say only where decoding failed.

use crate::blob;
use crate::error::{CodecError, MAX_MESSAGE, UNTOLD};
use crate::plain_list::{is_visitor_of_bytes, reads};
use crate::wrong::{Result, Wrong};
use serde::de::DeserializeSeed;
use serde::de::Deserializer;
use serde::de::EnumAccess;
use serde::de::MapAccess;
use serde::de::SeqAccess;
use serde::de::VariantAccess;
use serde::de::Visitor;
use serde::de::value::U32Deserializer;
use serde::de::value::{
    F32Deserializer, F64Deserializer, I16Deserializer, I32Deserializer, I64Deserializer,
    SeqDeserializer, U8Deserializer, U16Deserializer, U64Deserializer,
};
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
    inside: &'static str,
    /// Memory in bytes that elements of lists may still take.
    memory: usize,
}

const TOO_SOON: &str = "it ends too soon";

#[cold]
fn error<T>(text: &'static str) -> Result<T> {
    Err(Wrong(text))
}

impl<'a> Reader<'a> {
    /// Creates a decoder of `bytes`, which are part of `whole` if blobs may share its memory.
    pub fn new(bytes: &'a [u8], whole: Option<&'a Arc<Vec<u8>>>) -> Self {
        // An unused error of an earlier value must not be reported for this one.
        Wrong::forget();
        Reader {
            left: bytes,
            whole,
            depth: 0,
            inside: "",
            memory: LISTS.0.saturating_add(bytes.len().saturating_mul(LISTS.1)),
        }
    }

    /// Returns the error as text, with the type if the type is at fault.
    #[cold]
    #[inline(never)]
    pub fn tell(&self, wrong: Wrong) -> CodecError {
        if wrong.0 == UNTOLD && !self.inside.is_empty() {
            return CodecError(format!("{} has {UNTOLD}", self.inside));
        }
        wrong.into()
    }

    /// Decodes the content of a named type.
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

    #[inline(never)]
    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let Some((taken, left)) = self.left.split_at_checked(count) else {
            return error(TOO_SOON);
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

    /// Decodes an unsigned integer of a list.
    #[inline(always)]
    fn quick(&mut self, most: usize) -> Result<u64> {
        let (&first, left) = self.left.split_first().ok_or(Wrong(TOO_SOON))?;
        let number = match first {
            small @ ..=250 => {
                self.left = left;
                return Ok(small.into());
            }
            251 => left
                .first_chunk()
                .map(|two| u16::from_le_bytes(*two).into()),
            252 if most >= 4 => left
                .first_chunk()
                .map(|four| u32::from_le_bytes(*four).into()),
            253 if most >= 8 => left.first_chunk().map(|eight| u64::from_le_bytes(*eight)),
            _ => None,
        };
        match number {
            Some(number) => {
                self.left = &left[1 << (first - 250)..];
                Ok(number)
            }
            None => self.unsigned(most).map(|number| number as u64),
        }
    }

    #[inline(always)]
    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let Some((taken, left)) = self.left.split_first_chunk() else {
            return error(TOO_SOON);
        };
        self.left = left;
        Ok(*taken)
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

/// Users send many numbers, and their images have room for the fast way to read them.
macro_rules! quick_numbers {
    ($($method:ident $visit:ident |$reader:ident| $read:expr;)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
            let $reader = self;
            visitor.$visit($read)
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
        deserialize_u128 visit_u128 u128: unsigned(16);
        deserialize_i128 visit_i128 i128: signed(16);
    }

    quick_numbers! {
        deserialize_u16 visit_u16 |reader| reader.quick(2)? as u16;
        deserialize_u32 visit_u32 |reader| reader.quick(4)? as u32;
        deserialize_u64 visit_u64 |reader| reader.quick(8)?;
        deserialize_i16 visit_i16 |reader| unfolded(reader.quick(2)?) as i16;
        deserialize_i32 visit_i32 |reader| unfolded(reader.quick(4)?) as i32;
        deserialize_i64 visit_i64 |reader| unfolded(reader.quick(8)?);
        deserialize_u8 visit_u8 |reader| u8::from_le_bytes(reader.array()?);
        deserialize_i8 visit_i8 |reader| i8::from_le_bytes(reader.array()?);
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
        if is_visitor_of_bytes::<V>() {
            let bytes = self.take(count)?.to_vec();
            return match offshoot_sys::bytes_as(bytes) {
                Ok(value) => Ok(value),
                Err(bytes) => visitor.visit_seq(SeqDeserializer::new(bytes.into_iter())),
            };
        }
        self.below(|reader| visitor.visit_seq(List::new(Several { reader, count })))
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

impl<'de> Several<'_, 'de> {
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

    /// Takes all elements as bytes.
    #[cold]
    #[inline(never)]
    fn all_as_bytes(&mut self) -> Result<&'de [u8]> {
        let count = std::mem::take(&mut self.count);
        self.spend(count)?;
        self.reader.take(count)
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

/// The elements of a list of a user, which are often plain numbers. Bytes are taken from the
/// message in one go.
struct List<'a, 'de> {
    several: Several<'a, 'de>,
    /// The message from the first of the bytes on.
    read_from: &'de [u8],
    /// The bytes that were taken and not read yet.
    bytes: std::slice::Iter<'de, u8>,
}

impl<'a, 'de> List<'a, 'de> {
    fn new(several: Several<'a, 'de>) -> Self {
        Self {
            several,
            read_from: &[],
            bytes: [].iter(),
        }
    }

    /// Returns bytes that belong to elements of another type.
    #[cold]
    #[inline(never)]
    fn give_back(&mut self) {
        // The memory of the bytes stays spent.
        self.several.count = self.bytes.len();
        let read = self.read_from.len() - self.several.reader.left.len() - self.bytes.len();
        self.several.reader.left = &self.read_from[read..];
        self.bytes = [].iter();
    }

    #[inline(always)]
    fn byte(&mut self) -> Result<Option<u8>> {
        if self.bytes.as_slice().is_empty() && self.several.count > 0 {
            // The iterator stays in registers, because no function gets its address.
            self.read_from = self.several.reader.left;
            self.bytes = self.several.all_as_bytes()?.iter();
        }
        Ok(self.bytes.next().copied())
    }
}

/// Reads an element of a list as a plain number, if its type has that name.
macro_rules! element {
    ($list:ident $seed:ident: $($name:literal $deserializer:ident |$reader:ident| $read:expr;)*) => {
        $(if reads::<T>(concat!("core::marker::PhantomData<", $name, ">")) {
            if !$list.several.one(size_of::<T::Value>())? {
                return Ok(None);
            }
            let $reader = &mut *$list.several.reader;
            let number = $deserializer::<Wrong>::new($read);
            return $seed.deserialize(number).map(Some);
        })*
    };
}

impl<'de> SeqAccess<'de> for List<'_, 'de> {
    type Error = Wrong;
    #[inline(always)]
    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>> {
        if reads::<T>("core::marker::PhantomData<u8>") {
            return match self.byte()? {
                Some(byte) => seed
                    .deserialize(U8Deserializer::<Wrong>::new(byte))
                    .map(Some),
                None => Ok(None),
            };
        }
        if !self.bytes.as_slice().is_empty() {
            self.give_back();
        }
        element! { self seed:
            "u16" U16Deserializer |reader| reader.quick(2)? as u16;
            "u32" U32Deserializer |reader| reader.quick(4)? as u32;
            "u64" U64Deserializer |reader| reader.quick(8)?;
            "usize" U64Deserializer |reader| reader.quick(8)?;
            "i16" I16Deserializer |reader| unfolded(reader.quick(2)?) as i16;
            "i32" I32Deserializer |reader| unfolded(reader.quick(4)?) as i32;
            "i64" I64Deserializer |reader| unfolded(reader.quick(8)?);
            "isize" I64Deserializer |reader| unfolded(reader.quick(8)?);
            "f32" F32Deserializer |reader| f32::from_le_bytes(reader.array()?);
            "f64" F64Deserializer |reader| f64::from_le_bytes(reader.array()?);
        }
        self.several.next_element_seed(seed)
    }
    fn size_hint(&self) -> Option<usize> {
        SeqAccess::size_hint(&self.several)
    }
}

/// Returns the signed number for an unsigned one.
#[inline]
fn unfolded(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
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
        let value = seed.deserialize(U32Deserializer::<Wrong>::new(variant))?;
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
