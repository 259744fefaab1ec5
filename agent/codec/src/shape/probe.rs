//! The deserializer that makes up values.

use super::facts::Facts;
use super::places::{Place, Places};
use super::sum::Sum;
use serde::de::value::U32Deserializer;
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Expected, MapAccess, SeqAccess, VariantAccess,
    Visitor,
};
use std::collections::BTreeSet;
use std::fmt;

/// The most steps of a pass.
const STEPS: usize = 20_000;

/// The most times that a type is entered inside itself, before lists and options in it are empty.
/// Twice, because a generic type inside of itself has the same name.
const SELF: usize = 2;

/// The deepest nesting of values.
const DEEP: usize = 64;

/// The texts that are tried where a type wants one. Empty ones are common, and a type that parses
/// its text wants one of these.
const TEXTS: [&str; 11] = [
    "",
    "1",
    "a",
    "/",
    "1.0.0",
    "127.0.0.1",
    "2000-01-01",
    "2000-01-01T00:00:00Z",
    "00:00:00",
    "http://a/",
    "00000000-0000-4000-8000-000000000000",
];

/// The lengths of bytes that are tried.
const BYTES: [usize; 5] = [0, 16, 4, 32, 1];

/// The numbers that are tried.
const NUMBERS: [u8; 3] = [1, 0, 10];

/// The end of a pass before the type was read.
#[derive(Debug)]
pub(super) struct Stop;

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a probe of a type has ended")
    }
}

impl std::error::Error for Stop {}

impl serde::de::Error for Stop {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self
    }
}

type Result<T> = std::result::Result<T, Stop>;

/// The deserializer of one pass over a type.
pub(super) struct Probe<'p> {
    sum: &'p mut Sum,
    types: &'p mut BTreeSet<(&'static str, u32)>,
    places: &'p mut Places,
    place: Place,
    /// The named types that are being read, each with what was seen of it.
    inside: Vec<(&'static str, Sum)>,
    depth: usize,
    steps: usize,
    /// The positions that were read.
    pub(super) facts: &'p mut Facts,
    /// The number of parts of the last compound value that were read.
    taken: usize,
    /// The reason why the type cannot be sent.
    pub(super) fault: Option<String>,
}

impl<'p> Probe<'p> {
    pub(super) fn new(
        sum: &'p mut Sum,
        types: &'p mut BTreeSet<(&'static str, u32)>,
        places: &'p mut Places,
        facts: &'p mut Facts,
    ) -> Self {
        Self {
            sum,
            types,
            places,
            place: ("", ""),
            inside: Vec::new(),
            depth: 0,
            steps: 0,
            facts,
            taken: 0,
            fault: None,
        }
    }

    /// Notes something that the type has asked for.
    fn note(&mut self, what: &str, count: usize) -> Result<()> {
        self.steps += 1;
        if self.steps > STEPS {
            return Err(Stop);
        }
        let count = (count as u64).to_le_bytes();
        let length = [what.len() as u8];
        for bytes in [&length[..], what.as_bytes(), &count] {
            self.sum.add(bytes);
            if let Some((_, sum)) = self.inside.last_mut() {
                sum.add(bytes);
            }
        }
        Ok(())
    }

    fn below<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        if self.depth == DEEP {
            return Err(Stop);
        }
        self.depth += 1;
        let value = read(self)?;
        self.depth -= 1;
        Ok(value)
    }

    /// Reads a named type with these fields or variants.
    fn named<T>(
        &mut self,
        kind: &str,
        name: &'static str,
        parts: &'static [&'static str],
        read: impl FnOnce(&mut Self) -> Result<T>,
    ) -> Result<T> {
        self.note(kind, parts.len())?;
        self.note(name, 0)?;
        let outer = self.place;
        self.inside.push((name, Sum::default()));
        parts.iter().try_for_each(|part| self.note(part, 0))?;
        let value = self.below(read)?;
        self.place = outer;
        if let Some((name, sum)) = self.inside.pop() {
            self.types.insert((name, sum.get()));
        }
        Ok(value)
    }

    /// Reads a compound value, and notes how many of its parts it reads.
    fn counted<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T>,
        note: impl FnOnce(&mut Facts, usize),
    ) -> Result<T> {
        let outer = std::mem::take(&mut self.taken);
        let value = read(self)?;
        let parts = std::mem::replace(&mut self.taken, outer);
        note(self.facts, parts);
        Ok(value)
    }

    /// Returns true if the innermost named type is inside itself.
    fn is_shallow(&self) -> bool {
        self.inside.last().is_some_and(|(name, _)| {
            self.inside
                .iter()
                .filter(|(other, _)| other == name)
                .count()
                > SELF
        })
    }

    /// Stops at a type that the format cannot carry.
    fn refuse<T>(&mut self, expected: &dyn Expected) -> Result<T> {
        let expected = expected.to_string();
        let at = match self.place {
            ("", "") => "it".to_owned(),
            (name, "") => name.to_owned(),
            (name, field) => format!("{name}.{field}"),
        };
        let what = match expected.rsplit_once(' ') {
            Some(("struct", name)) => format!("{at} has a struct {name} with a `flatten`ed field"),
            Some(("internally tagged enum", name)) => {
                format!("{at} has an enum {name} with a `tag`")
            }
            _ if expected == "variant identifier" => {
                format!("{} is an enum with a `tag` and `content`", self.place.0)
            }
            _ => format!("{at} has a type that does not say what comes ({expected})"),
        };
        self.fault.get_or_insert(what);
        Err(Stop)
    }
}

macro_rules! numbers {
    ($($method:ident $visit:ident;)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
            self.note(stringify!($visit), 0)?;
            let at = self.places.value(self.place, NUMBERS.len());
            visitor.$visit(NUMBERS[at].into())
        })*
    };
}

macro_rules! refused {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
            self.refuse(&visitor)
        })*
    };
}

impl<'de> Deserializer<'de> for &mut Probe<'_> {
    type Error = Stop;

    numbers! {
        deserialize_u8 visit_u8;
        deserialize_u16 visit_u16;
        deserialize_u32 visit_u32;
        deserialize_u64 visit_u64;
        deserialize_u128 visit_u128;
        deserialize_i16 visit_i16;
        deserialize_i32 visit_i32;
        deserialize_i64 visit_i64;
        deserialize_i128 visit_i128;
        deserialize_f32 visit_f32;
        deserialize_f64 visit_f64;
    }

    refused! { deserialize_any deserialize_ignored_any deserialize_identifier }

    fn deserialize_i8<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.note("visit_i8", 0)?;
        let at = self.places.value(self.place, NUMBERS.len());
        visitor.visit_i8(NUMBERS[at] as i8)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.note("bool", 0)?;
        let at = self.places.value(self.place, 2);
        visitor.visit_bool(at == 1)
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.note("char", 0)?;
        self.places.value(self.place, 1);
        visitor.visit_char('a')
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.note("text", 0)?;
        let at = self.places.value(self.place, TEXTS.len());
        visitor.visit_borrowed_str(TEXTS[at])
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.deserialize_str(visitor)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.note("bytes", 0)?;
        let at = self.places.value(self.place, BYTES.len());
        visitor.visit_borrowed_bytes(&[0; 32][..BYTES[at]])
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.note("bytes", 0)?;
        let at = self.places.value(self.place, BYTES.len());
        visitor.visit_byte_buf(vec![0; BYTES[at]])
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.note("option", 0)?;
        if self.is_shallow() {
            return visitor.visit_none();
        }
        self.below(|probe| visitor.visit_some(probe))
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.note("unit", 0)?;
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value> {
        self.named("unit", name, &[], |_| visitor.visit_unit())
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value> {
        self.named("newtype", name, &[], |probe| {
            probe.place = (name, "");
            visitor.visit_newtype_struct(probe)
        })
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.note("list", 0)?;
        let count = usize::from(!self.is_shallow());
        self.below(|probe| visitor.visit_seq(Parts::unnamed(probe, count)))
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, count: usize, visitor: V) -> Result<V::Value> {
        self.note("tuple", count)?;
        self.below(|probe| visitor.visit_seq(Parts::unnamed(probe, count)))
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        count: usize,
        visitor: V,
    ) -> Result<V::Value> {
        self.named("tuple", name, &[], |probe| {
            probe.note("tuple", count)?;
            probe.place = (name, "");
            probe.counted(
                |probe| visitor.visit_seq(Parts::unnamed(probe, count)),
                |facts, parts| facts.add_struct(name, parts),
            )
        })
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.note("map", 0)?;
        // A struct that wants to be a map has a flattened field: it asks for the names of others.
        let visitor_is = (&visitor as &dyn Expected).to_string();
        if visitor_is.starts_with("struct ") {
            return self.refuse(&visitor);
        }
        let count = usize::from(!self.is_shallow());
        self.below(|probe| visitor.visit_map(Parts::unnamed(probe, count)))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        self.named("struct", name, fields, |probe| {
            probe.counted(
                |probe| visitor.visit_seq(Parts::of(probe, name, fields)),
                |facts, parts| facts.add_struct(name, parts),
            )
        })
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        let place = self.place;
        self.named("enum", name, variants, |probe| {
            let at = probe
                .places
                .variant(place, name, variants.len())
                .ok_or(Stop)?;
            probe.place = (name, variants[at]);
            probe.note(variants[at], at)?;
            let value = visitor.visit_enum(Variant {
                probe,
                name,
                names: variants,
                at,
            })?;
            probe.places.read(place, name, at);
            Ok(value)
        })
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

/// The parts of a compound value.
struct Parts<'a, 'p> {
    probe: &'a mut Probe<'p>,
    name: &'static str,
    /// The names of the parts, if they have names.
    fields: Option<std::slice::Iter<'static, &'static str>>,
    count: usize,
}

impl<'a, 'p> Parts<'a, 'p> {
    fn unnamed(probe: &'a mut Probe<'p>, count: usize) -> Self {
        Self {
            probe,
            name: "",
            fields: None,
            count,
        }
    }

    fn of(probe: &'a mut Probe<'p>, name: &'static str, fields: &'static [&'static str]) -> Self {
        Self {
            probe,
            name,
            fields: Some(fields.iter()),
            count: fields.len(),
        }
    }
}

impl<'de> SeqAccess<'de> for Parts<'_, '_> {
    type Error = Stop;
    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>> {
        if self.count == 0 {
            return Ok(None);
        }
        self.count -= 1;
        self.probe.taken += 1;
        self.probe.note("part", 0)?;
        if let Some(field) = self.fields.as_mut().and_then(Iterator::next) {
            self.probe.place = (self.name, field);
        }
        let taken = self.probe.taken;
        let value = seed.deserialize(&mut *self.probe);
        // Those of the lists in it do not count.
        self.probe.taken = taken;
        value.map(Some)
    }
    fn size_hint(&self) -> Option<usize> {
        Some(self.count)
    }
}

impl<'de> MapAccess<'de> for Parts<'_, '_> {
    type Error = Stop;
    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>> {
        self.next_element_seed(seed)
    }
    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value> {
        seed.deserialize(&mut *self.probe)
    }
    fn size_hint(&self) -> Option<usize> {
        Some(self.count)
    }
}

struct Variant<'a, 'p> {
    probe: &'a mut Probe<'p>,
    name: &'static str,
    names: &'static [&'static str],
    at: usize,
}

impl<'de, 'a, 'p> EnumAccess<'de> for Variant<'a, 'p> {
    type Error = Stop;
    type Variant = Self;
    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self)> {
        let value = seed.deserialize(U32Deserializer::<Stop>::new(self.at as u32))?;
        let Self {
            name, names, at, ..
        } = self;
        self.probe.facts.add_variant(name, names, at, None);
        Ok((value, self))
    }
}

impl<'de> VariantAccess<'de> for Variant<'_, '_> {
    type Error = Stop;
    fn unit_variant(self) -> Result<()> {
        self.probe.note("unit", 0)
    }
    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value> {
        self.probe.note("newtype", 0)?;
        seed.deserialize(self.probe)
    }
    fn tuple_variant<V: Visitor<'de>>(self, count: usize, visitor: V) -> Result<V::Value> {
        let Self {
            name, names, at, ..
        } = self;
        self.probe.note("tuple", count)?;
        self.probe.counted(
            |probe| visitor.visit_seq(Parts::unnamed(probe, count)),
            |facts, parts| facts.add_variant(name, names, at, Some(parts)),
        )
    }
    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        for field in fields {
            self.probe.note(field, 0)?;
        }
        let place = self.probe.place.1;
        let Self {
            name, names, at, ..
        } = self;
        self.probe.counted(
            |probe| visitor.visit_seq(Parts::of(probe, place, fields)),
            |facts, parts| facts.add_variant(name, names, at, Some(parts)),
        )
    }
}
