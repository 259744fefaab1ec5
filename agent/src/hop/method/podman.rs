//! `podman`: a container of Podman, or a temporary one of an image.

use super::spec::{Argument, OptionSpec, PasswordOf, RunsAs, Spec, Value};
use super::tool::{ARG, Line, OF_ENGINES, OF_ENTRY, PROGRAM, Part, RUNTIME, Table, Tool, USER};
use crate::context::Context;
use crate::hop::Hop;
use crate::hop::setters::setters;
use offshoot_proto::ConnectErrorKind as Kind;

impl Context {
    /// Returns a hop into a running container of this context's user, by name or id.
    #[must_use]
    pub fn podman(&self, container: impl Into<String>) -> Hop<Tool<Podman>> {
        self.hop(Tool::new(container))
    }

    /// Returns a hop into a temporary container of an image, which is removed when its context
    /// ends.
    #[must_use]
    pub fn podman_image(&self, image: impl Into<String>) -> Hop<Tool<Podman>> {
        let mut tool = Tool::default();
        tool.put("image", image);
        self.hop(tool)
    }
}

/// The table of hops by `podman exec -i`, or `podman run --rm -i`.
///
/// There is no daemon: each container, and each `podman exec`, has a `conmon` that holds its
/// streams. That one closes the stdin when `podman` is killed, at which an agent ends. Podman would
/// detach at the bytes of Ctrl-P and Ctrl-Q, also without a terminal, so its keys are turned off.
///
/// A temporary container ends with its agent, which is its process 1, and `conmon` has it removed
/// then: after a shutdown, after the end of the link, and after SIGKILL of `podman` or of the whole
/// tree. It stays if `conmon` itself is killed first: `podman ps -a` shows it.
#[derive(Copy, Clone, Debug)]
pub struct Podman;

/// The option that turns the keys off.
const KEYS: Part = Part::Is("--detach-keys=");

impl Table for Podman {
    const WORDS: &'static [Part] = &[
        Part::Or("program", "podman"),
        Part::Each("host", &["--remote", "--url", "%"]),
        Part::If(
            "container",
            &[
                Part::Is("exec"),
                Part::Is("-i"),
                KEYS,
                OF_ENGINES,
                Part::Each("container", &["%"]),
            ],
        ),
        Part::If(
            "image",
            &[
                Part::Is("run"),
                Part::Is("--rm"),
                Part::Is("-i"),
                KEYS,
                Part::Is("--entrypoint"),
                Part::Is("sh"),
                OF_ENGINES,
                Part::Each("image", &["%"]),
                OF_ENTRY,
            ],
        ),
    ];

    const LINES: &'static [&'static [Line]] = &[
        &[
            Line::Means(
                &["no container with name or ID \"", "\" found"],
                Kind::NotFound,
                "there is no such container: %",
                "podman ps there lists those that run, of the user who asks only",
            ),
            Line::Means(
                &["can only create exec sessions on running containers"],
                Kind::NotRunning,
                "the container is not running, or is paused",
                "podman start or podman unpause makes it run",
            ),
            Line::Means(
                &["unable to connect to Podman"],
                Kind::Unreachable,
                "Podman's service cannot be reached: %",
                "check host=; podman system service starts one",
            ),
            Line::Means(
                &["^Cannot connect to Podman"],
                Kind::Unreachable,
                "Podman's service cannot be reached",
                "check host=; podman system service starts one",
            ),
            Line::Means(
                &["^Error: ", ": image not known"],
                Kind::NotFound,
                "there is no such image: %",
                "podman images there lists those that there are",
            ),
            Line::Means(
                &["^Error: short-name \"", "\" did not resolve"],
                Kind::NotFound,
                "there is no such image: %",
                "podman images there lists those that there are; another needs its registry's name before it",
            ),
            Line::Means(
                &["^Error: initializing source "],
                Kind::NotFound,
                "there is no such image, and it could not be fetched: %",
                "podman pull says more",
            ),
        ],
        RUNTIME,
    ];

    const SETS: &'static [&'static str] = &["env", "dir"];

    const TEMPORARY: Option<(&'static str, &'static str)> = Some((
        "image",
        "podman run --rm --entrypoint sh IMAGE -c true there shows the same without an agent",
    ));

    const HINT: &'static str =
        "podman exec -i NAME sh -c true there shows the same without an agent";

    const SPEC: &'static Spec = &Spec {
        name: "podman",
        argument: Argument::TextOr {
            key: "container",
            placeholder: "CONTAINER",
            noun: "the container",
            option: "image",
        },
        about: "is a running container of the user before the hop, by podman exec, or a temporary one of an image, \
                by podman run",
        options: &[
            OptionSpec::new(
                "image",
                Value::Text("IMAGE"),
                "makes a container of this image that is removed when the hop ends",
            ),
            USER,
            OptionSpec::new(
                "host",
                Value::Text("URL"),
                "a service of Podman, as podman --remote --url",
            ),
            ARG,
            PROGRAM,
        ],
        notes: "",
        runs_as: RunsAs::NamedUser,
        password_of: PasswordOf::Nobody,
    };
}

setters!(Tool<Podman> {
    /// Sets the user in the container, by name or number, with a group behind a colon if wanted.
    user: impl Into<String> => |method| method.put("user", user);
    /// Sets a service of Podman, as `podman --remote --url`.
    host: impl Into<String> => |method| method.put("host", host);
    /// Adds an argument of `podman exec` or `podman run`, such as `--network=none`.
    arg: impl Into<String> => |method| method.add("arg", arg);
    /// Sets the program, if it is not `podman`.
    program: impl Into<String> => |method| method.put("program", program);
});
