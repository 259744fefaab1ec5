//! Encoder with a check that bincode lacks. Fields are identified by position only, so that a
//! skipped field would be decoded as the next one. serde reports skipped fields, and bincode
//! ignores that.

use serde::ser::Error;
use serde::ser::Serialize;
use serde::ser::SerializeMap;
use serde::ser::SerializeSeq;
use serde::ser::SerializeStruct;
use serde::ser::SerializeStructVariant;
use serde::ser::SerializeTuple;
use serde::ser::SerializeTupleStruct;
use serde::ser::SerializeTupleVariant;
use serde::ser::Serializer;

/// A value to serialise without skipped fields.
pub(crate) struct Whole<'a, T: ?Sized>(pub &'a T);

impl<T: Serialize + ?Sized> Serialize for Whole<'_, T> {
    #[inline]
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(Writer(serializer))
    }
}

/// A serialiser that passes everything on and checks all values within.
struct Writer<S>(S);

/// A serialiser of the parts of a compound value, with its type's name for errors.
struct Parts<C> {
    to: C,
    name: &'static str,
}

impl<C> Parts<C> {
    fn of<E>(name: &'static str, to: Result<C, E>) -> Result<Self, E> {
        to.map(|to| Self { to, name })
    }
}

fn left_out<E: Error>(of: &str, field: &str) -> E {
    E::custom(format_args!(
        "{of}.{field} is left out by `skip_serializing_if`, and who reads a message knows a field by its place: leave out that \
         attribute, or send another type"
    ))
}

macro_rules! plain {
    ($($method:ident($($argument:ident: $of:ty),*);)*) => {
        $(#[inline]
        fn $method(self, $($argument: $of),*) -> Result<S::Ok, S::Error> {
            self.0.$method($($argument),*)
        })*
    };
}

macro_rules! parted {
    ($($method:ident($($argument:ident: $of:ty),*), $name:expr, $parts:ident;)*) => {
        $(type $parts = Parts<S::$parts>;
        #[inline]
        fn $method(self, $($argument: $of),*) -> Result<Self::$parts, S::Error> {
            Parts::of($name, self.0.$method($($argument),*))
        })*
    };
}

impl<S: Serializer> Serializer for Writer<S> {
    type Ok = S::Ok;
    type Error = S::Error;

    plain! {
        serialize_bool(value: bool);
        serialize_i8(value: i8);
        serialize_i16(value: i16);
        serialize_i32(value: i32);
        serialize_i64(value: i64);
        serialize_i128(value: i128);
        serialize_u8(value: u8);
        serialize_u16(value: u16);
        serialize_u32(value: u32);
        serialize_u64(value: u64);
        serialize_u128(value: u128);
        serialize_f32(value: f32);
        serialize_f64(value: f64);
        serialize_char(value: char);
        serialize_str(value: &str);
        serialize_bytes(value: &[u8]);
        serialize_none();
        serialize_unit();
        serialize_unit_struct(name: &'static str);
        serialize_unit_variant(name: &'static str, index: u32, variant: &'static str);
    }

    parted! {
        serialize_seq(length: Option<usize>), "", SerializeSeq;
        serialize_tuple(length: usize), "", SerializeTuple;
        serialize_tuple_struct(name: &'static str, length: usize), "", SerializeTupleStruct;
        serialize_tuple_variant(name: &'static str, index: u32, variant: &'static str, length: usize), "", SerializeTupleVariant;
        serialize_map(length: Option<usize>), "", SerializeMap;
        serialize_struct(name: &'static str, length: usize), name, SerializeStruct;
        serialize_struct_variant(name: &'static str, index: u32, variant: &'static str, length: usize), variant, SerializeStructVariant;
    }

    #[inline]
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        self.0.serialize_some(&Whole(value))
    }

    #[inline]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        self.0.serialize_newtype_struct(name, &Whole(value))
    }

    #[inline]
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        self.0
            .serialize_newtype_variant(name, index, variant, &Whole(value))
    }

    #[inline]
    fn is_human_readable(&self) -> bool {
        self.0.is_human_readable()
    }
}

macro_rules! parts {
    ($($of:ident: $($method:ident($($name:ident)?)),*;)*) => {
        $(impl<C: $of> $of for Parts<C> {
            type Ok = C::Ok;
            type Error = C::Error;

            $(#[inline]
            fn $method<T: Serialize + ?Sized>(
                &mut self,
                $($name: &'static str,)?
                value: &T,
            ) -> Result<(), C::Error> {
                self.to.$method($($name,)? &Whole(value))
            })*

            parts!(@skip $of);

            #[inline]
            fn end(self) -> Result<C::Ok, C::Error> {
                self.to.end()
            }
        })*
    };
    (@skip SerializeStruct) => { parts!(@told); };
    (@skip SerializeStructVariant) => { parts!(@told); };
    (@skip $of:ident) => {};
    (@told) => {
        fn skip_field(&mut self, key: &'static str) -> Result<(), C::Error> {
            Err(left_out(self.name, key))
        }
    };
}

parts! {
    SerializeSeq: serialize_element();
    SerializeTuple: serialize_element();
    SerializeTupleStruct: serialize_field();
    SerializeTupleVariant: serialize_field();
    SerializeMap: serialize_key(), serialize_value();
    SerializeStruct: serialize_field(key);
    SerializeStructVariant: serialize_field(key);
}
