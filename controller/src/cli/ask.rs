//! Questions to the user: passwords and other answers that the programs of hops ask for.

use super::args::Connection;
use super::ui::notes::tell;
use super::ui::password::Terminal;
use offshoot::{Prompt, PromptKind, Secret, harmless};
use std::collections::HashMap;
use std::io::ErrorKind;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A method, and the user whose password it asks for: the user to log in as, or the user who calls
/// sudo. `None` if no hop names that user.
pub(super) type Account = (String, Option<String>);

/// A password for all hops of an account, and the number of the question that it answered.
type Answer = (u64, Secret);

/// The user at the terminal.
pub(super) struct Asker {
    terminal: Mutex<Terminal>,
    /// The shared answers, if one password is for all hops of an account.
    answers: Option<Mutex<HashMap<Account, Answer>>>,
}

/// The account of a hop.
pub(super) struct Login {
    /// The hops up to and including this one, as messages show them.
    pub place: String,
    /// The name of its method.
    pub method: &'static str,
    /// The account whose password it asks for.
    pub account: Account,
    pub tried: Mutex<Tried>,
}

/// The passwords that were tried at one hop.
#[derive(Clone, Copy, Default)]
pub(super) struct Tried {
    /// Their number.
    pub times: u32,
    /// The number of the last shared answer among them.
    answer: u64,
}

impl Login {
    /// Returns the passwords that were tried.
    pub(super) fn tried(&self) -> Tried {
        *locked(&self.tried)
    }
}

impl Asker {
    /// Returns the user, if there is a terminal and questions are wanted.
    pub(super) fn new(connection: &Connection) -> Option<Self> {
        let terminal = Terminal::open().filter(|_| !connection.no_ask)?;
        Some(Self {
            terminal: Mutex::new(terminal),
            answers: connection.ask_once.then(Mutex::default),
        })
    }

    /// Answers a question of the program of a hop.
    pub(super) fn answer(&self, login: &Login, prompt: &Prompt) -> Option<Secret> {
        let place = &login.place;
        match prompt.kind {
            PromptKind::Password => return self.password(login, Some(prompt)),
            PromptKind::Touch => {
                tell(&format!(
                    "{place}: touch the security key ({})",
                    harmless(prompt.lines.last()?)
                ));
                return None;
            }
            _ => {}
        }
        let mut lines: Vec<String> = prompt.lines.iter().map(|line| harmless(line)).collect();
        lines.last_mut()?.push(' ');
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        // Only the answer to this is no secret.
        let shown = prompt.kind == PromptKind::HostKey;
        put(
            &mut locked(&self.terminal),
            place,
            &lines,
            shown,
            Some(prompt),
        )
    }

    /// Asks for the password of a hop, unless an answer that the hop has not tried is for it.
    /// `prompt` is the question of its program, if that waits for the answer.
    pub(super) fn password(&self, login: &Login, prompt: Option<&Prompt>) -> Option<Secret> {
        // While this thread waited for the terminal, another may have got an answer that is for
        // this hop as well.
        let mut terminal = locked(&self.terminal);
        let mut tried = locked(&login.tried);
        let answers = self.answers.as_ref().map(locked);
        let given = answers
            .as_ref()
            .and_then(|all| all.get(&login.account))
            .cloned();
        if let Some((number, password)) = given.filter(|(number, _)| *number > tried.answer) {
            (tried.times, tried.answer) = (tried.times + 1, number);
            return Some(password);
        }
        let Login { place, method, .. } = login;
        if prompt.is_some_and(Prompt::is_withdrawn) {
            return None;
        }
        let mut lines = Vec::new();
        if tried.times > 0 {
            lines.push("the password was not accepted; try again");
        }
        tried.times += 1;
        let user = login.account.1.as_ref();
        let of = user.map_or_else(String::new, |user| format!(" of {}", harmless(user)));
        let scope = answers.as_ref().map_or("", |_| ", for all targets");
        let question = format!("password for {method}{of}{scope}: ");
        lines.push(&question);
        let password = put(&mut terminal, place, &lines, false, prompt)?;
        if let Some(mut answers) = answers {
            tried.answer += 1;
            answers.insert(login.account.clone(), (tried.answer, password.clone()));
        }
        Some(password)
    }
}

/// Puts a question of the hop at `place` to the user, until it is withdrawn.
fn put(
    terminal: &mut Terminal,
    place: &str,
    lines: &[&str],
    shown: bool,
    prompt: Option<&Prompt>,
) -> Option<Secret> {
    if prompt.is_some_and(Prompt::is_withdrawn) {
        return None;
    }
    let until = prompt.and_then(|prompt| {
        // Without descriptors the question stays until it is answered.
        let (until, end) = std::io::pipe().ok()?;
        prompt.on_withdrawal(move || drop(end));
        Some(until)
    });
    let label = format!("[{place}] ");
    match terminal.ask((&label, lines), shown, until) {
        Ok(answer) => answer,
        Err(error) if error.kind() == ErrorKind::ConnectionAborted => {
            terminal.write_line(&format!(
                "{label}no answer is wanted any more: the hop has ended, or it asks something else"
            ));
            None
        }
        Err(error) => {
            tell(&format!("{place}: no question can be asked: {error}"));
            None
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
