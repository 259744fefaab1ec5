//! The grammar of targets. Any text is parsed or refused with the position of the error, and
//! parsing and printing round-trip.

use crate::input::Input;
use offshoot::methods::METHODS;
use offshoot::methods::spec::{Argument, OptionSpec, Value};
use offshoot::target::{Hop, Target, TargetError};

/// Runs the check.
pub fn run(bytes: &[u8]) {
    let mut input = Input(bytes);
    match input.byte() % 2 {
        0 => any(&String::from_utf8_lossy(input.0)),
        _ => structured(&mut input),
    }
}

fn any(text: &str) {
    match text.parse::<Target>() {
        Ok(target) => {
            assert!(!target.hops.is_empty());
            let written = target.to_string();
            assert_eq!(
                written.parse::<Target>().as_ref(),
                Ok(&target),
                "written as {written:?}"
            );
            for hop in &target.hops {
                assert!(hop.bare().to_string().parse::<Target>().is_ok(), "{hop:?}");
            }
        }
        Err(error) => points_into(text, &error),
    }
}

/// Asserts that the error shows the text, and marks a position in it or right after its end.
fn points_into(text: &str, error: &TargetError) {
    let message = error.to_string();
    // The name of a hop is quoted with escaped control characters, so none are left.
    let mut lines = message.split('\n');
    let first = lines.next().unwrap_or_default();
    assert!(
        first.starts_with("invalid target: ") && first.len() > 16,
        "{message}"
    );
    let shown = lines
        .next()
        .and_then(|line| line.strip_prefix("    "))
        .expect("the text is shown");
    let length =
        if first == "invalid target: a password on the command line is visible to other users" {
            let (before, behind) = shown.split_once("***").expect("its place is marked");
            assert!(
                before.chars().count() + behind.chars().count() <= text.chars().count(),
                "{message}"
            );
            shown.chars().count()
        } else {
            text.chars().count()
        };
    assert_eq!(shown.chars().count(), length, "{message}");
    let marks = lines
        .next()
        .and_then(|line| line.strip_prefix("    "))
        .expect("the place is marked");
    let start = marks.len() - marks.trim_start_matches(' ').len();
    let width = marks[start..].len();
    assert!(
        width > 0 && marks[start..].bytes().all(|byte| byte == b'^'),
        "{message}"
    );
    assert!(
        start + width <= length || width == 1 && start == length,
        "it points beside the text: {message}"
    );
    assert!(
        !message.chars().any(|c| c.is_control() && c != '\n'),
        "{message:?}"
    );
}

fn structured(input: &mut Input<'_>) {
    let hops: Vec<Hop> = (0..=input.below(4)).map(|_| hop(input)).collect();
    // A method may refuse a text of its own accord, such as the names of namespaces.
    if hops.iter().any(|hop| hop.build().is_err()) {
        return;
    }
    let target = Target { hops };
    let written = target.to_string();
    match written.parse::<Target>() {
        Ok(read) => assert_eq!(read, target, "written as {written:?}"),
        Err(error) => panic!("{target:?}: {error}"),
    }
}

/// Returns a text that a target can contain: not empty, without control characters.
fn text(input: &mut Input<'_>) -> String {
    let text: String = input.text().chars().filter(|c| !c.is_control()).collect();
    if text.is_empty() { "x".into() } else { text }
}

/// Returns a text that a program does not take for an option.
fn plain(input: &mut Input<'_>) -> String {
    let text = Some(text(input)).filter(|text| !text.starts_with('-'));
    text.unwrap_or_else(|| "web1".into())
}

fn number(input: &mut Input<'_>, first: u32, last: u32) -> String {
    let count = u64::from(last) - u64::from(first) + 1;
    (u64::from(first) + u64::from(input.u32()) % count).to_string()
}

fn value(input: &mut Input<'_>, option: &OptionSpec) -> String {
    match &option.value {
        Value::Flag | Value::YesNo => if input.flag() { "yes" } else { "no" }.into(),
        Value::Text(_) | Value::Texts(_) | Value::PasswordFile => text(input),
        Value::Number { range, .. } => number(input, *range.start(), *range.end()),
        Value::Timeout => number(input, 1, 999_999),
        Value::Variable => format!("A_{}={}", number(input, 0, 99), text(input)),
        Value::Umask => format!("{:03o}", input.below(0o1000)),
        Value::Choice { words, .. } => words[input.below(words.len())].into(),
    }
}

/// A hop by any method of the registry, with any of its options.
fn hop(input: &mut Input<'_>) -> Hop {
    let row = &METHODS[input.below(METHODS.len())];
    let mut hop = Hop::new(row);
    let mut instead = None;
    for key in hop.argument_keys() {
        match (&row.spec.argument, *key) {
            (Argument::TextOr { option, .. }, _) => {
                hop.push(key, plain(input));
                instead = Some(*option);
            }
            (Argument::Text { default: None, .. }, _) | (_, "host") => hop.push(key, plain(input)),
            (Argument::Text { .. }, _) => hop.fill(key, input.maybe(plain)),
            (_, "port") => hop.fill(key, input.maybe(|input| number(input, 1, 65_535))),
            _ => hop.fill(key, input.maybe(text)),
        }
    }
    for option in row.spec.all_options() {
        let clashes = |other: &OptionSpec| {
            other.excludes == Some(option.key) || option.excludes == Some(other.key)
        };
        let given = |other: &&OptionSpec| hop.get(other.key).is_some();
        let clash = row.spec.all_options().filter(given).any(clashes);
        if clash || instead == Some(option.key) {
            continue;
        }
        let values = match option.value {
            Value::Texts(_) | Value::Variable => input.some(|input| value(input, option)),
            _ => input
                .maybe(|input| value(input, option))
                .into_iter()
                .collect(),
        };
        for value in values {
            if matches!(option.value, Value::Texts(_) | Value::Variable) {
                hop.push(option.key, value);
            } else {
                hop.fill(option.key, Some(value));
            }
        }
    }
    hop
}
