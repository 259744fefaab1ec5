//! `docker`: a container of Docker, or a temporary one of an image.

use super::spec::{Argument, OptionSpec, PasswordOf, RunsAs, Spec, Value};
use super::tool::{ARG, Line, OF_ENGINES, OF_ENTRY, PROGRAM, Part, RUNTIME, Table, Tool, USER};
use crate::context::Context;
use crate::hop::Hop;
use crate::hop::setters::setters;
use offshoot_proto::ConnectErrorKind as Kind;

impl Context {
    /// Returns a hop into a running container, by name or id, with the Docker of this context's
    /// machine.
    #[must_use]
    pub fn docker(&self, container: impl Into<String>) -> Hop<Tool<Docker>> {
        self.hop(Tool::new(container))
    }

    /// Returns a hop into a temporary container of an image, which is removed when its context
    /// ends.
    #[must_use]
    pub fn docker_image(&self, image: impl Into<String>) -> Hop<Tool<Docker>> {
        let mut tool = Tool::default();
        tool.put("image", image);
        self.hop(tool)
    }
}

/// The table of hops by `docker exec -i`, or `docker run --rm -i`.
///
/// Docker passes stdin and stdout through the daemon and drops no byte. It forwards no signal to
/// what `docker exec` has started, and leaves that running when `docker exec` is killed; but it
/// closes the stdin then, at which an agent ends. What prevents a start (no shell, no such user) is
/// printed on stdout, with status 126.
///
/// A temporary container ends with its agent, which is its process 1, and the daemon removes it
/// then (`--rm`): after a shutdown, after the end of the link, and after SIGKILL of the client or
/// of the whole tree. It stays if the daemon itself is killed first: `docker ps -a` shows it.
#[derive(Copy, Clone, Debug)]
pub struct Docker;

impl Table for Docker {
    const WORDS: &'static [Part] = &[
        Part::Or("program", "docker"),
        Part::Each("host", &["--host", "%"]),
        Part::If(
            "container",
            &[
                Part::Is("exec"),
                Part::Is("-i"),
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
                // An image may have another entry point, which would take the shell for an
                // argument.
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
                &["No such container: "],
                Kind::NotFound,
                "there is no such container: %",
                RUNNING,
            ),
            Line::Means(
                &["^Error response from daemon: Container ", " is not running"],
                Kind::NotRunning,
                "the container is not running",
                "docker start starts it",
            ),
            Line::Means(
                &[
                    "^Error response from daemon: Container ",
                    " is paused, unpause the container",
                ],
                Kind::NotRunning,
                "the container is paused",
                "docker unpause continues it",
            ),
            Line::Means(
                &["^Error response from daemon: Container ", " is restarting"],
                Kind::NotRunning,
                "the container is restarting",
                "docker logs may say why",
            ),
            Line::Means(
                &["^Cannot connect to the Docker daemon at "],
                Kind::Unreachable,
                DAEMON,
                START,
            ),
            Line::Means(
                &["^failed to connect to the docker API at "],
                Kind::Unreachable,
                DAEMON,
                START,
            ),
            Line::Means(
                &["^error during connect: "],
                Kind::Unreachable,
                DAEMON,
                START,
            ),
            Line::Means(
                &["^unable to resolve docker endpoint: "],
                Kind::Unreachable,
                DAEMON,
                START,
            ),
            Line::Means(
                &["permission denied while trying to connect to the Docker "],
                Kind::Denied,
                "this user may not use the Docker daemon",
                "go there as root (sudo/docker:NAME), or as a member of the group docker",
            ),
            Line::Means(
                &["^Unable to find image '", "' locally"],
                Kind::NotFound,
                "there is no such image, and it could not be fetched: %",
                "docker pull says more",
            ),
            Line::Means(
                &["No such image: "],
                Kind::NotFound,
                "there is no such image: %",
                "docker images there lists those that there are",
            ),
            Line::Clears(&["^Status: Downloaded newer image"]),
        ],
        RUNTIME,
    ];

    const SETS: &'static [&'static str] = &["env", "dir"];

    const TEMPORARY: Option<(&'static str, &'static str)> = Some((
        "image",
        "docker run --rm --entrypoint sh IMAGE -c true there shows the same without an agent",
    ));

    const HINT: &'static str =
        "docker exec -i NAME sh -c true there shows the same without an agent";

    const SPEC: &'static Spec = &Spec {
        name: "docker",
        argument: Argument::TextOr {
            key: "container",
            placeholder: "CONTAINER",
            noun: "the container",
            option: "image",
        },
        about: "is a running container, by docker exec, or a temporary one of an image, by docker run",
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
                "another daemon, as docker --host",
            ),
            ARG,
            PROGRAM,
        ],
        notes: "",
        runs_as: RunsAs::NamedUser,
        password_of: PasswordOf::Nobody,
    };
}

const RUNNING: &str = "docker ps there lists those that run";
const DAEMON: &str = "the Docker daemon cannot be reached: %";
const START: &str = "is it running there? Another one is named by host=";

setters!(Tool<Docker> {
    /// Sets the user in the container, by name or number, with a group behind a colon if wanted.
    user: impl Into<String> => |method| method.put("user", user);
    /// Sets another daemon, as `docker --host`.
    host: impl Into<String> => |method| method.put("host", host);
    /// Adds an argument of `docker exec` or `docker run`, such as `--network=none`.
    arg: impl Into<String> => |method| method.add("arg", arg);
    /// Sets the program, if it is not `docker`.
    program: impl Into<String> => |method| method.put("program", program);
});
