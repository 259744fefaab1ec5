//! From targets to contexts. All hops start at once, and a hop that several targets share starts
//! once. A hop that needs a password starts again when the user has typed it at the terminal.
//!
//! Hops start only through the library's builders. This file does not know the commands.

use super::args::Connection;
use super::ask::{Account, Asker, Login};
use super::ui::password;
use super::ui::verbose;
use offshoot::harmless;
use offshoot::methods::Method;
use offshoot::methods::spec::{BadOption, PasswordOf};
use offshoot::target::{Hop, Target, TargetError};
use offshoot::{ConnectErrorKind, Connecting, Context, Error, Plan, Secret};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The number of times that a password is asked for, if the program of a hop ends after each.
const TRIES: u32 = 3;

/// The reason why a target could not be reached.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    /// The number of the hop that failed, from 1, and the number of hops.
    hop: (usize, usize),
    /// The error of the hop.
    pub error: Error,
}

impl Failure {
    /// Returns the hop, the reason and the advice as one sentence without its subject.
    pub(super) fn sentence(&self) -> String {
        let Error::Connect(error) = &self.error else {
            return harmless(&self.error.to_string());
        };
        let mut sentence = match self.hop {
            (_, 1) => format!("{}: {}", error.hop, error.detail),
            (number, of) => format!("hop {number} of {of}, {}: {}", error.hop, error.detail),
        };
        if !error.hint.is_empty() {
            sentence.push_str("; ");
            sentence.push_str(&error.hint);
        }
        harmless(&sentence)
    }

    /// Returns the last lines that the hop printed.
    pub(super) fn output(&self) -> Vec<String> {
        self.error
            .as_connect()
            .map(|error| error.output.iter().map(|line| harmless(line)).collect())
            .unwrap_or_default()
    }
}

/// A hop that one or more targets share.
struct Node {
    above: Option<usize>,
    depth: usize,
    hop: Hop,
    password: Mutex<Option<Secret>>,
    /// The account whose password the hop asks for, and the attempts at it.
    login: Arc<Login>,
    state: Mutex<State>,
    /// The start of the last attempt.
    begun: Mutex<Instant>,
    /// The time that the last attempt took.
    took: Mutex<Duration>,
}

enum State {
    /// Not started.
    Idle,
    /// Started from this context.
    Opening(Connecting, Context),
    /// Finished.
    Done(Result<Context, Failure>),
}

/// The tree of hops to all targets.
pub(super) struct Paths {
    nodes: Vec<Node>,
    /// The last hop of each target, and the number of its hops.
    ends: Vec<(usize, usize)>,
    /// The targets as they were written, without repetitions.
    pub targets: Vec<String>,
    /// The targets that repeat an earlier one: how each was written, and how the earlier one was.
    pub repeated: Vec<(String, String)>,
    timeout: Option<Duration>,
    heartbeat: Option<u32>,
    handshakes: Option<u32>,
    /// Asks the user, if there is a terminal to ask on.
    asker: Option<Arc<Asker>>,
}

/// The treatment of the password files of the targets.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) enum Passwords {
    /// They are read. stdin, for which a file is named `-`, may be the program's.
    Read {
        /// True if stdin goes to the program.
        stdin_is_forwarded: bool,
    },
    /// They stay closed, and a text stands for each password.
    Hidden,
}

/// Applies the options of the command line to the first ssh hop, where the hop has none of its own.
fn complete(target: &mut Target, connection: &Connection) {
    let Some(ssh) = target.hops.iter_mut().find(|hop| hop.method() == "ssh") else {
        return;
    };
    ssh.fill("config", connection.config.as_ref());
    ssh.fill("identity", connection.identity.as_ref());
    ssh.fill("user", connection.login.as_ref());
    ssh.fill("port", connection.port.map(|port| port.to_string()));
    // ssh uses the first value of an option, so those of the hop itself come first.
    for option in &connection.option {
        ssh.push("option", option);
    }
    if let Some(hosts) = &connection.jump {
        ssh.push("option", format!("ProxyJump={hosts}"));
    }
    if connection.forward_agent {
        ssh.push("option", "ForwardAgent=yes");
    }
    ssh.fill("compression", connection.compress.then_some("yes"));
}

impl Paths {
    /// Reads the targets, and their password files if those are needed. Nothing is connected.
    ///
    /// # Errors
    /// Returns an error if a text is not a target, or if a password file cannot be read.
    pub(super) fn plan<'a>(
        targets: impl IntoIterator<Item = &'a str>,
        connection: &Connection,
        passwords: Passwords,
    ) -> Result<Self, String> {
        let mut known: HashMap<String, usize> = HashMap::new();
        let mut paths = Self {
            nodes: Vec::new(),
            ends: Vec::new(),
            targets: Vec::new(),
            repeated: Vec::new(),
            timeout: connection
                .connect_timeout
                .map(|seconds| Duration::from_secs(seconds.into())),
            heartbeat: connection.heartbeat,
            handshakes: connection.handshakes,
            asker: Asker::new(connection).map(Arc::new),
        };
        // The target whose password is the first line of stdin.
        let mut of_stdin: Option<&str> = None;
        for text in targets {
            let mut target: Target = text
                .parse()
                .map_err(|error: TargetError| error.to_string())?;
            complete(&mut target, connection);
            target.hops.iter_mut().for_each(Hop::normalise);
            let mut above = None;
            for (depth, hop) in target.hops.iter().enumerate() {
                let path = Target {
                    hops: target.hops[..=depth].to_vec(),
                }
                .to_string();
                let index = match known.get(&path) {
                    Some(index) => *index,
                    None => {
                        let password = hop.password_file().map(|file| match passwords {
                            Passwords::Read { .. } if file == "-" && of_stdin.is_some() => {
                                Err(second_of_stdin(text, of_stdin.unwrap_or_default()))
                            }
                            Passwords::Read { stdin_is_forwarded } => {
                                of_stdin = of_stdin.or(Some(text).filter(|_| file == "-"));
                                read_password(text, file, stdin_is_forwarded)
                            }
                            Passwords::Hidden => Ok(Secret::new("<password>".to_owned())),
                        });
                        let (password, hop) = (password.transpose()?, hop.clone());
                        let (password, state) = (Mutex::new(password), Mutex::new(State::Idle));
                        let bare = Target {
                            hops: target.hops[..=depth].iter().map(Hop::bare).collect(),
                        };
                        let place = harmless(&bare.to_string());
                        known.insert(path, paths.nodes.len());
                        let login = Arc::new(Login {
                            place,
                            method: hop.method(),
                            account: account(&target.hops[..=depth]),
                            tried: Mutex::default(),
                        });
                        let begun = Mutex::new(Instant::now());
                        paths.nodes.push(Node {
                            above,
                            depth: depth + 1,
                            hop,
                            password,
                            login,
                            state,
                            begun,
                            took: Mutex::default(),
                        });
                        paths.nodes.len() - 1
                    }
                };
                above = Some(index);
            }
            // A target has at least one hop, so there is always a last one.
            let Some(end) = above else { continue };
            match paths.ends.iter().position(|(other, _)| *other == end) {
                Some(first) => paths
                    .repeated
                    .push((text.to_owned(), paths.targets[first].clone())),
                None => {
                    paths.ends.push((end, target.hops.len()));
                    paths.targets.push(text.to_owned());
                }
            }
        }
        Ok(paths)
    }

    /// Returns the numbers of the hops to a target, the nearest first.
    pub(super) fn hops(&self, target: usize) -> Vec<usize> {
        let mut hops: Vec<usize> =
            std::iter::successors(Some(self.ends[target].0), |hop| self.nodes[*hop].above)
                .collect();
        hops.reverse();
        hops
    }

    /// Returns a hop by its number.
    pub(super) fn hop(&self, number: usize) -> &Hop {
        &self.nodes[number].hop
    }

    /// Returns the numbers of all hops.
    pub(super) fn numbers(&self) -> std::ops::Range<usize> {
        0..self.nodes.len()
    }

    /// Waits for a hop, which is started unless it was. Returns its context, and the time that its
    /// last attempt took.
    ///
    /// # Errors
    /// Returns the reason why it failed. The reason is about one hop, so it has no number.
    pub(super) fn wait_for(
        &self,
        number: usize,
        root: &Context,
    ) -> Result<(Context, Duration), Failure> {
        let context = self.reach(number, root).map_err(|failure| Failure {
            hop: (failure.hop.0, 1),
            ..failure
        })?;
        let took = self.nodes[number].took.lock();
        Ok((context, *took.unwrap_or_else(PoisonError::into_inner)))
    }

    /// Returns true if a password can be asked for on the terminal.
    pub(super) fn may_ask(&self) -> bool {
        self.asker.is_some()
    }

    /// Returns what a hop would do. Nothing is started.
    ///
    /// # Errors
    /// Returns an error if the hop cannot be described, or if there is no image for this machine.
    pub(super) fn plan_of(&self, number: usize, root: &Context) -> Result<Plan, Error> {
        let node = &self.nodes[number];
        described(node, &node.hop, root, node.password(), self)?.plan()
    }

    /// Takes a hop once more from the context before it, with another value of an option.
    ///
    /// # Errors
    /// Returns an error if the hop cannot be taken so.
    pub(super) fn take_again(
        &self,
        number: usize,
        from: &Context,
        (key, value): (&'static str, &str),
    ) -> Result<Context, Error> {
        let node = &self.nodes[number];
        let mut hop = node.hop.clone();
        hop.replace(key, value);
        described(node, &hop, from, node.password(), self)?.connect()
    }

    /// Starts all hops without waiting for any.
    pub(super) fn open(&self, root: &Context) {
        for node in &self.nodes {
            let above = match node.above {
                None => Some(root.clone()),
                Some(above) => self.nodes[above].expected(),
            };
            // Below a hop that failed to start, `wait` reports the failure of that hop.
            if let Some(above) = above {
                *node.lock() = self.start(node, &above, node.password());
            }
        }
    }

    /// Returns the context that a target will have if every hop succeeds. Data for it is buffered
    /// until then.
    pub(super) fn expected(&self, target: usize) -> Option<Context> {
        self.nodes[self.ends[target].0].expected()
    }

    /// Waits until a target is connected and returns its context.
    ///
    /// # Errors
    /// Returns the hop that failed, and the reason.
    pub(super) fn wait(&self, target: usize, root: &Context) -> Result<Context, Failure> {
        let (end, hops) = self.ends[target];
        self.reach(end, root).map_err(|mut failure| {
            failure.hop.1 = hops;
            if let Error::Connect(error) = &mut failure.error
                && error.kind == ConnectErrorKind::NotFound
                && let Some(advice) = self.split_name(target, failure.hop.0)
            {
                error.hint.push_str("; ");
                error.hint.push_str(&advice);
            }
            failure
        })
    }

    /// Returns advice if the name at the end of this hop of a target, counted from 1, may have been
    /// split: a `/` ends a hop, and the rest of a name such as `localhost:5000/app:1` reads as a
    /// host.
    fn split_name(&self, target: usize, hop: usize) -> Option<String> {
        let hops = self.hops(target);
        let (failed, next) = (self.hop(hops[hop - 1]), self.hop(*hops.get(hop)?));
        let (key, value) = failed.last_text()?;
        let name = format!("{value}/{}", next.bare());
        // A name in brackets is not split, and a hop with the name of its method is meant.
        let is_split = next.method() == "ssh" && self.targets[target].contains(&name);
        let prefix = match failed.argument_keys().contains(&key) {
            true => format!("{}:", failed.method()),
            false => format!("{key}="),
        };
        is_split.then(|| format!("if {name} is one name, put it in brackets: {prefix}[{name}]"))
    }

    /// Waits for a hop and all hops before it. Asks for a missing password.
    fn reach(&self, index: usize, root: &Context) -> Result<Context, Failure> {
        let node = &self.nodes[index];
        let above = match node.above {
            None => root.clone(),
            Some(above) => self.reach(above, root)?,
        };
        // Threads of other targets behind this hop wait here.
        let mut state = node.lock();
        loop {
            let result = match std::mem::replace(&mut *state, State::Idle) {
                State::Done(result) => {
                    *state = State::Done(result.clone());
                    return result;
                }
                State::Opening(connecting, from) if from == above => connecting.wait(),
                // The hop before was restarted, so an attempt from its first context has failed.
                State::Idle | State::Opening(..) => {
                    *state = self.start(node, &above, node.password());
                    continue;
                }
            };
            node.tell(&result);
            let again = result
                .as_ref()
                .err()
                .and_then(|error| self.password_after(node, error));
            *state = match again {
                Some(password) => self.start(node, &above, Some(password)),
                None => {
                    // The outcome is final, so the password is not needed any more.
                    node.secret().take();
                    State::Done(result.map_err(|error| Failure {
                        hop: (node.depth, 0),
                        error,
                    }))
                }
            };
        }
    }

    /// Starts a hop without waiting.
    fn start(&self, node: &Node, above: &Context, password: Option<Secret>) -> State {
        *node.begun.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        verbose::note(|| {
            let login = &node.login;
            format!("{}: connecting by {}", login.place, login.method)
        });
        match begin(node, above, password, self) {
            Ok(connecting) => State::Opening(connecting, above.clone()),
            Err(error) => State::Done(Err(Failure {
                hop: (node.depth, 0),
                error,
            })),
        }
    }

    /// Asks the user at the terminal for a password if `error` says that one is missing or wrong.
    /// Returns `None` if there is no terminal, no answer, or no attempt left.
    fn password_after(&self, node: &Node, error: &Error) -> Option<Secret> {
        let asker = self.asker.as_ref()?;
        match (error.as_connect()?.kind, node.login.tried().times) {
            (ConnectErrorKind::PasswordRequired, 0) => {}
            (ConnectErrorKind::PasswordIncorrect, 1..TRIES) => {}
            _ => return None,
        }
        asker.password(&node.login, None)
    }
}

/// Returns the account whose password the last of these hops asks for.
fn account(hops: &[Hop]) -> Account {
    let [before @ .., last] = hops else {
        return (String::new(), None);
    };
    let owned = |user: Option<&str>| user.map(str::to_owned);
    let method = last.method().to_owned();
    match last.password_of() {
        PasswordOf::Nobody => (method, None),
        PasswordOf::TargetUser => (method, owned(last.user().flatten())),
        // Without a hop to another user it is the user of this program.
        PasswordOf::CallingUser => match before.iter().rev().find_map(Hop::user) {
            Some(user) => (method, owned(user)),
            None => (format!("local {method}"), None),
        },
    }
}

impl Node {
    /// Logs the outcome of an attempt, and keeps its time.
    fn tell(&self, result: &Result<Context, Error>) {
        let begun = *self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        let took = begun.elapsed();
        *self.took.lock().unwrap_or_else(PoisonError::into_inner) = took;
        let (place, ms) = (&self.login.place, took.as_millis());
        verbose::note(|| match result {
            Ok(context) => format!("{place}: connected after {ms} ms, as {context}"),
            Err(error) => format!(
                "{place}: failed after {ms} ms: {}",
                harmless(&error.to_string())
            ),
        });
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn secret(&self) -> MutexGuard<'_, Option<Secret>> {
        self.password.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn password(&self) -> Option<Secret> {
        self.secret().clone()
    }

    fn expected(&self) -> Option<Context> {
        match &*self.lock() {
            State::Opening(connecting, _) => Some(connecting.context()),
            State::Done(Ok(context)) => Some(context.clone()),
            _ => None,
        }
    }
}

/// Returns the error for a second hop whose password would be read from stdin.
fn second_of_stdin(target: &str, first: &str) -> String {
    let text = format!(
        "{target}: password-file=-: stdin is read once, for a hop of {first}; name a file for the others"
    );
    harmless(&text)
}

/// Reads the password of a hop from its file.
fn read_password(target: &str, file: &str, stdin_is_forwarded: bool) -> Result<Secret, String> {
    let about = harmless(&format!("{target}: password-file={file}"));
    if file == "-" && stdin_is_forwarded {
        return Err(format!(
            "{about}: stdin goes to the program; pass -n to read the password from it, or name a file"
        ));
    }
    password::from_file(file).map_err(|error| {
        format!(
            "{about}: {error}; the password is read from the first line of a file on this machine"
        )
    })
}

/// Starts a hop with the library's builder.
fn begin(
    node: &Node,
    above: &Context,
    password: Option<Secret>,
    paths: &Paths,
) -> Result<Connecting, Error> {
    described(node, &node.hop, above, password, paths)?.start()
}

/// Returns `hop`, which is that of the node or a variant of it, as one of the library, with the
/// options of the command line.
fn described(
    node: &Node,
    hop: &Hop,
    above: &Context,
    password: Option<Secret>,
    paths: &Paths,
) -> Result<offshoot::Hop<Box<dyn Method>>, Error> {
    let wrong = |error: BadOption| Error::System {
        action: format!("describing a hop by {}", hop.method()),
        detail: error.to_string(),
    };
    let mut method = hop.build().map_err(wrong)?;
    if let Some(count) = paths.handshakes {
        method.set_handshakes(count);
    }
    let mut next = above.hop(method);
    if let Some(timeout) = paths.timeout {
        next = next.timeout(timeout);
    }
    if let Some(seconds) = paths.heartbeat {
        next = next.heartbeat(seconds);
    }
    // What the hop says itself replaces that.
    next = hop.finish(next).map_err(wrong)?;
    if let Some(password) = password {
        next = next.password(password);
    }
    if let Some(asker) = &paths.asker {
        let (asker, login) = (Arc::clone(asker), Arc::clone(&node.login));
        next = next.on_prompt(move |prompt| asker.answer(&login, prompt));
    }
    Ok(next)
}
