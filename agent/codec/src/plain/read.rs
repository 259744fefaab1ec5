//! Decoder: records the first mismatch and returns zeros from there on.

use crate::error::CodecError;
use crate::error::MAX_MESSAGE;
use crate::plain::never::{Never, Result};
use serde::de::DeserializeSeed;
use serde::de::Deserializer;
use serde::de::EnumAccess;
use serde::de::SeqAccess;
use serde::de::VariantAccess;
use serde::de::Visitor;
use serde::forward_to_deserialize_any;

/// The bytes that are left; none after a mismatch.
struct Plain<'a> {
    left: &'a [u8],
    fits: bool,
}

/// Decodes a message of the tree itself, which must use all bytes.
///
/// # Errors
/// Returns an error if the bytes are not a `T`.
pub(crate) fn read<T: serde::de::DeserializeOwned>(
    bytes: &[u8],
) -> std::result::Result<T, CodecError> {
    let mut plain = Plain {
        left: bytes,
        fits: true,
    };
    let Ok(value) = T::deserialize(&mut plain);
    if plain.fits && plain.left.is_empty() {
        Ok(value)
    } else {
        Err(unfit())
    }
}

#[cold]
#[inline(never)]
fn unfit() -> CodecError {
    CodecError("its bytes are none of this kind".into())
}

impl<'a> Plain<'a> {
    #[cold]
    #[inline(never)]
    fn fail(&mut self) {
        self.left = &[];
        self.fits = false;
    }

    #[inline(never)]
    fn take(&mut self, count: usize) -> &'a [u8] {
        match self.left.split_at_checked(count) {
            Some((taken, left)) => {
                self.left = left;
                taken
            }
            None => {
                self.fail();
                &[]
            }
        }
    }

    fn little_endian(&mut self, count: usize) -> u64 {
        self.take(count)
            .iter()
            .rev()
            .fold(0, |number, byte| number << 8 | u64::from(*byte))
    }

    /// Decodes a number of at most `width` bytes, up to `most`: a byte below 251 is the value,
    /// others give the width.
    #[inline(never)]
    fn unsigned(&mut self, width: usize, most: u64) -> u64 {
        let number = match self.little_endian(1) {
            251 => self.little_endian(2),
            252 if width >= 4 => self.little_endian(4),
            253 if width >= 8 => self.little_endian(8),
            small @ ..=250 => small,
            _ => {
                self.fail();
                0
            }
        };
        self.up_to(number, most)
    }

    fn up_to(&mut self, number: u64, most: u64) -> u64 {
        if number <= most {
            return number;
        }
        self.fail();
        0
    }

    fn flag(&mut self) -> bool {
        let byte = self.little_endian(1);
        self.up_to(byte, 1) == 1
    }

    fn length(&mut self) -> usize {
        self.unsigned(8, MAX_MESSAGE as u64) as usize
    }

    fn bytes(&mut self) -> &'a [u8] {
        let length = self.length();
        self.take(length)
    }

    #[inline(never)]
    fn text(&mut self) -> &'a str {
        std::str::from_utf8(self.bytes()).unwrap_or_else(|_| {
            self.fail();
            ""
        })
    }
}

macro_rules! numbers {
    ($($method:ident $visit:ident $type:ty: $value:expr;)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
            let read: fn(&mut Plain<'de>) -> u64 = $value;
            visitor.$visit(read(self) as $type)
        })*
    };
}

impl<'de> Deserializer<'de> for &mut Plain<'de> {
    type Error = Never;

    numbers! {
        deserialize_u8 visit_u8 u8: |plain| plain.little_endian(1);
        deserialize_u16 visit_u16 u16: |plain| plain.unsigned(2, u64::MAX);
        deserialize_u32 visit_u32 u32: |plain| plain.unsigned(4, u64::MAX);
        deserialize_u64 visit_u64 u64: |plain| plain.unsigned(8, u64::MAX);
        // Even numbers are positive, odd ones negative.
        deserialize_i32 visit_i32 i32: |plain| {
            let number = plain.unsigned(4, u64::MAX);
            number >> 1 ^ (number & 1).wrapping_neg()
        };
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        visitor.visit_bool(self.flag())
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        visitor.visit_string(self.text().into())
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        visitor.visit_byte_buf(self.bytes().into())
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        if self.flag() {
            visitor.visit_some(self)
        } else {
            visitor.visit_none()
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        let count = self.length();
        visitor.visit_seq(Elements { plain: self, count })
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value> {
        visitor.visit_seq(Fields(self))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        visitor.visit_seq(Fields(self))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        let variant = self.unsigned(4, variants.len().saturating_sub(1) as u64) as u32;
        visitor.visit_enum(Variant {
            plain: self,
            variant,
        })
    }

    fn is_human_readable(&self) -> bool {
        false
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value> {
        std::process::abort()
    }

    forward_to_deserialize_any! {
        i8 i16 i64 i128 u128 f32 f64 char str bytes unit unit_struct tuple_struct map identifier ignored_any
    }
}

/// The announced number of elements, as far as there are bytes for them.
struct Elements<'a, 'de> {
    plain: &'a mut Plain<'de>,
    count: usize,
}

impl<'de> SeqAccess<'de> for Elements<'_, 'de> {
    type Error = Never;
    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>> {
        if self.count == 0 || !self.plain.fits {
            return Ok(None);
        }
        self.count -= 1;
        seed.deserialize(&mut *self.plain).map(Some)
    }
    fn size_hint(&self) -> Option<usize> {
        Some(self.count.min(self.plain.left.len()))
    }
}

/// As many fields as are requested.
struct Fields<'a, 'de>(&'a mut Plain<'de>);

impl<'de> SeqAccess<'de> for Fields<'_, 'de> {
    type Error = Never;
    #[inline(always)]
    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>> {
        seed.deserialize(&mut *self.0).map(Some)
    }
}

struct Variant<'a, 'de> {
    plain: &'a mut Plain<'de>,
    variant: u32,
}

impl<'a, 'de> EnumAccess<'de> for Variant<'a, 'de> {
    type Error = Never;
    type Variant = &'a mut Plain<'de>;
    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self::Variant)> {
        let variant = serde::de::value::U32Deserializer::<Never>::new(self.variant);
        seed.deserialize(variant).map(|value| (value, self.plain))
    }
}

impl<'de> VariantAccess<'de> for &mut Plain<'de> {
    type Error = Never;
    fn unit_variant(self) -> Result<()> {
        Ok(())
    }
    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value> {
        seed.deserialize(self)
    }
    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value> {
        visitor.visit_seq(Fields(self))
    }
    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        visitor.visit_seq(Fields(self))
    }
}
