//! The words and messages of LXD and Incus, which began as LXD; for the methods `lxd` and `incus`.

use super::spec::{OptionSpec, Value};
use super::tool::{ARG, Line, NO_SHELL, PROGRAM, SHELL};
use offshoot_proto::ConnectErrorKind as Kind;

/// The options for the command line.
pub(super) const OPTIONS: &[OptionSpec] = &[
    OptionSpec::new(
        "remote",
        Value::Text("REMOTE"),
        "another server, which the client there knows by this name",
    ),
    OptionSpec::new(
        "project",
        Value::Text("PROJECT"),
        "the project of the instance",
    ),
    OptionSpec::new(
        "user",
        Value::Number {
            placeholder: "NUMBER",
            noun: "the number of a user",
            range: 0..=u32::MAX,
        },
        "the user there, by number, whose number the group has as well",
    ),
    ARG,
    PROGRAM,
];

/// The messages of both.
pub(super) const LINES: &[Line] = &[
    Line::Means(
        &["^Error: Instance not found"],
        Kind::NotFound,
        "there is no such instance",
        LIST,
    ),
    Line::Means(
        &["^Error: ", "Instance not found"],
        Kind::NotFound,
        "there is no such instance",
        LIST,
    ),
    // The words of LXD 3.
    Line::Means(
        &["^Error: not found"],
        Kind::NotFound,
        "there is no such instance",
        LIST,
    ),
    Line::Means(
        &["^Error: Project not found"],
        Kind::NotFound,
        "there is no such project",
        "check project=",
    ),
    Line::Means(
        &["^Error: The remote \"", "\" doesn't exist"],
        Kind::NotFound,
        "its client knows no such remote: %",
        "check remote=; remote list there shows those that it knows",
    ),
    Line::Means(
        &["^Error: Instance is not running"],
        Kind::NotRunning,
        "the instance is not running",
        "its tool starts it with start",
    ),
    Line::Means(
        &["^Error: Container is not running"],
        Kind::NotRunning,
        "the instance is not running",
        "its tool starts it with start",
    ),
    Line::Means(
        &["^Error: Instance is frozen"],
        Kind::NotRunning,
        "the instance is frozen",
        "its tool continues it with start",
    ),
    Line::Means(
        &["^Error: Command not found"],
        Kind::NoShell,
        NO_SHELL,
        SHELL,
    ),
    Line::Means(
        &["^Error: Command not executable"],
        Kind::NoShell,
        "its sh may not be executed",
        SHELL,
    ),
    Line::Means(
        &["^Error: Get \"", ": connect: permission denied"],
        Kind::Denied,
        "this user may not use the daemon",
        "go there as root, or as a member of the daemon's group",
    ),
    Line::Means(
        &["^Error: You don't have the needed permissions to talk to the "],
        Kind::Denied,
        "this user may not use the daemon",
        "go there as root, or as a member of the daemon's group",
    ),
    Line::Means(
        &["^Error: not authorized"],
        Kind::Denied,
        "this user may not use the remote",
        "add a certificate to it, with remote add",
    ),
    Line::Means(
        &[": dial unix ", ": connect: "],
        Kind::Unreachable,
        "the daemon cannot be reached, at its socket %",
        DAEMON,
    ),
    Line::Means(
        &["^Error: Get \"", "\": "],
        Kind::Unreachable,
        "the daemon cannot be reached: %",
        DAEMON,
    ),
    Line::Means(
        &["^Error: Failed to connect to "],
        Kind::Unreachable,
        "the daemon cannot be reached: %",
        DAEMON,
    ),
    Line::Means(
        &["^Error: The ", " daemon doesn't appear to be started"],
        Kind::Unreachable,
        "the daemon is not started",
        DAEMON,
    ),
];

const LIST: &str = "list, as a command of its tool there, shows those that there are; project= and remote= name others";

const DAEMON: &str = "is it running there?";
