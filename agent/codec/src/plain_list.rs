//! Lists of plain numbers, copied in one go; for user types, which the stock agent does not have.
//!
//! serde gives a list one element at a time, and its type only as a generic parameter. No other
//! type has the name of a primitive one, so the name decides; if it ever did not, encoding would
//! fail, and decoding would be slow.

use crate::varint::folded;
use crate::wrong::{Result, Wrong};
use serde::de::{DeserializeSeed, Visitor};
use serde::ser::{Impossible, Serialize, Serializer};
use std::any::type_name;

/// The objection to elements of another type than their name says.
pub(crate) const NO_NUMBERS: &str =
    "a list whose elements are not the numbers that they are called";

/// A number of a list, in its encoded form.
pub(crate) enum Number {
    Byte(u8),
    Integer(u64),
    Four([u8; 4]),
    Eight([u8; 8]),
}

/// A serialiser of one plain number.
pub(crate) struct Scalar;

macro_rules! scalar {
    ($($method:ident($value:ident: $of:ty): $number:expr;)*) => {
        $(#[inline(always)]
        fn $method(self, $value: $of) -> Result<Number> {
            Ok($number)
        })*
    };
}

macro_rules! none {
    ($($method:ident$(<$t:ident>)?($($of:ty),*) -> $result:ty;)*) => {
        $(fn $method$(<$t: Serialize + ?Sized>)?(self, $(_: $of),*) -> Result<$result> {
            Err(Wrong(NO_NUMBERS))
        })*
    };
}

impl Serializer for Scalar {
    type Ok = Number;
    type Error = Wrong;
    type SerializeSeq = Impossible<Number, Wrong>;
    type SerializeTuple = Impossible<Number, Wrong>;
    type SerializeTupleStruct = Impossible<Number, Wrong>;
    type SerializeTupleVariant = Impossible<Number, Wrong>;
    type SerializeMap = Impossible<Number, Wrong>;
    type SerializeStruct = Impossible<Number, Wrong>;
    type SerializeStructVariant = Impossible<Number, Wrong>;

    scalar! {
        serialize_bool(value: bool): Number::Byte(value.into());
        serialize_u8(value: u8): Number::Byte(value);
        serialize_i8(value: i8): Number::Byte(value as u8);
        serialize_u16(value: u16): Number::Integer(value.into());
        serialize_u32(value: u32): Number::Integer(value.into());
        serialize_u64(value: u64): Number::Integer(value);
        serialize_i16(value: i16): Number::Integer(folded(value.into()));
        serialize_i32(value: i32): Number::Integer(folded(value.into()));
        serialize_i64(value: i64): Number::Integer(folded(value));
        serialize_f32(value: f32): Number::Four(value.to_le_bytes());
        serialize_f64(value: f64): Number::Eight(value.to_le_bytes());
    }

    none! {
        serialize_char(char) -> Number;
        serialize_str(&str) -> Number;
        serialize_bytes(&[u8]) -> Number;
        serialize_none() -> Number;
        serialize_some<T>(&T) -> Number;
        serialize_unit() -> Number;
        serialize_unit_struct(&'static str) -> Number;
        serialize_unit_variant(&'static str, u32, &'static str) -> Number;
        serialize_newtype_struct<T>(&'static str, &T) -> Number;
        serialize_newtype_variant<T>(&'static str, u32, &'static str, &T) -> Number;
        serialize_seq(Option<usize>) -> Self::SerializeSeq;
        serialize_tuple(usize) -> Self::SerializeTuple;
        serialize_tuple_struct(&'static str, usize) -> Self::SerializeTupleStruct;
        serialize_tuple_variant(&'static str, u32, &'static str, usize) -> Self::SerializeTupleVariant;
        serialize_map(Option<usize>) -> Self::SerializeMap;
        serialize_struct(&'static str, usize) -> Self::SerializeStruct;
        serialize_struct_variant(&'static str, u32, &'static str, usize) -> Self::SerializeStructVariant;
    }
}

/// Returns true if `T` is the seed with this name, of a plain number.
#[inline(always)]
pub(crate) fn reads<'de, T: DeserializeSeed<'de>>(name: &str) -> bool {
    // Most other types are told apart by their size alone.
    size_of::<T>() == 0 && size_of::<T::Value>() <= 8 && type_name::<T>() == name
}

/// Returns true if `V` is serde's own visitor for a `Vec<u8>`, which keeps the bytes as they are.
/// It takes them one at a time, four times as slowly as a copy.
#[inline(always)]
pub(crate) fn is_visitor_of_bytes<'de, V: Visitor<'de>>() -> bool {
    let name = type_name::<V>();
    name.starts_with("serde_core::de::impls::") && name.ends_with("::VecVisitor<u8>")
}
