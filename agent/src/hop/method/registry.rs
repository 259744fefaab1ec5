//! All methods that the command line can name, one row each.
//!
//! A new method is a file beside this one and a row here. The command line parses, prints and
//! explains targets by these rows alone. Only the command line refers to this file, so no agent
//! carries it.

use super::spec::{BadOption, Described, Spec};
use super::tool::Tool;
use super::traits::Method;

/// The methods, in the order in which the help text explains them.
///
/// A constant, and the functions here are inline, so that they are compiled only in the programs
/// that use them.
pub const METHODS: &[Row] = &[
    row::<super::ssh::Ssh>(),
    row::<super::sudo::Sudo>(),
    row::<super::su::Su>(),
    row::<super::doas::Doas>(),
    row::<super::runuser::Runuser>(),
    row::<super::pkexec::Pkexec>(),
    row::<super::run0::Run0>(),
    row::<super::local::Local>(),
    row::<Tool<super::docker::Docker>>(),
    row::<Tool<super::podman::Podman>>(),
    row::<Tool<super::buildah::Buildah>>(),
    row::<Tool<super::kubectl::Kubectl>>(),
    row::<Tool<super::lxc::Lxc>>(),
    row::<Tool<super::lxd::Lxd>>(),
    row::<Tool<super::incus::Incus>>(),
    row::<Tool<super::nspawn::Nspawn>>(),
    row::<Tool<super::machinectl::Machinectl>>(),
    row::<Tool<super::setns::Setns>>(),
    row::<Tool<super::chroot::Chroot>>(),
    row::<Tool<super::unshare::Unshare>>(),
    row::<Tool<super::bwrap::Bwrap>>(),
    row::<Tool<super::jail::Jail>>(),
    row::<super::command::Command>(),
];

/// Returns the method of a hop that names none, such as `web1`.
#[inline]
pub fn bare() -> &'static Row {
    &METHODS[0]
}

/// Returns the method of this name.
#[inline]
pub fn find(name: &str) -> Option<&'static Row> {
    METHODS.iter().find(|row| row.spec.name == name)
}

/// A method as the command line sees it.
#[derive(Debug)]
pub struct Row {
    /// The description.
    pub spec: &'static Spec,
    build: Build,
}

type Build = fn(&[(&str, &str)]) -> Result<Box<dyn Method>, BadOption>;

impl Row {
    /// Returns the method with its argument and its options set, given as keys and values.
    ///
    /// # Errors
    /// Returns an error if the method has no such key, or cannot read the value.
    #[inline]
    pub fn build(&self, values: &[(&str, &str)]) -> Result<Box<dyn Method>, BadOption> {
        (self.build)(values)
    }
}

const fn row<M: Described>() -> Row {
    Row {
        spec: M::SPEC,
        build: build::<M>,
    }
}

fn build<M: Described>(values: &[(&str, &str)]) -> Result<Box<dyn Method>, BadOption> {
    let mut method = M::default();
    for (key, value) in values {
        method.set(key, value)?;
    }
    method.check()?;
    Ok(Box::new(method))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hop::method::spec::{Argument, OptionSpec, Value};

    fn sample(option: &OptionSpec) -> Option<String> {
        match &option.value {
            Value::Flag | Value::YesNo => Some("no".into()),
            Value::Text(_) if option.key == "namespaces" => Some("net+pid".into()),
            Value::Text(_) | Value::Texts(_) => Some("x".into()),
            Value::Number { range, .. } => Some(range.end().to_string()),
            Value::Choice { words, .. } => words.first().map(|word| (*word).into()),
            // These have setters of their own.
            Value::Timeout | Value::PasswordFile => None,
            Value::Variable => Some("A=x".into()),
            Value::Umask => Some("27".into()),
        }
    }

    #[test]
    fn every_method_takes_what_its_description_lists() {
        for row in METHODS {
            let name = row.spec.name;
            let argument = match &row.spec.argument {
                Argument::None => &[][..],
                Argument::Host => &["user", "host"],
                Argument::Text { key, .. } | Argument::TextOr { key, .. } => &[*key],
            };
            for key in argument {
                let value = if *key == "namespaces" { "net" } else { "x" };
                assert!(row.build(&[(key, value)]).is_ok(), "{name}: {key}");
            }
            // A command needs its words.
            let needs: &[_] = match &row.spec.argument {
                Argument::Text { key: "words", .. } => &[("words", "x")],
                _ => &[],
            };
            let builds =
                |key: &str, value: &str| row.build(&[needs, &[(key, value)]].concat()).is_ok();
            for option in row.spec.options {
                if let Some(value) = sample(option) {
                    assert!(builds(option.key, &value), "{name}: {option}");
                }
                if let Value::Choice { words, .. } = option.value {
                    assert!(
                        words.iter().all(|word| builds(option.key, word)),
                        "{option}"
                    );
                }
                let known = |other| row.spec.options.iter().any(|option| option.key == other);
                assert!(
                    option.excludes.is_none_or(known),
                    "{name}: {option} excludes an unknown option"
                );
            }
            assert_eq!(
                row.build(&[("nonsense", "x")]).err(),
                Some(BadOption::new("nonsense", "x")),
                "{name}"
            );
        }
    }

    #[test]
    fn every_name_and_every_key_stands_once() {
        for (at, row) in METHODS.iter().enumerate() {
            assert!(
                METHODS[..at]
                    .iter()
                    .all(|other| other.spec.name != row.spec.name)
            );
            assert!(find(row.spec.name).is_some_and(|found| found.spec.name == row.spec.name));
            let keys: Vec<_> = row.spec.options.iter().map(|option| option.key).collect();
            let repeated = keys
                .iter()
                .enumerate()
                .find(|(at, key)| keys[..*at].contains(key));
            assert_eq!(repeated, None, "{}", row.spec.name);
        }
    }
}
