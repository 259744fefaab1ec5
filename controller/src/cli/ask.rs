//! Questions to the user: passwords and other answers that the programs of hops ask for.

use super::args::Connection;
use super::ui::notes::tell;
use super::ui::password::Terminal;
use offshoot::{Prompt, PromptKind, Secret, harmless};
use std::collections::HashMap;
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
        let (question, before) = prompt.lines.split_last()?;
        match prompt.kind {
            PromptKind::Password => return self.password(login),
            PromptKind::Touch => {
                tell(&format!(
                    "{place}: touch the security key ({})",
                    harmless(question)
                ));
                return None;
            }
            _ => {}
        }
        let mut terminal = locked(&self.terminal);
        for line in before {
            terminal.write_line(&format!("[{place}] {}", harmless(line)));
        }
        let question = format!("[{place}] {} ", harmless(question));
        // Only the answer to this is no secret.
        let shown = prompt.kind == PromptKind::HostKey;
        terminal.ask(&question, shown).ok().flatten()
    }

    /// Asks for the password of a hop, unless an answer that the hop has not tried is for it.
    pub(super) fn password(&self, login: &Login) -> Option<Secret> {
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
        if tried.times > 0 {
            terminal.write_line(&format!(
                "[{place}] the password was not accepted; try again"
            ));
        }
        tried.times += 1;
        let user = login.account.1.as_ref();
        let of = user.map_or_else(String::new, |user| format!(" of {}", harmless(user)));
        let scope = answers.as_ref().map_or("", |_| ", for all targets");
        let question = format!("[{place}] password for {method}{of}{scope}: ");
        let password = terminal.ask(&question, false).ok().flatten()?;
        if let Some(mut answers) = answers {
            tried.answer += 1;
            answers.insert(login.account.clone(), (tried.answer, password.clone()));
        }
        Some(password)
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
