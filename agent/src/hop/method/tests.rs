//! Tests of the registry, for all methods.

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
        let builds = |key: &str, value: &str| row.build(&[needs, &[(key, value)]].concat()).is_ok();
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
