//! `kubectl`: a container of a pod of Kubernetes.

use super::spec::{Argument, OptionSpec, PasswordOf, RunsAs, Spec, Value};
use super::tool::{AN_OPTION, ARG, Line, PROGRAM, Part, RUNTIME, Table, Tool};
use crate::context::Context;
use crate::hop::Hop;
use crate::hop::setters::setters;
use offshoot_proto::ConnectErrorKind as Kind;

impl Context {
    /// Returns a hop into a container of a pod, with the `kubectl` of this context's machine and
    /// its configuration.
    #[must_use]
    pub fn kubectl(&self, pod: impl Into<String>) -> Hop<Tool<Kubectl>> {
        self.hop(Tool::new(pod))
    }
}

/// The table of hops by `kubectl exec -i`.
///
/// The argument is a pod, or another resource with pods, as in `deployment/app`, which kubectl
/// looks up itself. Its own arguments (`arg`) stand before `exec`.
///
/// The bytes pass through the API server and the kubelet unchanged. kubectl has neither user nor
/// environment to set: the container decides. It prints which container it has chosen, and the exit
/// status of what it has executed, on stderr. When kubectl is killed, the connection ends, and the
/// kubelet closes the stdin in the container, at which an agent ends; nothing there forwards a
/// signal.
#[derive(Copy, Clone, Debug)]
pub struct Kubectl;

impl Table for Kubectl {
    const WORDS: &'static [Part] = &[
        Part::Or("program", "kubectl"),
        Part::Each("kubeconfig", &["--kubeconfig=%"]),
        Part::Each("context", &["--context=%"]),
        Part::Each("namespace", &["--namespace=%"]),
        Part::Each("arg", &["%"]),
        Part::Is("exec"),
        Part::Is("-i"),
        Part::Each("container", &["--container=%"]),
        Part::Each("pod", &["%"]),
        Part::Is("--"),
    ];

    const LINES: &'static [&'static [Line]] = &[
        &[
            Line::Means(
                &["^Error from server (NotFound): "],
                Kind::NotFound,
                "it does not exist: %",
                "kubectl get pods there lists those that there are; namespace= names another namespace",
            ),
            Line::Means(
                &[
                    "^Error from server (BadRequest): container ",
                    " is not valid for pod",
                ],
                Kind::NotFound,
                "the pod has no such container: %",
                "check container=",
            ),
            Line::Means(
                &["^error: container ", " not found in pod"],
                Kind::NotFound,
                "the pod has no such container: %",
                "check container=",
            ),
            Line::Means(
                &["^error: cannot exec into a container in a completed pod; current phase is "],
                Kind::NotRunning,
                "the pod has ended: %",
                "name a pod that runs",
            ),
            Line::Means(
                &[
                    "unable to upgrade connection: container not found (\"",
                    "\")",
                ],
                Kind::NotRunning,
                "the container is not running: %",
                "kubectl describe pod there says why",
            ),
            Line::Means(
                &["^error: unable to upgrade connection: pod does not exist"],
                Kind::NotRunning,
                "the pod is not running yet",
                "kubectl describe pod there says why",
            ),
            Line::Means(
                &["does not have a host assigned"],
                Kind::NotRunning,
                "the pod runs on no node yet",
                "kubectl describe pod there says why",
            ),
            Line::Means(
                &["^Error from server (Forbidden): "],
                Kind::Denied,
                "this user may not do that: %",
                "its administrator has to allow it, the verb create of pods/exec",
            ),
            Line::Means(
                &["^error: You must be logged in to the server"],
                Kind::Denied,
                "the server does not know this user",
                "check the credentials of kubeconfig= and context=",
            ),
            Line::Means(
                &["^Error from server (Unauthorized)"],
                Kind::Denied,
                "the server does not know this user",
                "check the credentials of kubeconfig= and context=",
            ),
            Line::Means(
                &["^The connection to the server ", " was refused"],
                Kind::Unreachable,
                "nothing listens at the server: %",
                "check kubeconfig= and context=",
            ),
            Line::Means(
                &["^Unable to connect to the server: "],
                Kind::Unreachable,
                "the server cannot be reached: %",
                "check kubeconfig= and context=",
            ),
            Line::Means(
                &["^error: context \"", "\" does not exist"],
                Kind::NotFound,
                "the configuration has no such context: %",
                "kubectl config get-contexts there lists those that it has",
            ),
            Line::Means(
                &["context was not found for specified context: "],
                Kind::NotFound,
                "the configuration has no such context: %",
                "kubectl config get-contexts there lists those that it has",
            ),
            Line::Means(
                &["^error: stat ", ": no such file or directory"],
                Kind::NotFound,
                "there is no such configuration: %",
                "check kubeconfig=",
            ),
            Line::Means(
                &["^error: error loading config file \"", "\""],
                Kind::Start,
                "the configuration cannot be read: %",
                "check kubeconfig=",
            ),
        ],
        RUNTIME,
        &[Line::Means(
            &["^error: unable to upgrade connection: "],
            Kind::Unreachable,
            "the server cannot reach the container: %",
            "kubectl exec there may say more with -v=6",
        )],
    ];

    const HINT: &'static str =
        "kubectl exec -i POD -- sh -c true there shows the same without an agent";

    const SPEC: &'static Spec = &Spec {
        name: "kubectl",
        argument: Argument::Text {
            key: "pod",
            placeholder: "POD",
            noun: "the pod",
            default: None,
        },
        about: "is a container of a pod of Kubernetes, by kubectl exec",
        options: &[
            OptionSpec::new(
                "namespace",
                Value::Text("NAMESPACE"),
                "the namespace of the pod",
            ),
            OptionSpec::new(
                "container",
                Value::Text("CONTAINER"),
                "the container of the pod, unless it is the usual one",
            ),
            OptionSpec::new(
                "kubeconfig",
                Value::Text("PATH"),
                "another configuration of kubectl",
            ),
            OptionSpec::new(
                "context",
                Value::Text("NAME"),
                "another context of the configuration",
            ),
            ARG,
            PROGRAM,
        ],
        notes: "",
        runs_as: RunsAs::NamedUser,
        password_of: PasswordOf::Nobody,
    };

    fn refusal(key: &str, value: &str) -> Option<&'static str> {
        (key == "pod" && value.starts_with('-')).then_some(AN_OPTION)
    }
}

setters!(Tool<Kubectl> {
    /// Sets the namespace of the pod.
    namespace: impl Into<String> => |method| method.put("namespace", namespace);
    /// Sets the container of the pod.
    container: impl Into<String> => |method| method.put("container", container);
    /// Sets another configuration of kubectl.
    kubeconfig: impl Into<String> => |method| method.put("kubeconfig", kubeconfig);
    /// Sets another context of the configuration.
    kube_context: impl Into<String> => |method| method.put("context", kube_context);
    /// Adds an argument of kubectl, before `exec`.
    arg: impl Into<String> => |method| method.add("arg", arg);
    /// Sets the program, if it is not `kubectl`.
    program: impl Into<String> => |method| method.put("program", program);
});
