use super::*;
use crate::procfs as files;
use crate::procfs::content;
use std::io::{PipeReader, Read};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

fn started(words: &[&str]) -> Process {
    let null = || files::open("/dev/null", libc::O_RDWR).unwrap();
    let argv = words
        .iter()
        .map(|word| CString::new(*word).unwrap())
        .collect();
    start(&Start {
        image: Image::Named,
        argv,
        env: None,
        directory: None,
        stdio: [null(), null(), null()],
        terminal: None,
        dies_with_parent: true,
        marked: Marked::No,
    })
    .unwrap()
}

/// Starts a program with its output in a pipe. Returns both.
fn printing(words: &[&str]) -> (Process, PipeReader) {
    let (output, child_out) = io::pipe().unwrap();
    let null = std::fs::File::options()
        .read(true)
        .write(true)
        .open("/dev/null")
        .unwrap();
    let process = start(&Start {
        image: Image::Named,
        argv: words
            .iter()
            .map(|word| CString::new(*word).unwrap())
            .collect(),
        env: None,
        directory: None,
        stdio: [
            null.try_clone().unwrap().into(),
            child_out.into(),
            null.into(),
        ],
        terminal: None,
        dies_with_parent: false,
        marked: Marked::No,
    });
    (
        process.unwrap_or_else(|why| panic!("{}", why.error())),
        output,
    )
}

fn ended(process: &mut Process) -> WaitStatus {
    loop {
        match process.try_wait() {
            Some(status) => break status,
            None => std::thread::yield_now(),
        }
    }
}

#[test]
fn a_program_starts_with_default_signals_whatever_its_parent_has_set() {
    extern "C" fn catch(_signal: libc::c_int) {}
    let ignored = [
        libc::SIGHUP,
        libc::SIGALRM,
        libc::SIGQUIT,
        libc::SIGUSR1,
        libc::SIGRTMAX(),
    ];
    for signal in ignored {
        // SAFETY: nothing in this test program waits for these.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
    // SAFETY: a handler that does nothing.
    unsafe { libc::signal(libc::SIGWINCH, catch as *const () as libc::sighandler_t) };
    let blocked = SignalsBlocked::all();
    let (mut process, mut output) = printing(&["cat", "/proc/self/status"]);
    let mut status = String::new();
    output.read_to_string(&mut status).unwrap();
    for set in ["SigBlk", "SigIgn", "SigCgt"] {
        assert!(
            status.contains(&format!("{set}:\t0000000000000000\n")),
            "{status}"
        );
    }
    assert_eq!(ended(&mut process).code, Some(0));
    drop(blocked);
    let own = String::from_utf8(content("/proc/thread-self/status").unwrap()).unwrap();
    assert!(
        own.contains("SigBlk:\t0000000000000000\n"),
        "this process has its own back: {own}"
    );
}

#[test]
fn no_signal_handler_of_the_parent_runs_between_fork_and_exec() {
    static ELSEWHERE: AtomicI32 = AtomicI32::new(-1);
    static OWN: AtomicI32 = AtomicI32::new(0);
    extern "C" fn catch(_signal: libc::c_int) {
        // SAFETY: allowed in a handler.
        unsafe {
            if libc::getpid() != OWN.load(Ordering::Relaxed) {
                libc::write(ELSEWHERE.load(Ordering::Relaxed), c"!".as_ptr().cast(), 1);
            }
        }
    }
    let (mut seen, elsewhere) = io::pipe().unwrap();
    OWN.store(std::process::id() as i32, Ordering::Relaxed);
    ELSEWHERE.store(elsewhere.as_raw_fd(), Ordering::Relaxed);
    // SAFETY: the handler makes only async-signal-safe calls. The default of the signal is to
    // do nothing, so it does not harm the rest of the process group.
    unsafe { libc::signal(libc::SIGURG, catch as *const () as libc::sighandler_t) };
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                // The new process is in this group until it has a session of its own.
                kill(0, libc::SIGURG);
            }
        });
        for _ in 0..50 {
            let (mut process, _output) = printing(&["true"]);
            assert_eq!(ended(&mut process).code, Some(0));
        }
        done.store(true, Ordering::Relaxed);
    });
    crate::signal::default_signal(libc::SIGURG);
    drop(elsewhere);
    let mut told = Vec::new();
    seen.read_to_end(&mut told).unwrap();
    assert_eq!(
        told, b"",
        "a handler ran in a process that was about to become a program"
    );
}

fn stranger() -> Child {
    Command::new("sleep").arg("1000").spawn().unwrap()
}

#[test]
fn an_exited_program_is_reaped_only_when_dropped() {
    let mut ends = [(7, "exit 7"), (0, "kill -9 $$")].map(|(code, script)| {
        let mut process = started(&["sh", "-c", script]);
        let status = ended(&mut process);
        assert_eq!(status.code.unwrap_or(0), code, "{script}");
        process
    });
    assert_eq!(
        ends[1].try_wait(),
        Some(WaitStatus {
            code: None,
            signal: Some(libc::SIGKILL)
        })
    );
    for process in ends {
        let stat = || files::text(&format!("/proc/{}/stat", process.id()));
        assert!(stat().contains(") Z "), "{}", stat());
        assert!(process.signal(libc::SIGTERM) && process.signal_group(libc::SIGTERM));
        let pid = process.id();
        drop(process);
        assert_eq!(
            files::text(&format!("/proc/{pid}/stat")),
            "",
            "it is collected"
        );
    }
}

#[test]
fn the_process_group_of_an_exited_program_can_be_signalled() {
    let mut process = started(&["sh", "-c", "sleep 1000 & exit 3"]);
    assert_eq!(ended(&mut process).code, Some(3));
    let group = -(process.id() as i32);
    assert!(process.signal_group(libc::SIGKILL));
    // SAFETY: plain numbers.
    let alive = || unsafe { libc::kill(group, 0) } == 0 && !only_ended(process.id());
    while alive() {
        std::thread::yield_now();
    }
}

/// Returns true if all processes of a group have ended.
fn only_ended(group: u32) -> bool {
    let of_group = |stat: &String| stat.split(' ').nth(4) == Some(&group.to_string());
    let all = files::numbers("/proc")
        .into_iter()
        .map(|pid| files::text(&format!("/proc/{pid}/stat")));
    all.filter(of_group).all(|stat| stat.contains(") Z "))
}

#[test]
fn a_pid_reused_by_another_process_is_not_signalled() {
    // The process has ended and was reaped, and its number now belongs to another process.
    let mut stranger = stranger();
    let mut gone = started(&["true"]);
    ended(&mut gone);
    // SAFETY: a null status pointer is allowed.
    unsafe { libc::waitpid(gone.id() as i32, std::ptr::null_mut(), 0) };
    let handle = gone.handle.take();
    assert!(handle.is_some(), "this kernel has handles");
    let known = Process {
        pid: stranger.id(),
        handle,
        ended: None,
    };
    // Without a pidfd, the number must be that of a child. The parent of this process has ended.
    let orphan = Command::new("sh")
        .args(["-c", "sleep 1000 >&- 2>&- & echo $!"])
        .output()
        .unwrap();
    let orphan: u32 = String::from_utf8(orphan.stdout)
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    let unknown = Process {
        pid: orphan,
        handle: None,
        ended: None,
    };
    for mut process in [known, unknown] {
        assert!(process.signal(libc::SIGKILL) && process.signal_group(libc::SIGKILL));
        assert_eq!(
            process.try_wait(),
            Some(WaitStatus {
                code: None,
                signal: None
            })
        );
    }
    assert!(
        files::text(&format!("/proc/{orphan}/stat")).contains("(sleep) "),
        "the orphan lives"
    );
    assert_eq!(stranger.try_wait().unwrap(), None, "the stranger lives");
    kill(orphan as i32, libc::SIGKILL);
    stranger.kill().unwrap();
    stranger.wait().unwrap();
}
