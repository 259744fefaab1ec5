//! Encoder of bincode's format with variable-length integers.
//!
//! Replaces bincode's for three reasons. Fields are identified by position only, so a skipped field
//! would be decoded as the next one: serde reports skipped fields, and bincode ignores that.
//! Encoding ends as soon as a message is too large. And lists of plain numbers are copied: bincode
//! writes each element by itself.

use crate::error::too_large;
use crate::error::{CodecError, MAX_MESSAGE};
use crate::message::Message;
use crate::plain_list::{NO_NUMBERS, Number, Scalar};
use crate::shape::Facts;
use crate::varint::folded;
use crate::varint::put_unsigned;
use crate::wrong::{Result, Wrong};
use serde::ser::Serialize;
use serde::ser::SerializeMap;
use serde::ser::SerializeSeq;
use serde::ser::SerializeStruct;
use serde::ser::SerializeStructVariant;
use serde::ser::SerializeTuple;
use serde::ser::SerializeTupleStruct;
use serde::ser::SerializeTupleVariant;
use serde::ser::Serializer;

/// Encodes a value behind the beginning of a message.
///
/// # Errors
/// Returns an error if the value cannot be serialised or is too large.
pub(crate) fn write<T: Serialize + ?Sized>(
    to: &mut Message,
    value: &T,
) -> std::result::Result<(), CodecError> {
    let mut writer = Writer {
        left: MAX_MESSAGE.saturating_sub(to.length()),
        to,
        place: ("", ""),
        facts: crate::shape::current(),
        checked: [(0, 0); CHECKED],
        doubted: false,
    };
    // An unused error of an earlier value must not be reported for this one.
    Wrong::forget();
    value
        .serialize(&mut writer)
        .map_err(|wrong| writer.tell(wrong))?;
    match writer.to.length() {
        length if length > MAX_MESSAGE => Err(CodecError::too_large(length)),
        _ => Ok(()),
    }
}

/// The message so far, and the state of encoding.
pub(crate) struct Writer<'a> {
    to: &'a mut Message,
    /// The bytes that the message may still get.
    left: usize,
    /// The type and the field that are being encoded, for errors of user types.
    place: Place,
    /// The positions of fields and variants that the other side reads.
    facts: Option<&'static Facts>,
    /// Parts of types that were compared with them.
    checked: [(usize, usize); CHECKED],
    /// True if the struct or variant that begins is read with another number of parts.
    doubted: bool,
}

/// The number of parts of types that are compared once in a message.
const CHECKED: usize = 16;

/// A type and its field.
type Place = (&'static str, &'static str);

impl Writer<'_> {
    /// Returns the error as text, with the place of the value.
    #[cold]
    #[inline(never)]
    fn tell(&self, wrong: Wrong) -> CodecError {
        let error = CodecError::from(wrong);
        let error = error.with_solution();
        if !self.place.0.is_empty() && !error.is_too_large() && !error.names_its_field() {
            let (name, field) = self.place;
            return CodecError(format!("{name}.{field}: {error}"));
        }
        error
    }

    #[inline(never)]
    fn wide(&mut self, number: u128) -> Result<()> {
        match u64::try_from(number) {
            Ok(number) => self.unsigned(number),
            Err(_) => {
                self.byte(254)?;
                self.raw(&number.to_le_bytes())
            }
        }
    }

    #[inline(never)]
    fn known(&mut self, count: Option<usize>) -> Result<()> {
        match count {
            Some(count) => self.length(count),
            None => Err(Wrong(UNCOUNTED)),
        }
    }
}

/// Comparisons with the positions that the other side reads.
impl Writer<'_> {
    /// Begins a struct with this number of parts. An error waits for its end, because serde may
    /// still say which part is left out.
    #[inline]
    fn structure(&mut self, name: &'static str, count: usize) -> Result<()> {
        self.doubted = match self.facts {
            Some(facts) if !self.is_known((name.as_ptr() as usize, count)) => {
                let has = facts.has_struct(name, count);
                if has {
                    self.know((name.as_ptr() as usize, count));
                }
                !has
            }
            _ => false,
        };
        Ok(())
    }

    /// Begins a variant.
    #[inline]
    fn variant(
        &mut self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        count: Option<usize>,
    ) -> Result<()> {
        let of = (
            variant.as_ptr() as usize,
            count.map_or(0, |count| count + 1),
        );
        self.doubted = match self.facts {
            Some(facts) if !self.is_known(of) => {
                if !facts.has_variant(name, (index, variant), None) {
                    return Err(misplaced(name, variant));
                }
                let has = facts.has_variant(name, (index, variant), count);
                if has {
                    self.know(of);
                }
                !has
            }
            _ => false,
        };
        self.unsigned(index.into())
    }

    /// Returns true if this was compared in this message, and fits.
    fn is_known(&self, of: (usize, usize)) -> bool {
        self.checked[((of.0 / 8) ^ of.1) % CHECKED] == of
    }

    /// Remembers that this fits.
    fn know(&mut self, of: (usize, usize)) {
        self.checked[((of.0 / 8) ^ of.1) % CHECKED] = of;
    }
}

/// Steps that end as soon as the message is too large.
impl Writer<'_> {
    /// Checks that `count` more bytes fit, and counts them.
    pub(crate) fn spend(&mut self, count: usize) -> Result<()> {
        let Some(left) = self.left.checked_sub(count) else {
            return Err(self.refuse(count));
        };
        self.left = left;
        Ok(())
    }

    #[cold]
    #[inline(never)]
    fn refuse(&self, count: usize) -> Wrong {
        Wrong::told(too_large(MAX_MESSAGE - self.left + count))
    }

    #[inline(never)]
    pub(crate) fn raw(&mut self, bytes: &[u8]) -> Result<()> {
        self.spend(bytes.len())?;
        self.to.last().add(bytes);
        Ok(())
    }

    #[inline(never)]
    fn byte(&mut self, byte: u8) -> Result<()> {
        self.spend(1)?;
        self.to.last().push(byte);
        Ok(())
    }

    #[inline(never)]
    fn unsigned(&mut self, number: u64) -> Result<()> {
        if number <= 250 {
            return self.byte(number as u8);
        }
        let mut bytes = [0; 9];
        let count = put_unsigned(&mut bytes, number);
        self.raw(&bytes[..count])
    }

    /// Encodes a length. Each element takes a byte at least, so a length alone can be too large.
    #[inline(never)]
    fn length(&mut self, count: usize) -> Result<()> {
        if count > self.left {
            return Err(self.refuse(count));
        }
        self.unsigned(count as u64)
    }

    #[inline(never)]
    fn bytes(&mut self, bytes: &[u8]) -> Result<()> {
        self.length(bytes.len())?;
        self.spend(bytes.len())?;
        self.to.add(bytes);
        Ok(())
    }

    /// Returns room for the next `count` bytes, which were spent.
    pub(crate) fn room(&mut self, count: usize) -> &mut Vec<u8> {
        self.to.last().room(count)
    }
}

const UNCOUNTED: &str = "a list or map that does not know its length cannot be sent: collect it first (serde's `flatten` makes \
                         such a map)";

/// Encodes the elements of a list of `count`.
///
/// # Errors
/// Returns an error if an element cannot be serialised, or if they are too large.
#[inline]
fn write_list<I: Iterator<Item: Serialize>>(
    writer: &mut Writer<'_>,
    mut list: I,
    count: usize,
) -> Result<()> {
    match std::any::type_name::<I::Item>().trim_start_matches('&') {
        "u8" | "i8" | "bool" => write_bytes(writer, list, count),
        "u16" | "u32" | "u64" | "usize" | "i16" | "i32" | "i64" | "isize" | "f32" | "f64" => {
            write_numbers(writer, list)
        }
        _ => list.try_for_each(|element| element.serialize(&mut *writer)),
    }
}

#[inline(always)]
fn write_bytes<I: Iterator<Item: Serialize>>(
    writer: &mut Writer<'_>,
    list: I,
    count: usize,
) -> Result<()> {
    writer.spend(count)?;
    let room = writer.room(count);
    let end = room.len() + count;
    let mut all = true;
    room.extend(list.map(|element| match element.serialize(Scalar) {
        Ok(Number::Byte(byte)) => byte,
        _ => {
            all = false;
            0
        }
    }));
    if all && room.len() == end {
        Ok(())
    } else {
        Err(Wrong(NO_NUMBERS))
    }
}

/// Bytes that are collected before they are added to the message.
const PIECE: usize = 1024;

#[inline(always)]
fn write_numbers<I: Iterator<Item: Serialize>>(writer: &mut Writer<'_>, list: I) -> Result<()> {
    let mut piece = [0; PIECE];
    let mut at = 0;
    for element in list {
        let mut bytes = [0; 9];
        let count = match element.serialize(Scalar)? {
            Number::Byte(_) => return Err(Wrong(NO_NUMBERS)),
            Number::Integer(number) => put_unsigned(&mut bytes, number),
            Number::Four(four) => {
                bytes[..4].copy_from_slice(&four);
                4
            }
            Number::Eight(eight) => {
                bytes[..8].copy_from_slice(&eight);
                8
            }
        };
        piece[at..at + 9].copy_from_slice(&bytes);
        at += count;
        if at > PIECE - 9 {
            writer.raw(&piece[..at])?;
            at = 0;
        }
    }
    writer.raw(&piece[..at])
}

fn left_out(of: &str, field: &str) -> Wrong {
    Wrong::told(format!(
        "{of}.{field}{LEFT_OUT}, but fields are read by their position, so none can be left out: remove the attribute, or send \
         another type"
    ))
}

#[cold]
fn miscounted(name: &str) -> Wrong {
    Wrong::told(format!(
        "{name}{MISCOUNTED} (serde's `skip` in one direction), but they are read by their position: remove the attribute, or \
         send another type"
    ))
}

#[cold]
fn misplaced(name: &str, variant: &str) -> Wrong {
    Wrong::told(format!(
        "{name}::{variant}{MISPLACED} (serde's `skip` at a variant, or a name for one direction), but variants are read by \
         their position: put variants that are skipped at the end and do not send them, or send another type"
    ))
}

const MISCOUNTED: &str = " is written and read with different numbers of fields";

const MISPLACED: &str = " would be read as another variant";

const LEFT_OUT: &str = " is left out by `skip_serializing_if`";

/// Objections of serde to values of types that can be sent otherwise, each with a solution.
const SOLUTIONS: [(&str, &str); 2] = [
    (
        "path contains invalid UTF-8",
        "an AnyPath or an OsString carries any bytes",
    ),
    (
        "SystemTime must be later",
        "send the seconds since then, as an i64",
    ),
];

impl CodecError {
    /// Adds the solution to an objection that is known.
    fn with_solution(self) -> Self {
        match SOLUTIONS.iter().find(|(text, _)| self.0.starts_with(text)) {
            Some((_, solution)) => Self(format!("{self}; {solution}")),
            None => self,
        }
    }

    /// Returns true if the text begins with the type and the field.
    fn names_its_field(&self) -> bool {
        [LEFT_OUT, MISCOUNTED, MISPLACED]
            .iter()
            .any(|text| self.0.contains(text))
    }
}

macro_rules! written {
    ($($method:ident($($argument:ident: $of:ty),*): |$writer:ident| $work:expr;)*) => {
        $(#[inline]
        fn $method(self, $($argument: $of),*) -> Result<()> {
            let $writer = self;
            $work
        })*
    };
}

macro_rules! parted {
    ($($method:ident($($argument:ident: $of:ty),*), $name:expr, $parts:ident: |$writer:ident| $work:expr;)*) => {
        $(type $parts = Parts<'w, 'a>;
        #[inline]
        fn $method(self, $($argument: $of),*) -> Result<Self::$parts> {
            let $writer = self;
            $work?;
            Ok(Parts::of($writer, $name))
        })*
    };
}

impl<'w, 'a> Serializer for &'w mut Writer<'a> {
    type Ok = ();
    type Error = Wrong;

    written! {
        serialize_bool(value: bool): |writer| writer.byte(value.into());
        serialize_i8(value: i8): |writer| writer.byte(value as u8);
        serialize_i16(value: i16): |writer| writer.unsigned(folded(value.into()));
        serialize_i32(value: i32): |writer| writer.unsigned(folded(value.into()));
        serialize_i64(value: i64): |writer| writer.unsigned(folded(value));
        serialize_i128(value: i128): |writer| writer.wide((value << 1 ^ value >> 127) as u128);
        serialize_u8(value: u8): |writer| writer.byte(value);
        serialize_u16(value: u16): |writer| writer.unsigned(value.into());
        serialize_u32(value: u32): |writer| writer.unsigned(value.into());
        serialize_u64(value: u64): |writer| writer.unsigned(value);
        serialize_u128(value: u128): |writer| writer.wide(value);
        serialize_f32(value: f32): |writer| writer.raw(&value.to_le_bytes());
        serialize_f64(value: f64): |writer| writer.raw(&value.to_le_bytes());
        serialize_char(value: char): |writer| writer.raw(value.encode_utf8(&mut [0; 4]).as_bytes());
        serialize_str(text: &str): |writer| writer.bytes(text.as_bytes());
        serialize_bytes(bytes: &[u8]): |writer| writer.bytes(bytes);
        serialize_none(): |writer| writer.byte(0);
        serialize_unit(): |_writer| Ok(());
        serialize_unit_struct(_name: &'static str): |_writer| Ok(());
        serialize_unit_variant(name: &'static str, index: u32, variant: &'static str): |writer| writer.variant(name, index, variant, None);
    }

    parted! {
        serialize_seq(count: Option<usize>), "", SerializeSeq: |writer| writer.known(count);
        serialize_tuple(_count: usize), "", SerializeTuple: |writer| Ok(());
        serialize_tuple_struct(name: &'static str, count: usize), name, SerializeTupleStruct: |writer| writer.structure(name, count);
        serialize_tuple_variant(name: &'static str, index: u32, variant: &'static str, count: usize), variant, SerializeTupleVariant: |writer| writer.variant(name, index, variant, Some(count));
        serialize_map(count: Option<usize>), "", SerializeMap: |writer| writer.known(count);
        serialize_struct(name: &'static str, count: usize), name, SerializeStruct: |writer| writer.structure(name, count);
        serialize_struct_variant(name: &'static str, index: u32, variant: &'static str, count: usize), variant, SerializeStructVariant: |writer| writer.variant(name, index, variant, Some(count));
    }

    #[inline]
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<()> {
        self.byte(1)?;
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
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<()> {
        self.variant(name, index, variant, None)?;
        value.serialize(self)
    }

    #[inline]
    fn collect_seq<I>(self, list: I) -> Result<()>
    where
        I: IntoIterator,
        I::Item: Serialize,
    {
        if let Some(bytes) = offshoot_sys::bytes_of(&list) {
            return self.bytes(bytes);
        }
        let list = list.into_iter();
        let count = match list.size_hint() {
            (count, Some(most)) if count == most => Some(count),
            _ => None,
        };
        self.known(count)?;
        write_list(self, list, count.unwrap_or(0))
    }

    #[inline]
    fn is_human_readable(&self) -> bool {
        false
    }
}

/// A serialiser of the parts of a compound value, with its type's name for errors.
pub(crate) struct Parts<'w, 'a> {
    writer: &'w mut Writer<'a>,
    name: &'static str,
    outer: Place,
    /// True if it is read with another number of parts.
    doubted: bool,
}

impl<'w, 'a> Parts<'w, 'a> {
    fn of(writer: &'w mut Writer<'a>, name: &'static str) -> Self {
        let outer = writer.place;
        let doubted = std::mem::take(&mut writer.doubted);
        Self {
            writer,
            name,
            outer,
            doubted,
        }
    }

    fn enter(&mut self, field: &'static str) {
        self.writer.place = (self.name, field);
    }

    fn leave(self) -> Result<()> {
        if self.doubted {
            return Err(miscounted(self.name));
        }
        self.writer.place = self.outer;
        Ok(())
    }

    fn left_out(&self, field: &str) -> Wrong {
        left_out(self.name, field)
    }
}

macro_rules! parts {
    ($($of:ident: $($method:ident($($name:ident)?)),*;)*) => {
        $(impl $of for Parts<'_, '_> {
            type Ok = ();
            type Error = Wrong;

            $(#[inline]
            fn $method<T: Serialize + ?Sized>(
                &mut self,
                $($name: &'static str,)?
                value: &T,
            ) -> Result<()> {
                $(self.enter($name);)?
                value.serialize(&mut *self.writer)
            })*

            parts!(@skip $of);

            #[inline]
            fn end(self) -> Result<()> {
                self.leave()
            }
        })*
    };
    (@skip SerializeStruct) => { parts!(@told); };
    (@skip SerializeStructVariant) => { parts!(@told); };
    (@skip $of:ident) => {};
    (@told) => {
        fn skip_field(&mut self, key: &'static str) -> Result<()> {
            Err(self.left_out(key))
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
