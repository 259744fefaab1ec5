//! Targets as text, in the shortest form that parses as the same target.

use super::hop::{Hop, Target};
use offshoot_agent::method;
use offshoot_agent::method::spec::Argument;
use std::fmt;

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, hop) in self.hops.iter().enumerate() {
            if number > 0 {
                f.write_str("/")?;
            }
            hop.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for Hop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.method();
        match &self.spec().argument {
            Argument::None => f.write_str(name)?,
            Argument::Host => self.write_host(f)?,
            Argument::Text { key, .. } | Argument::TextOr { key, .. } => {
                f.write_str(name)?;
                if let Some(text) = self.get(key) {
                    write!(f, ":{}", Quoted(text, ":=,/"))?;
                }
            }
        }
        let argument = self.argument_keys();
        for (key, value) in self
            .values
            .iter()
            .filter(|(key, _)| !argument.contains(key))
        {
            write!(f, ",{key}={}", Quoted(value, ",/"))?;
        }
        Ok(())
    }
}

impl Hop {
    fn write_host(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (user, host) = (self.get("user"), self.get("host").unwrap_or_default());
        let bare = self.method() == method::bare().spec.name;
        // Without the prefix, a host with the name of a method would be parsed as that method.
        if !bare || (user.is_none() && method::find(host).is_some()) {
            write!(f, "{}:", self.method())?;
        }
        if let Some(user) = user {
            // The last @ ends the user, so an @ in the user needs no quotes.
            write!(f, "{}@", Quoted(user, ":=,/"))?;
        }
        write!(f, "{}", Quoted(host, "@:=,/"))?;
        self.get("port").map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

/// A text, quoted if it has one of the characters of the second field or one that quotes.
struct Quoted<'a>(&'a str, &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let special = |c: char| self.1.contains(c) || "[]%".contains(c);
        match (self.0.contains(special), self.0.contains(']')) {
            (false, _) => f.write_str(self.0),
            (true, false) => write!(f, "[{}]", self.0),
            (true, true) => self.0.chars().try_for_each(|c| match special(c) {
                true => write!(f, "%{:02X}", u32::from(c)),
                false => write!(f, "{c}"),
            }),
        }
    }
}
