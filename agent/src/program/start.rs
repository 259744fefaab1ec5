//! Starts a program as requested.

use offshoot_proto::message::exec::ExecRequest;
use offshoot_proto::message::exec::Lifetime;
use offshoot_proto::message::outcome::Outcome;
use offshoot_proto::message::outcome::tagged;
use offshoot_sys as sys;
use offshoot_sys::execute::NotStarted;
use offshoot_sys::spawn::Image;
use offshoot_sys::spawn::Marked;
use offshoot_sys::spawn::Process;
use offshoot_sys::spawn::Start;
use offshoot_sys::spawn::environment;
use offshoot_sys::spawn::start;
use std::io;
use std::os::fd::OwnedFd;

/// Starts the program of a request with these streams.
pub(crate) fn start_program(
    order: &ExecRequest,
    stdio: [OwnedFd; 3],
) -> Result<Process, NotStarted> {
    let refused = |error: io::Error| NotStarted::new(NotStarted::WORDS, &error);
    let argv = sys::c_strings(&order.argv).map_err(refused)?;
    let directory = order
        .directory
        .as_deref()
        .map(sys::c_string)
        .transpose()
        .map_err(refused)?;
    let env = environment(&order.env, order.clear_env)
        .map(|env| sys::c_strings(&env))
        .transpose()
        .map_err(refused)?;
    // A variable without a name, or with a `=` in its name, would be read as a different variable.
    let unnamed = |name: &[u8]| name.get(1..).is_none_or(|rest| rest.contains(&b'='));
    if argv.is_empty() || order.env.iter().any(|(name, _)| unnamed(name)) {
        return Err(refused(io::Error::from_raw_os_error(
            offshoot_sys::errno::EINVAL,
        )));
    }
    start(&Start {
        image: Image::Named,
        argv,
        env,
        directory,
        stdio,
        terminal: None,
        dies_with_parent: order.tie == Lifetime::Bound,
        marked: if matches!(order.tie, Lifetime::Free(_)) {
            Marked::Detached
        } else {
            Marked::Origin
        },
    })
}

/// Returns the error text for a stream that cannot be watched.
pub(crate) fn unwatched(error: offshoot_sys::errno::Errno) -> String {
    format!("the system cannot watch a stream of the program: {error}")
}

/// Returns the reply for a program that did not start. The caller turns it into a text.
pub(crate) fn not_started(why: &NotStarted) -> Vec<u8> {
    tagged(Outcome::Error, why.as_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_arguments_and_variables_are_refused_by_the_receiver_too() {
        let plain = ExecRequest {
            argv: vec![b"true".to_vec()],
            env: Vec::new(),
            clear_env: true,
            directory: None,
            tie: Lifetime::Bound,
            end_all: false,
            wait_streams: 0,
            grace: 0,
        };
        let pair = |key: &[u8], value: &[u8]| vec![(key.to_vec(), value.to_vec())];
        let orders = [
            ExecRequest {
                argv: Vec::new(),
                ..plain.clone()
            },
            ExecRequest {
                argv: vec![b"tr\0ue".to_vec()],
                ..plain.clone()
            },
            ExecRequest {
                argv: vec![b"true".to_vec(), b"\0".to_vec()],
                ..plain.clone()
            },
            ExecRequest {
                env: pair(b"A", b"1\0"),
                ..plain.clone()
            },
            ExecRequest {
                env: pair(b"A\0B", b"1"),
                ..plain.clone()
            },
            ExecRequest {
                env: pair(b"", b"1"),
                ..plain.clone()
            },
            ExecRequest {
                env: pair(b"A=1", b"x"),
                ..plain.clone()
            },
            ExecRequest {
                directory: Some(b"/\0tmp".to_vec()),
                ..plain.clone()
            },
        ];
        let null = || sys::procfs::open("/dev/null", offshoot_sys::open::O_RDWR).unwrap();
        for order in orders {
            let why = start_program(&order, [null(), null(), null()])
                .err()
                .expect("it is refused");
            let seen = (why.as_bytes()[4], why.error().raw_os_error());
            assert_eq!(
                seen,
                (NotStarted::WORDS, Some(offshoot_sys::errno::EINVAL)),
                "{order:?}"
            );
        }
        let mut fine = start_program(&plain, [null(), null(), null()]).expect("it starts");
        while fine.try_wait().is_none() {
            std::thread::yield_now();
        }
    }
}
