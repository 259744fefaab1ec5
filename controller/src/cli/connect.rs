//! From targets to contexts: all hops are taken at once, those that targets have in common once, and a hop that lacks
//! a password is taken again when the person at the terminal has given it.
//!
//! It takes hops only through the library's builders and knows nothing of what is done at the targets.

use super::args::Connection;
use super::targets::{Hop, Target, TargetError};
use super::ui::password::{self, Terminal};
use super::ui::verbose;
use offshoot::harmless;
use offshoot::methods::Method;
use offshoot::methods::spec::PasswordOf;
use offshoot::{ConnectErrorKind, Connecting, Context, Error, Secret};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How often a password is asked for.
const TRIES: u32 = 3;

/// A target that could not be reached.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Which of its hops failed, from 1, and how many it has.
    hop: (usize, usize),
    /// Why.
    pub error: Error,
}

impl Failure {
    /// What failed, why, and what can be done, as one sentence without its subject.
    pub fn sentence(&self) -> String {
        let Error::Connect(error) = &self.error else { return harmless(&self.error.to_string()) };
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

    /// The last lines that the remote said.
    pub fn said(&self) -> Vec<String> {
        self.error
            .as_connect()
            .map(|error| error.output.iter().map(|line| harmless(line)).collect())
            .unwrap_or_default()
    }
}

/// A hop that one or more of the targets go through.
struct Node {
    /// The hops up to and including this one, as a person is told of them.
    place: String,
    above: Option<usize>,
    depth: usize,
    hop: Hop,
    password: Mutex<Option<Secret>>,
    /// Whose password it takes.
    account: Account,
    state: Mutex<State>,
    /// When it was last begun to be taken.
    begun: Mutex<Instant>,
}

/// A method, and the user whose password it asks for: the one to log in as, or the one who calls sudo. Where no hop names
/// that user, none.
type Account = (String, Option<String>);

/// A password that is for all hops of an account, and the number of the question that it answered.
type Answer = (u64, Secret);

/// What was tried at one hop.
#[derive(Default)]
struct Tried {
    times: u32,
    /// Of the password that was for all, its number.
    answer: u64,
}

enum State {
    /// Not tried.
    Idle,
    /// On its way, from the given context.
    Opening(Connecting, Context),
    /// Decided.
    Done(Result<Context, Failure>),
}

/// The hops to all targets, as the tree that they are.
pub struct Paths {
    nodes: Vec<Node>,
    /// Of each target, its last hop and how many it has.
    ends: Vec<(usize, usize)>,
    /// The targets as they were written, each once.
    pub targets: Vec<String>,
    /// Targets that lead where an earlier one does: how both were written, the earlier one last.
    pub repeated: Vec<(String, String)>,
    timeout: Option<Duration>,
    heartbeat: Option<u32>,
    handshakes: Option<u32>,
    terminal: Option<Mutex<Terminal>>,
    /// Where one password is for all hops of an account: those that were given.
    answers: Option<Mutex<HashMap<Account, Answer>>>,
}

/// Puts the options of the command line into the first ssh hop, where that does not say otherwise.
fn complete(target: &mut Target, connection: &Connection) {
    let Some(ssh) = target.hops.iter_mut().find(|hop| hop.method() == "ssh") else { return };
    ssh.fill("config", connection.config.as_ref());
    ssh.fill("identity", connection.identity.as_ref());
    ssh.fill("user", connection.login.as_ref());
    ssh.fill("port", connection.port.map(|port| port.to_string()));
    // The first value counts for ssh.
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
    /// Reads targets and the passwords in the files they name. Nothing is connected.
    ///
    /// # Errors
    /// What is wrong with the first target that is not one, and with the first file that cannot be read.
    pub fn plan<'a>(
        targets: impl IntoIterator<Item = &'a str>,
        connection: &Connection,
        stdin_is_taken: bool,
    ) -> Result<Paths, String> {
        let mut known: HashMap<String, usize> = HashMap::new();
        let mut paths = Paths {
            nodes: Vec::new(),
            ends: Vec::new(),
            targets: Vec::new(),
            repeated: Vec::new(),
            timeout: connection.connect_timeout.map(|seconds| Duration::from_secs(seconds.into())),
            heartbeat: connection.heartbeat,
            handshakes: connection.handshakes,
            answers: connection.same_password.then(Mutex::default),
            terminal: if connection.no_ask { None } else { Terminal::open().map(Mutex::new) },
        };
        for text in targets {
            let mut target: Target = text.parse().map_err(|error: TargetError| error.to_string())?;
            complete(&mut target, connection);
            target.hops.iter_mut().for_each(Hop::normalise);
            let mut above = None;
            for (depth, hop) in target.hops.iter().enumerate() {
                let path = Target { hops: target.hops[..=depth].to_vec() }.to_string();
                let index = match known.get(&path) {
                    Some(index) => *index,
                    None => {
                        let password =
                            hop.password_file().map(|file| read_password(text, file, stdin_is_taken));
                        let (password, hop) = (password.transpose()?, hop.clone());
                        let (password, state) = (Mutex::new(password), Mutex::new(State::Idle));
                        let bare = Target { hops: target.hops[..=depth].iter().map(Hop::bare).collect() };
                        let place = harmless(&bare.to_string());
                        known.insert(path, paths.nodes.len());
                        let account = account(&target.hops[..=depth]);
                        let begun = Mutex::new(Instant::now());
                        paths.nodes.push(Node {
                            place,
                            above,
                            depth: depth + 1,
                            hop,
                            password,
                            account,
                            state,
                            begun,
                        });
                        paths.nodes.len() - 1
                    }
                };
                above = Some(index);
            }
            // A target has at least one hop, so the last is there.
            let Some(end) = above else { continue };
            match paths.ends.iter().position(|(other, _)| *other == end) {
                Some(first) => paths.repeated.push((text.to_owned(), paths.targets[first].clone())),
                None => {
                    paths.ends.push((end, target.hops.len()));
                    paths.targets.push(text.to_owned());
                }
            }
        }
        Ok(paths)
    }

    /// Takes all hops, and waits for none of them.
    pub fn open(&self, root: &Context) {
        for node in &self.nodes {
            let above = match node.above {
                None => Some(root.clone()),
                Some(above) => self.nodes[above].expected(),
            };
            // Below a hop that could not even be begun, its failure is found when the target is waited for.
            if let Some(above) = above {
                *node.lock() = self.take(node, &above, node.password());
            }
        }
    }

    /// The context at a target's end as it will be if every hop succeeds: what is sent to it waits there.
    pub fn expected(&self, target: usize) -> Option<Context> {
        self.nodes[self.ends[target].0].expected()
    }

    /// Waits until a target is reached.
    ///
    /// # Errors
    /// Which hop failed, and why.
    pub fn wait(&self, target: usize, root: &Context) -> Result<Context, Failure> {
        let (end, hops) = self.ends[target];
        self.reach(end, root).map_err(|failure| Failure { hop: (failure.hop.0, hops), ..failure })
    }

    fn reach(&self, index: usize, root: &Context) -> Result<Context, Failure> {
        let node = &self.nodes[index];
        let above = match node.above {
            None => root.clone(),
            Some(above) => self.reach(above, root)?,
        };
        // Whoever else goes through this hop waits here.
        let mut state = node.lock();
        let mut tried = Tried::default();
        loop {
            let result = match std::mem::replace(&mut *state, State::Idle) {
                State::Done(result) => {
                    *state = State::Done(result.clone());
                    return result;
                }
                State::Opening(connecting, from) if from == above => connecting.wait(),
                // The hop before was taken anew, and what was sent after the first attempt has come back.
                State::Idle | State::Opening(..) => {
                    *state = self.take(node, &above, node.password());
                    continue;
                }
            };
            node.tell(&result);
            let again = result.as_ref().err().and_then(|error| self.password_after(node, error, &mut tried));
            *state = match again {
                Some(password) => self.take(node, &above, Some(password)),
                None => {
                    // It is not asked for again.
                    node.secret().take();
                    State::Done(result.map_err(|error| Failure { hop: (node.depth, 0), error }))
                }
            };
        }
    }

    /// Takes a hop, and does not wait.
    fn take(&self, node: &Node, above: &Context, password: Option<Secret>) -> State {
        *node.begun.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        verbose::note(|| format!("{}: connecting by {}", node.place, node.hop.method()));
        match begin(&node.hop, above, password, self) {
            Ok(connecting) => State::Opening(connecting, above.clone()),
            Err(error) => State::Done(Err(Failure { hop: (node.depth, 0), error })),
        }
    }

    /// A password from the person at the terminal, if it is one that is missing and there is such a person.
    fn password_after(&self, node: &Node, error: &Error, tried: &mut Tried) -> Option<Secret> {
        match (error.as_connect()?.kind, tried.times) {
            (ConnectErrorKind::PasswordRequired, 0) => {}
            (ConnectErrorKind::PasswordIncorrect, 1..TRIES) => {}
            _ => return None,
        }
        // Whoever else waits for the person may get the same answer meanwhile.
        let mut terminal = self.terminal.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner);
        let answers = self.answers.as_ref().map(|all| all.lock().unwrap_or_else(PoisonError::into_inner));
        let given = answers.as_ref().and_then(|all| all.get(&node.account)).cloned();
        if let Some((number, password)) = given.filter(|(number, _)| *number > tried.answer) {
            (tried.times, tried.answer) = (tried.times + 1, number);
            return Some(password);
        }
        if tried.times > 0 {
            terminal.say(&format!("[{}] the password was not accepted; try again", node.place));
        }
        tried.times += 1;
        let scope = match (&answers, &node.account.1) {
            (None, _) => String::new(),
            (Some(_), None) => ", for all targets".into(),
            (Some(_), Some(user)) => format!(" of {}, for all targets", harmless(user)),
        };
        let password = terminal.ask(&format!("[{}] password for {}{scope}: ", node.place, node.hop.method()));
        let password = password.ok().flatten()?;
        if let Some(mut answers) = answers {
            tried.answer += 1;
            answers.insert(node.account.clone(), (tried.answer, password.clone()));
        }
        Some(password)
    }
}

/// Whose password the last of these hops asks for.
fn account(hops: &[Hop]) -> Account {
    let [before @ .., last] = hops else { return (String::new(), None) };
    let owned = |user: Option<&str>| user.map(str::to_owned);
    let method = last.method().to_owned();
    match last.password_of() {
        PasswordOf::Nobody => (method, None),
        PasswordOf::TargetUser => (method, owned(last.user().flatten())),
        // On this machine it is the user of this program, whom no hop leads to.
        PasswordOf::CallingUser => match before.iter().rev().find_map(Hop::user) {
            Some(user) => (method, owned(user)),
            None => (format!("local {method}"), None),
        },
    }
}

impl Node {
    /// Logs how an attempt to take this hop went.
    fn tell(&self, result: &Result<Context, Error>) {
        let begun = *self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        let (place, ms) = (&self.place, begun.elapsed().as_millis());
        verbose::note(|| match result {
            Ok(context) => format!("{place}: up after {ms} ms, as {context}"),
            Err(error) => format!("{place}: not up after {ms} ms: {}", harmless(&error.to_string())),
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

fn read_password(target: &str, file: &str, stdin_is_taken: bool) -> Result<Secret, String> {
    let about = harmless(&format!("{target}: password-file={file}"));
    if file == "-" && stdin_is_taken {
        return Err(format!(
            "{about}: stdin goes to the program; give -n to keep it for the password, or name a file"
        ));
    }
    password::from_file(file)
        .map_err(|error| format!("{about}: {error}; a password is the first line of a file on this machine"))
}

/// Takes a hop by the library's own builder.
fn begin(hop: &Hop, above: &Context, password: Option<Secret>, paths: &Paths) -> Result<Connecting, Error> {
    let mut method = hop.build().map_err(|error| Error::System {
        action: format!("describing a hop by {}", hop.method()),
        detail: error.to_string(),
    })?;
    if let Some(count) = paths.handshakes {
        method.set_handshakes(count);
    }
    let mut taken = above.hop(method);
    if let Some(password) = password {
        taken = taken.password(password);
    }
    if let Some(timeout) = hop.timeout().map(Duration::from_secs).or(paths.timeout) {
        taken = taken.timeout(timeout);
    }
    if let Some(seconds) = paths.heartbeat {
        taken = taken.heartbeat(seconds);
    }
    taken.start()
}
