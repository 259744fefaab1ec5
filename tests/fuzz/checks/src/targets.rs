//! The grammar of targets. Any text is parsed or refused with the position of the error, and
//! parsing and printing round-trip.

// The command line is a program and no library, so its module is compiled in from where it is.
#[expect(dead_code, unreachable_pub, reason = "the check does not need all of the grammar's faces")]
#[path = "../../../../controller/src/cli/targets/mod.rs"]
mod target;

use crate::input::Input;
use offshoot::methods::HostKeys;
use target::{Hop, Local, Shell, Ssh, Sudo, Target, TargetError};

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
            assert_eq!(written.parse::<Target>().as_ref(), Ok(&target), "written as {written:?}");
            for hop in &target.hops {
                assert!(hop.bare().to_string().parse::<Target>().is_ok(), "{hop:?}");
            }
        }
        Err(error) => points_into(text, &error),
    }
}

/// The error shows the text, and marks a place in it or right behind its end.
fn points_into(text: &str, error: &TargetError) {
    let message = error.to_string();
    // What a hop is called in a message is quoted with its control characters escaped; the text has
    // none left.
    let mut lines = message.split('\n');
    let first = lines.next().unwrap_or_default();
    assert!(first.starts_with("this is not a target: ") && first.len() > 22, "{message}");
    let shown = lines.next().and_then(|line| line.strip_prefix("    ")).expect("the text is shown");
    let length = if first
        == "this is not a target: a password has no place on a command line, where others can read it"
    {
        let (before, behind) = shown.split_once("***").expect("its place is marked");
        assert!(before.chars().count() + behind.chars().count() <= text.chars().count(), "{message}");
        shown.chars().count()
    } else {
        text.chars().count()
    };
    assert_eq!(shown.chars().count(), length, "{message}");
    let marks = lines.next().and_then(|line| line.strip_prefix("    ")).expect("the place is marked");
    let start = marks.len() - marks.trim_start_matches(' ').len();
    let width = marks[start..].len();
    assert!(width > 0 && marks[start..].bytes().all(|byte| byte == b'^'), "{message}");
    assert!(start + width <= length || width == 1 && start == length, "it points beside the text: {message}");
    assert!(!message.chars().any(|c| c.is_control() && c != '\n'), "{message:?}");
}

fn structured(input: &mut Input<'_>) {
    let hops: Vec<Hop> = (0..=input.below(4)).map(|_| hop(input)).collect();
    let target = Target { hops };
    let written = target.to_string();
    match written.parse::<Target>() {
        Ok(read) => assert_eq!(read, target, "written as {written:?}"),
        Err(error) => panic!("{target:?}: {error}"),
    }
}

/// A text that a target can hold: not empty, and without control characters.
fn text(input: &mut Input<'_>) -> String {
    let text: String = input.text().chars().filter(|c| !c.is_control()).collect();
    if text.is_empty() { "x".into() } else { text }
}

fn seconds(input: &mut Input<'_>) -> u32 {
    1 + input.u32() % 999_999
}

fn hop(input: &mut Input<'_>) -> Hop {
    match input.below(3) {
        0 => Hop::Ssh(Ssh {
            // A host that begins with a dash would be an option of ssh.
            host: Some(text(input)).filter(|host| !host.starts_with('-')).unwrap_or_else(|| "web1".into()),
            user: input.maybe(text),
            port: input.maybe(|input| input.u16().max(1)),
            identity: input.maybe(text),
            config: input.maybe(text),
            options: input.some(text),
            connect_timeout: input.maybe(seconds),
            keepalive: input.maybe(seconds),
            compression: input.maybe(Input::flag),
            host_keys: input
                .maybe(|input| [HostKeys::Enforce, HostKeys::AcceptNew, HostKeys::Ignore][input.below(3)]),
            password_file: input.maybe(text),
        }),
        1 => Hop::Sudo(Sudo {
            user: input.maybe(text),
            password_file: input.maybe(text),
            login: input.maybe(Input::flag),
            set_home: input.maybe(Input::flag),
            preserve_env: input.maybe(Input::flag),
            role: input.maybe(text),
            selinux_type: input.maybe(text),
            timeout: input.maybe(seconds),
        }),
        _ => Hop::Local(Local {
            shell: input.maybe(|input| match input.flag() {
                true => Shell::Posix(text(input)),
                false => Shell::Login(text(input)),
            }),
            timeout: input.maybe(seconds),
        }),
    }
}
