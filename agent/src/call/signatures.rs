//! The comparison of an agent's functions with those of this program, after a hop.

use crate::call::function::FUNCTIONS;
use crate::call::function::Function;
use crate::runtime::build::BUILD;
use crate::runtime::handle::NodeHandle;
use crate::runtime::image_store::AgentSource;
use offshoot_bootstrap::Platform;
use offshoot_proto::ConnectError;
use offshoot_proto::ConnectErrorKind;
use offshoot_proto::Result;
use offshoot_proto::message::handshake::Hello;
use std::sync::atomic::Ordering;
use tracing::Level;

/// The most names that an error lists.
const SHOWN: usize = 8;

/// Returns the signatures of all functions in this image, for the agent's `Hello`, and the shapes
/// of the types in them.
pub(crate) fn signatures() -> Vec<u64> {
    let mut signatures = Vec::new();
    for function in FUNCTIONS {
        signatures.push(function.whole_signature());
        if let Some(shape) = function.shape {
            shape.add_types(&mut signatures);
        }
    }
    signatures
}

/// Returns the functions of this program that the other image does not have, and those that it has
/// with another signature.
pub(crate) fn differing(theirs: &[u64]) -> (Vec<&'static Function>, Vec<&'static Function>) {
    let (mut missing, mut other) = (Vec::new(), Vec::new());
    for function in FUNCTIONS {
        if !theirs.contains(&function.whole_signature()) {
            let known = theirs
                .iter()
                .any(|signature| signature >> 32 == function.signature >> 32);
            if known {
                other.push(function)
            } else {
                missing.push(function)
            }
        }
    }
    (missing, other)
}

/// Compares the functions of this program with those of an agent. A missing function is an error if
/// the agent was built for this program, and otherwise logged once. A different signature is always
/// an error.
///
/// # Errors
/// Returns an error that lists the functions that differ, with a solution.
pub(crate) fn compare(shared: &NodeHandle, context: &str, theirs: &[u64]) -> Result<()> {
    let (missing, other) = differing(theirs);
    let sent = shared.sent_agent.load(Ordering::Relaxed);
    let (what, which) = match (other.is_empty(), missing.is_empty()) {
        (false, _) => (
            "its agent was built with other arguments or another result of",
            other,
        ),
        (true, false) if sent == AgentSource::Own as u8 => ("its agent was built without", missing),
        (true, false) => {
            if shared
                .sent_agent
                .swap(AgentSource::StockAndTold as u8, Ordering::Relaxed)
                == AgentSource::Stock as u8
            {
                let text = format!(
                    "the agent of {context} has no {}: they run in this program only; for more, build an agent with them, or \
                     send this program itself (Builder::package, Builder::own_image)",
                    names(&missing)
                );
                shared.say(Level::WARN, text);
            }
            return Ok(());
        }
        (true, true) => return Ok(()),
    };
    let mut detail = format!("{what} {}", names(&which));
    // The stock agent has no types to name.
    if cfg!(panic = "unwind")
        && let Some(name) = which
            .iter()
            .find_map(|function| function.shape?.differing(theirs))
    {
        detail += &format!(" (a type differs: {name})");
    }
    let mut error = ConnectError::new(ConnectErrorKind::Functions, detail);
    error.context = context.into();
    error.hop = "its functions".into();
    error.hint = "rebuild the agent from the sources of this program".into();
    Err(error.into())
}

pub(crate) fn names(functions: &[&Function]) -> String {
    let shown: Vec<&str> = functions
        .iter()
        .take(SHOWN)
        .map(|function| function.name)
        .collect();
    let more = match functions.len().saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    shown.join(", ") + &more
}

/// Returns the greeting of this process.
pub(crate) fn hello() -> Hello {
    Hello {
        build: BUILD,
        process: std::process::id(),
        machine: Platform::host().map_or("unknown", Platform::machine).into(),
        version: env!("CARGO_PKG_VERSION").into(),
        functions: signatures(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::image_store::Images;
    use offshoot_proto::node::Node;
    use std::sync::Arc;

    fn tree(sent: AgentSource) -> Arc<NodeHandle> {
        let images = Images::found(Box::new(|_| Err(offshoot_proto::Error::ShutDown)));
        let shared = NodeHandle::new(Node::root(), images).unwrap();
        shared.sent_agent.store(sent as u8, Ordering::Relaxed);
        shared
    }

    fn refused(sent: AgentSource, theirs: &[u64]) -> Option<ConnectError> {
        let error = compare(&tree(sent), "web1", theirs).err()?;
        error.as_connect().cloned()
    }

    #[test]
    fn an_agent_with_the_same_or_more_functions_is_accepted() {
        let mut theirs = signatures();
        assert!(theirs.len() > 2);
        theirs.reverse();
        theirs.push(crate::call::signature::signature("more", "()"));
        for sent in [
            AgentSource::Stock,
            AgentSource::StockAndTold,
            AgentSource::Own,
        ] {
            assert_eq!(refused(sent, &theirs), None);
        }
    }

    #[test]
    fn a_different_signature_is_refused_from_any_agent() {
        let ping = "offshoot_agent::stock::ping";
        let mine = FUNCTIONS
            .iter()
            .find(|function| function.name == ping)
            .unwrap();
        let changed = crate::call::signature::signature(ping, "(text:String)");
        let replaced = |&signature: &u64| {
            if signature == mine.signature {
                changed
            } else {
                signature
            }
        };
        let theirs: Vec<u64> = signatures().iter().map(replaced).collect();
        for sent in [
            AgentSource::Stock,
            AgentSource::StockAndTold,
            AgentSource::Own,
        ] {
            let error = refused(sent, &theirs).expect("it is another function");
            assert_eq!(
                (error.kind, error.context.as_str()),
                (ConnectErrorKind::Functions, "web1")
            );
            assert!(
                error.detail.contains("other arguments") && error.detail.ends_with(ping),
                "{error}"
            );
        }
    }

    #[test]
    fn a_missing_function_is_refused_only_from_an_agent_of_the_program() {
        let error = refused(AgentSource::Own, &signatures()[1..]).expect("one is missing");
        assert!(
            error
                .detail
                .starts_with("its agent was built without offshoot_agent::"),
            "{error}"
        );
        for sent in [AgentSource::Stock, AgentSource::StockAndTold] {
            assert_eq!(refused(sent, &signatures()[1..]), None);
        }
        // A long list is shortened.
        let error = refused(AgentSource::Own, &[]).expect("all are missing");
        let more = FUNCTIONS.len().saturating_sub(SHOWN);
        assert_eq!(
            error.detail.contains(&format!(" and {more} more")),
            more > 0,
            "{error}"
        );
    }

    /// A function as a user writes one: not of this crate.
    mod of_a_user {
        mod offshoot {
            pub(super) use crate::*;
        }

        /// A type with two fields of one type.
        #[derive(serde::Serialize, serde::Deserialize)]
        pub(super) struct Point {
            x: u8,
            y: u8,
        }

        /// Takes the type and a sender of it.
        #[crate::remote(crate = self::offshoot)]
        pub(super) fn draw(point: Point, more: crate::Sender<Vec<Point>>) -> Option<u8> {
            drop(more);
            Some(point.x + point.y)
        }
    }

    #[test]
    fn a_type_with_other_fields_is_refused_with_the_names_of_function_and_type() {
        use crate::call::function::Remote;
        assert!(std::any::type_name::<of_a_user::draw>().ends_with("::draw"));
        let mine = FUNCTIONS
            .iter()
            .find(|function| function.name == of_a_user::draw::NAME)
            .unwrap();
        assert_eq!(refused(AgentSource::Own, &signatures()), None);
        assert_eq!(mine.shape.unwrap().fault(), None);
        let point = crate::call::signature::signature("type Point", "") >> 32;
        // As an agent says it that was built with other fields.
        let theirs: Vec<u64> = signatures()
            .into_iter()
            .map(|signature| match signature {
                of if of == mine.whole_signature() || of >> 32 == point => of ^ 1,
                other => other,
            })
            .collect();
        let error = refused(AgentSource::Stock, &theirs).expect("a type differs");
        assert!(
            error
                .detail
                .contains("other arguments or another result of")
                && error
                    .detail
                    .ends_with("of_a_user::draw (a type differs: Point)"),
            "{error}"
        );
        // The functions of this crate have no shapes.
        assert!(FUNCTIONS.iter().any(|function| function.shape.is_none()));
    }

    #[test]
    fn a_signature_distinguishes_names_and_arguments() {
        let sums = [("a", "()"), ("a", "(x:u8)"), ("b", "()")]
            .map(|(name, text)| crate::call::signature::signature(name, text));
        assert!(
            sums[0] != sums[1] && sums[0] >> 32 == sums[1] >> 32 && sums[0] >> 32 != sums[2] >> 32
        );
    }
}
