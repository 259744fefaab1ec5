//! Encoder. Writing to memory cannot fail.

use crate::plain::never::{Never, Result};
use crate::secret::Written;
use serde::ser::Impossible;
use serde::ser::Serialize;
use serde::ser::SerializeSeq;
use serde::ser::SerializeStruct;
use serde::ser::SerializeStructVariant;
use serde::ser::SerializeTuple;
use serde::ser::SerializeTupleVariant;
use serde::ser::Serializer;

/// Appends an encoded message of the tree itself to `bytes`.
pub(crate) fn write<T: Serialize + ?Sized>(bytes: &mut Written, value: &T) {
    let Ok(()) = value.serialize(Sink(bytes));
}

struct Sink<'a>(&'a mut Written);

impl Sink<'_> {
    #[inline(never)]
    fn raw(&mut self, bytes: &[u8]) {
        self.0.add(bytes);
    }

    #[inline(always)]
    fn unsigned(&mut self, number: u64) {
        self.0.add_unsigned(number);
    }

    #[inline(never)]
    fn bytes(&mut self, bytes: &[u8]) {
        self.unsigned(bytes.len() as u64);
        self.raw(bytes);
    }
}

macro_rules! written {
    ($($method:ident($($argument:ident: $of:ty),*) $(-> $parts:ty)?: |$sink:ident| $work:expr;)*) => {
        $(#[inline]
        fn $method(mut self, $($argument: $of),*) -> Result<written!(@of $($parts)?)> {
            let $sink = &mut self;
            $work;
            written!(@done self $($parts)?)
        })*
    };
    (@of) => { () };
    (@of $parts:ty) => { $parts };
    (@done $sink:ident) => { Ok(()) };
    (@done $sink:ident $parts:ty) => { Ok($sink) };
}

macro_rules! never {
    ($($method:ident($($of:ty),*) -> $parts:ty;)*) => {
        $(fn $method(self, $(_: $of),*) -> Result<$parts> {
            std::process::abort()
        })*
    };
}

impl Serializer for Sink<'_> {
    type Ok = ();
    type Error = Never;
    type SerializeSeq = Self;
    type SerializeTuple = Self;
    type SerializeTupleStruct = Impossible<(), Never>;
    type SerializeTupleVariant = Self;
    type SerializeMap = Impossible<(), Never>;
    type SerializeStruct = Self;
    type SerializeStructVariant = Self;

    written! {
        serialize_bool(value: bool): |sink| sink.raw(&[u8::from(value)]);
        serialize_u8(value: u8): |sink| sink.raw(&[value]);
        serialize_u16(value: u16): |sink| sink.unsigned(value.into());
        serialize_u32(value: u32): |sink| sink.unsigned(value.into());
        serialize_u64(value: u64): |sink| sink.unsigned(value);
        serialize_i32(value: i32): |sink| sink.unsigned((value << 1 ^ value >> 31) as u32 as u64);
        serialize_str(text: &str): |sink| sink.bytes(text.as_bytes());
        serialize_bytes(bytes: &[u8]): |sink| sink.bytes(bytes);
        serialize_none(): |sink| sink.raw(&[0]);
        serialize_unit(): |_sink| {};
        serialize_unit_variant(_name: &'static str, index: u32, _variant: &'static str): |sink| sink.unsigned(index.into());
        serialize_seq(length: Option<usize>) -> Self: |sink| sink.unsigned(length.unwrap_or(0) as u64);
        serialize_tuple(_length: usize) -> Self: |_sink| {};
        serialize_tuple_variant(_name: &'static str, index: u32, _variant: &'static str, _length: usize) -> Self: |sink| sink.unsigned(index.into());
        serialize_struct(_name: &'static str, _length: usize) -> Self: |_sink| {};
        serialize_struct_variant(_name: &'static str, index: u32, _variant: &'static str, _length: usize) -> Self: |sink| sink.unsigned(index.into());
    }

    never! {
        serialize_i8(i8) -> ();
        serialize_i16(i16) -> ();
        serialize_i64(i64) -> ();
        serialize_f32(f32) -> ();
        serialize_f64(f64) -> ();
        serialize_char(char) -> ();
        serialize_unit_struct(&'static str) -> ();
        serialize_tuple_struct(&'static str, usize) -> Self::SerializeTupleStruct;
        serialize_map(Option<usize>) -> Self::SerializeMap;
    }

    #[inline]
    fn serialize_some<T: Serialize + ?Sized>(mut self, value: &T) -> Result<()> {
        self.raw(&[1]);
        value.serialize(self)
    }

    #[inline]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<()> {
        value.serialize(self)
    }

    #[inline]
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        mut self,
        _: &'static str,
        index: u32,
        _: &'static str,
        value: &T,
    ) -> Result<()> {
        self.unsigned(index.into());
        value.serialize(self)
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

macro_rules! parts {
    ($($of:ident: $method:ident($($name:ident)?);)*) => {
        $(impl $of for Sink<'_> {
            type Ok = ();
            type Error = Never;
            #[inline]
            fn $method<T: Serialize + ?Sized>(&mut self, $($name: &'static str,)? value: &T) -> Result<()> {
                value.serialize(Sink(self.0))
            }
            #[inline]
            fn end(self) -> Result<()> {
                Ok(())
            }
        })*
    };
}

parts! {
    SerializeSeq: serialize_element();
    SerializeTuple: serialize_element();
    SerializeTupleVariant: serialize_field();
    SerializeStruct: serialize_field(_name);
    SerializeStructVariant: serialize_field(_name);
}
