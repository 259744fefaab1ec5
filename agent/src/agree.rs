//! Whether an agent that has just come up knows the functions of this program, and means the same by them.

use crate::error::{ConnectError, ConnectErrorKind, Result};
use crate::remote::{FUNCTIONS, Function};
use crate::shared::Shared;
use std::sync::atomic::Ordering;

/// How many names an error shows.
const SHOWN: usize = 8;

/// Whose agent a tree sends.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Sent {
    /// The stock one, which has none of the program's functions.
    Stock = 0,
    /// As before, and the program was told what that means.
    StockAndTold = 1,
    /// One that was built with the program's functions.
    Own = 2,
}

/// The signatures of all functions in this image, as an agent tells them.
pub(crate) fn signatures() -> Vec<u64> {
    FUNCTIONS.iter().map(|function| function.signature).collect()
}

/// The functions of this program that the other image does not have, and those that it has with another signature.
pub(crate) fn differing(theirs: &[u64]) -> (Vec<&'static Function>, Vec<&'static Function>) {
    let (mut missing, mut other) = (Vec::new(), Vec::new());
    for function in FUNCTIONS {
        if !theirs.contains(&function.signature) {
            let known = theirs.iter().any(|signature| signature >> 32 == function.signature >> 32);
            if known { other.push(function) } else { missing.push(function) }
        }
    }
    (missing, other)
}

/// Holds the functions of this program against those of an agent. That one is missing is an error where the agent was built for
/// this program, and else something to be told once; that one has another signature is always an error.
///
/// # Errors
/// Which functions differ, and what can be done.
pub(crate) fn compare(shared: &Shared, context: &str, theirs: &[u64]) -> Result<()> {
    let (missing, other) = differing(theirs);
    let sent = shared.sent_agent.load(Ordering::Relaxed);
    let (what, which) = match (other.is_empty(), missing.is_empty()) {
        (false, _) => ("its agent was built with other arguments or another result of", other),
        (true, false) if sent == Sent::Own as u8 => ("its agent was built without", missing),
        (true, false) => {
            if shared.sent_agent.swap(Sent::StockAndTold as u8, Ordering::Relaxed) == Sent::Stock as u8 {
                tracing::warn!(
                    "the agent of {context} has no {}: they run in this program only; for more, build an agent with them, or \
                     send this program itself (Builder::package, Builder::own_image)",
                    names(&missing)
                );
            }
            return Ok(());
        }
        (true, true) => return Ok(()),
    };
    let mut error = ConnectError::new(ConnectErrorKind::Functions, format!("{what} {}", names(&which)));
    error.context = context.into();
    error.hop = "its functions".into();
    error.hint = "build the agent anew from the sources of this program".into();
    Err(error.into())
}

pub(crate) fn names(functions: &[&Function]) -> String {
    let shown: Vec<&str> = functions.iter().take(SHOWN).map(|function| function.name).collect();
    let more = match functions.len().saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    shown.join(", ") + &more
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use crate::images::Images;
    use crate::node::Node;

    #[test]
    fn what_an_agent_lacks_or_has_otherwise_is_named_when_it_is_connected() {
        let none = Images::found(Box::new(|_| Err(Error::Image("none".into()))));
        let shared = Shared::new(Node::root(), none).unwrap();
        let theirs = signatures();
        let says = |theirs: &[u64]| compare(&shared, "web1", theirs).map_err(|error| error.to_string());
        assert_eq!(says(&theirs), Ok(()));
        let (last, others) = theirs.split_last().unwrap();
        let name = FUNCTIONS.iter().find(|function| function.signature == *last).unwrap().name;
        let missing = says(others).unwrap_err();
        assert!(
            missing.starts_with("web1") && missing.contains("without") && missing.contains(name),
            "{missing}"
        );
        // The same name with other arguments.
        let other = says(&[others, &[last ^ 1]].concat()).unwrap_err();
        assert!(other.contains("other arguments") && other.contains(name), "{other}");
        // A stock agent has none of a program's functions, which is told once and is no error.
        shared.sent_agent.store(Sent::Stock as u8, Ordering::Relaxed);
        assert_eq!(says(others), Ok(()));
        assert_eq!(shared.sent_agent.load(Ordering::Relaxed), Sent::StockAndTold as u8);
        assert!(says(&[others, &[last ^ 1]].concat()).is_err());
    }
}
