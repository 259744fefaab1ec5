//! `epoll_ctl` failing with `ENOMEM`: nothing waits forever for a descriptor that cannot be
//! watched.

use std::fs;

use offshoot::{Context, Error};
use offshoot_tests::Leaks;
use offshoot_tests::join_peer::JoinPeer;
use offshoot_tests::process::{descendants, eventually};
use offshoot_tests::run::LIMIT;
use offshoot_tests::scratch::ScratchDir;
use offshoot_tests::tree::{ended, facts, router};

const EPOLL_NO_MEMORY: &str = env!("CARGO_BIN_EXE_epoll-no-memory");
const JOIN_PEER: &str = env!("CARGO_BIN_EXE_join-peer");
/// Returns the numbers that the next descriptors of a process will get.
fn next_numbers(process: u32) -> impl Iterator<Item = u32> {
    let open = fs::read_dir(format!("/proc/{process}/fd")).expect("it lives");
    let open: Vec<u32> = open
        .flatten()
        .filter_map(|fd| fd.file_name().to_str()?.parse().ok())
        .collect();
    (0..).filter(move |number| !open.contains(number)).take(9)
}

/// Returns the words of a shell whose agent cannot watch the descriptors in `from..to`.
fn shell(from: u32, to: u32) -> Vec<String> {
    [
        EPOLL_NO_MEMORY,
        &from.to_string(),
        &to.to_string(),
        "/bin/sh",
    ]
    .map(str::to_owned)
    .into()
}

#[track_caller]
fn up(parent: &Context, words: Vec<String>) -> Context {
    parent
        .local()
        .shell_words(words)
        .connect()
        .unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn a_program_fails_to_start_or_is_still_reaped_without_epoll_memory() {
    let _leaks = Leaks::begin();
    let router = router();
    let numbers = next_numbers(facts(&up(&router, shell(1 << 20, 1 << 20))).process);
    let mut refused = 0;
    // A program takes six descriptors and a pidfd, with the lowest free numbers.
    for number in numbers {
        let context = up(&router, shell(number, number + 1));
        let process = facts(&context).process;
        match context
            .within(LIMIT)
            .command("sh")
            .args(["-c", "echo there >&2; cat; echo here"])
            .output()
        {
            Ok(output) => {
                assert!(output.status.success(), "{number}: {output:?}");
                assert_eq!(
                    (&*output.stdout, &*output.stderr),
                    (&b"here\n"[..], &b"there\n"[..]),
                    "{number}"
                );
            }
            Err(Error::Spawn { errno, .. }) => {
                refused += 1;
                assert_eq!(errno, libc::ENOMEM, "{number}");
            }
            Err(error) => panic!("{number}: {error}"),
        }
        let none = || {
            descendants(process)
                .iter()
                .all(|seen| seen.name != "sh" || ended(seen.pid))
        };
        assert!(
            eventually(LIMIT, none),
            "{number}: {:?}",
            descendants(process)
        );
    }
    assert!(
        refused >= 2,
        "each of the two outputs was among these numbers"
    );
}

#[test]
fn a_joining_peer_is_disconnected_if_its_link_cannot_be_watched() {
    let _leaks = Leaks::begin();
    let folder = ScratchDir::new("epoll");
    let path = |name: &str| {
        folder
            .path()
            .join(name)
            .to_str()
            .expect("our own path")
            .to_owned()
    };
    let listen = |number: u32, to: u32, name: &str| {
        let (from, to) = (number.to_string(), to.to_string());
        JoinPeer::start(
            EPOLL_NO_MEMORY,
            None,
            &[&from, &to, JOIN_PEER, "listen", &path(name)],
        )
    };
    let listener = listen(1 << 20, 1 << 20, "free");
    let numbers = next_numbers(listener.process());
    let mut turned_away = 0;
    for number in numbers {
        let mut listener = listen(number, number + 1, &number.to_string());
        assert!(
            listener.first.starts_with("listening "),
            "{}",
            listener.first
        );
        let peer = JoinPeer::start(JOIN_PEER, None, &["join", &path(&number.to_string())]);
        if peer.first.starts_with("joined ") {
            assert_eq!(listener.does("children").as_deref(), Ok("1"), "{number}");
        } else {
            turned_away += 1;
            let none = || listener.does("children").as_deref() == Ok("0");
            assert!(eventually(LIMIT, none), "{number}: {}", peer.first);
        }
    }
    assert!(
        turned_away >= 1,
        "the descriptor of its link was among these numbers"
    );
}
