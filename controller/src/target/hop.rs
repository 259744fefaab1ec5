//! Targets and hops as values, with the methods of the registry.

use offshoot_agent::method::Method;
use offshoot_agent::method::Row;
use offshoot_agent::method::spec::{
    Argument, BadOption, COMMON, OptionSpec, PasswordOf, RunsAs, Spec, Value,
};

/// A path of one or more hops.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Target {
    /// The hops, the nearest first.
    pub hops: Vec<Hop>,
}

/// A hop: a method with its argument and its options. The options of the command line, or the
/// method, supply missing ones.
#[derive(Clone)]
pub struct Hop {
    row: &'static Row,
    /// Keys with their values, checked by the parser: first those of the argument, then those of
    /// the options in the order of the description.
    pub(super) values: Vec<(&'static str, String)>,
}

impl Hop {
    /// Returns a hop without an argument and options.
    pub fn new(row: &'static Row) -> Self {
        Self {
            row,
            values: Vec::new(),
        }
    }

    /// Returns the description of the method.
    pub fn spec(&self) -> &'static Spec {
        self.row.spec
    }

    /// Returns the method's name.
    pub fn method(&self) -> &'static str {
        self.spec().name
    }

    /// Returns the keys that the argument of the method sets, in their order.
    pub fn argument_keys(&self) -> &'static [&'static str] {
        match &self.row.spec.argument {
            Argument::None => &[],
            Argument::Host => &["user", "host", "port"],
            Argument::Text { key, .. } | Argument::TextOr { key, .. } => std::slice::from_ref(key),
        }
    }

    /// Returns the value of a key, the first one if there are several.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.values
            .iter()
            .find(|(other, _)| *other == key)
            .map(|(_, value)| value.as_str())
    }

    /// Adds a value after other values of the same key.
    pub fn push(&mut self, key: &'static str, value: impl Into<String>) {
        let rank = |key: &str| {
            let argument = self.argument_keys().iter().position(|other| *other == key);
            let option = || {
                self.row
                    .spec
                    .all_options()
                    .position(|option| option.key == key)
            };
            // Keys of the argument stand before all options.
            argument.map_or_else(|| (1, option()), |place| (0, Some(place)))
        };
        let at = self
            .values
            .partition_point(|(other, _)| rank(other) <= rank(key));
        self.values.insert(at, (key, value.into()));
    }

    /// Sets a value in place of all that the key has.
    pub fn replace(&mut self, key: &'static str, value: impl Into<String>) {
        self.values.retain(|(other, _)| *other != key);
        self.push(key, value);
    }

    /// Sets a value unless the key has one.
    pub fn fill(&mut self, key: &'static str, value: Option<impl Into<String>>) {
        if let Some(value) = value.filter(|_| self.get(key).is_none()) {
            self.push(key, value);
        }
    }

    /// Returns the hop without its options.
    pub fn bare(&self) -> Self {
        let mut hop = self.clone();
        let keys = hop.argument_keys();
        hop.values.retain(|(key, _)| keys.contains(key));
        hop
    }

    /// Removes values that equal the default. Two hops that are equal after this are the same hop.
    pub fn normalise(&mut self) {
        let spec = self.spec();
        self.values.retain(|(key, value)| match &spec.argument {
            Argument::Text {
                key: argument,
                default,
                ..
            } if argument == key => *default != Some(value),
            _ => {
                !matches!(
                    option(spec, key),
                    Some(OptionSpec {
                        value: Value::Flag,
                        ..
                    })
                ) || value != "no"
            }
        });
    }

    /// Returns the path of the password file.
    pub fn password_file(&self) -> Option<&str> {
        self.get_kind(|value| matches!(value, Value::PasswordFile))
    }

    /// Returns the key and the value that stand last in the hop, if that is a text: of the argument
    /// where there is no option.
    pub fn last_text(&self) -> Option<(&'static str, &str)> {
        let (key, value) = self.values.last()?;
        let is_text =
            |option: &OptionSpec| matches!(option.value, Value::Text(_) | Value::Texts(_));
        let text = match option(self.spec(), key) {
            Some(option) => is_text(option),
            None => !matches!(self.spec().argument, Argument::Host),
        };
        text.then_some((*key, value.as_str()))
    }

    /// Returns the value of the option with a kind of value.
    fn get_kind(&self, kind: impl Fn(&Value) -> bool) -> Option<&str> {
        let option = self
            .spec()
            .all_options()
            .find(|option| kind(&option.value))?;
        self.get(option.key)
    }

    /// Returns a hop of the library with the options that all methods have.
    ///
    /// # Errors
    /// Returns an error if the library does not take one of them.
    pub fn finish<M: Method>(
        &self,
        mut hop: offshoot_agent::Hop<M>,
    ) -> Result<offshoot_agent::Hop<M>, BadOption> {
        for (key, value) in self.values.iter().filter(|(key, _)| self.is_common(key)) {
            hop = hop.set(key, value)?;
        }
        Ok(hop)
    }

    /// Returns true for the key of an option that all methods have and this one has no own of.
    fn is_common(&self, key: &str) -> bool {
        let own = self.spec().options.iter().any(|option| option.key == key);
        !own && COMMON.iter().any(|option| option.key == key)
    }

    /// Returns the user as whom the agent behind the hop runs: `None` for the user before the hop,
    /// and `Some(None)` for a user that the hop does not name.
    pub fn user(&self) -> Option<Option<&str>> {
        match (self.spec().runs_as, &self.spec().argument) {
            (RunsAs::SameUser, _) => None,
            (
                RunsAs::NamedUser,
                Argument::Text {
                    key: "user",
                    default,
                    ..
                },
            ) => Some(self.get("user").or(*default)),
            (RunsAs::NamedUser, _) => Some(self.get("user")),
        }
    }

    /// Returns the user whose password the method asks for.
    pub fn password_of(&self) -> PasswordOf {
        self.spec().password_of
    }

    /// Returns the method with its argument and its own options set, except the password.
    /// [`finish`](Hop::finish) sets those that all methods have.
    ///
    /// # Errors
    /// Returns an error if the method does not take a key of its own description.
    pub fn build(&self) -> Result<Box<dyn Method>, BadOption> {
        let set = |key: &str| {
            let password = |option: &OptionSpec| matches!(option.value, Value::PasswordFile);
            !self.is_common(key) && !option(self.spec(), key).is_some_and(password)
        };
        let values: Vec<_> = self
            .values
            .iter()
            .map(|(key, value)| (*key, value.as_str()))
            .filter(|(key, _)| set(key))
            .collect();
        self.row.build(&values)
    }
}

impl PartialEq for Hop {
    fn eq(&self, other: &Self) -> bool {
        (self.method(), &self.values) == (other.method(), &other.values)
    }
}

impl Eq for Hop {}

impl std::fmt::Debug for Hop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {:?}", self.method(), self.values)
    }
}

/// Returns the option of this key.
pub(super) fn option(spec: &'static Spec, key: &str) -> Option<&'static OptionSpec> {
    spec.all_options().find(|option| option.key == key)
}
