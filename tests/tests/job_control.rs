//! Job control by real shells at a real terminal: Ctrl-Z, `fg`, `bg`, and password prompts.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use nix::sys::signal::Signal;
use nix::sys::termios::LocalFlags;
use offshoot_tests::process::{all, descendants, eventually, look_at, signal};
use offshoot_tests::pty::Terminal;
use offshoot_tests::run::{LIMIT, offshoot_binary};
use offshoot_tests::scratch::ScratchDir;
use offshoot_tests::users::{NOPASS, PASSWORD, PW};
use offshoot_tests::{Leaks, Sshd};

const CTRL_Z: u8 = 26;
const CTRL_BACKSLASH: u8 = 28;

/// Starts a job-control shell at a terminal of its own, with the prompt `$ ` and `offshoot` in its
/// PATH.
fn shell(words: &[&str]) -> Terminal {
    let mut command = Command::new(words[0]);
    command
        .args(&words[1..])
        .env("PS1", "$ ")
        .env("TERM", "dumb")
        .env("HISTFILE", "/dev/null")
        .env_remove("ENV");
    let mut terminal = Terminal::start(command, false);
    terminal.expect("$ ");
    terminal.type_line(&format!("alias offshoot={}", offshoot_binary().display()));
    terminal.expect("$ ");
    terminal
}

const SHELLS: [&[&str]; 3] = [
    &["bash", "--norc", "--noprofile", "--noediting", "-i"],
    &["dash", "-i"],
    &["zsh", "-f", "-i", "+Z"],
];

/// Returns the process id of the `offshoot` started by a shell.
fn offshoot_below(shell: &Terminal) -> u32 {
    let binary = offshoot_binary();
    let is =
        |pid: u32| std::fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe == binary);
    let find = || {
        let below = descendants(shell.pid());
        below
            .into_iter()
            .find(|seen| seen.parent == shell.pid() && is(seen.pid))
            .map(|seen| seen.pid)
    };
    assert!(
        eventually(LIMIT, || find().is_some()),
        "{}",
        shell.transcript()
    );
    find().expect("it was there")
}

/// Creates a directory that every user may write to.
fn counted() -> ScratchDir {
    let scratch = ScratchDir::new("counting");
    std::fs::set_permissions(scratch.path(), Permissions::from_mode(0o777)).expect("it is ours");
    scratch
}

/// Returns the number of context switches of the main thread of a process.
fn switches(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let counts = status
        .lines()
        .filter_map(|line| line.split_once("ctxt_switches:"));
    counts
        .filter_map(|(_, count)| count.trim().parse::<u64>().ok())
        .sum()
}

/// Waits until the shell has reported its job as stopped.
fn expect_stopped(terminal: &mut Terminal, shell: &[&str]) {
    terminal.expect(if shell[0] == "zsh" {
        "suspended"
    } else {
        "Stopped"
    });
}

fn is_stopped(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains(") T "))
}

fn lines(file: &Path) -> usize {
    std::fs::read_to_string(file).map_or(0, |text| text.lines().count())
}

/// Returns a shell command that appends to `file` ten times a second, sixty times, prints at the
/// beginning and the end, and exits with 7.
fn counting(file: &Path) -> String {
    let file = file.display();
    format!(
        "sh -c 'echo begun; i=0; while [ $i -lt 60 ]; do i=$((i+1)); echo $i >> {file}; sleep 0.1; done; \
         echo done; exit 7'"
    )
}

#[test]
fn a_command_stopped_past_three_heartbeats_resumes_unharmed() {
    let _leaks = Leaks::begin();
    let server = Sshd::start("web1");
    let far = format!(
        "-F {} {}@web1/local",
        server.config().display(),
        NOPASS.name
    );
    for (shell_words, target) in [
        (SHELLS[0], far.as_str()),
        (SHELLS[1], "local/local"),
        (SHELLS[0], "-n local"),
    ] {
        let scratch = counted();
        let file = scratch.path().join("count");
        let mut terminal = shell(shell_words);
        terminal.type_line(&format!(
            "offshoot run --heartbeat 1 {target} -- {}; echo status $?",
            counting(&file)
        ));
        terminal.expect("begun\r\n");
        terminal.press(CTRL_Z);
        terminal.expect("Stopped");
        let stopped = offshoot_below(&terminal);
        assert!(
            eventually(LIMIT, || is_stopped(stopped)),
            "{}",
            terminal.transcript()
        );
        // The program continues: its count shows that more than four seconds have passed.
        let before = lines(&file);
        assert!(
            eventually(LIMIT, || lines(&file) >= (before + 45).min(60)),
            "{} of {before}",
            lines(&file)
        );
        assert!(is_stopped(stopped));
        terminal.type_line("fg; echo ended with $?");
        terminal.expect("done\r\n");
        terminal.expect("ended with 7");
        terminal.type_line("exit");
        terminal.finish();
    }
}

#[test]
fn in_the_background_output_and_exit_status_are_unchanged() {
    let _leaks = Leaks::begin();
    for shell_words in SHELLS {
        let scratch = counted();
        let file = scratch.path().join("count");
        let mut terminal = shell(shell_words);
        terminal.type_line(&format!(
            "offshoot run -n --heartbeat 1 local -- {}",
            counting(&file)
        ));
        terminal.expect("begun\r\n");
        terminal.press(CTRL_Z);
        expect_stopped(&mut terminal, shell_words);
        // In one line: zsh forgets a job once it has told of its end.
        terminal.type_line("bg; wait %1; echo ended with $?");
        terminal.expect("done\r\n");
        terminal.expect("ended with 7");
        terminal.type_line("exit");
        terminal.finish();
    }
}

#[test]
fn killing_a_stopped_command_ends_everything() {
    let _leaks = Leaks::begin();
    let server = Sshd::start("web1");
    let config = server.config();
    for target in [
        "local/local".to_owned(),
        format!("-F {} {}@web1", config.display(), NOPASS.name),
    ] {
        let mut terminal = shell(SHELLS[0]);
        terminal.type_line(&format!(
            "offshoot run -n --heartbeat 1 {target} -- sh -c 'echo begun; exec sleep 1000'"
        ));
        terminal.expect("begun\r\n");
        terminal.press(CTRL_Z);
        terminal.expect("Stopped");
        let stopped = offshoot_below(&terminal);
        assert!(eventually(LIMIT, || is_stopped(stopped)));
        let agents = || {
            all()
                .into_values()
                .filter(|seen| seen.arguments.starts_with("offshoot: "))
                .count()
        };
        let programs = || {
            all()
                .into_values()
                .filter(|seen| seen.arguments == "sleep 1000")
                .count()
        };
        let up = || agents() > 0 && programs() == 1;
        assert!(
            eventually(LIMIT, up),
            "they live on: {} {}",
            agents(),
            programs()
        );
        signal(stopped, Signal::SIGKILL);
        assert!(
            eventually(LIMIT, || agents() + programs() == 0),
            "{} {}",
            agents(),
            programs()
        );
        terminal.type_line("exit");
        terminal.expect("exit");
        terminal.type_line("exit");
        terminal.finish();
    }
}

#[test]
fn ctrl_z_at_the_password_prompt_restores_echo_and_prompts_again() {
    let _leaks = Leaks::begin();
    let server = Sshd::start("web1");
    for shell_words in SHELLS {
        let mut terminal = shell(shell_words);
        let target = format!("-F {} {}@web1/sudo", server.config().display(), PW.name);
        terminal.type_line(&format!(
            "offshoot run -n {target} -- id -u; echo status $?"
        ));
        for _ in 0..2 {
            terminal.expect("password for sudo of pw: ");
            assert!(eventually(LIMIT, || !terminal.echoes()), "the echo is off");
            terminal.press(CTRL_Z);
            expect_stopped(&mut terminal, shell_words);
            assert!(
                eventually(LIMIT, || terminal.echoes()),
                "{shell_words:?} has its echo"
            );
            terminal.type_line("fg; echo ended with $?");
        }
        terminal.expect("password for sudo of pw: ");
        assert!(
            eventually(LIMIT, || !terminal.echoes()),
            "the echo is off again"
        );
        terminal.type_line(PASSWORD);
        terminal.expect("0\r\n");
        terminal.expect("ended with 0");
        assert!(
            !terminal.transcript().contains(PASSWORD),
            "{}",
            terminal.transcript()
        );
        terminal.type_line("exit");
        terminal.finish();
    }
}

#[test]
fn a_password_prompt_in_the_background_waits_for_the_foreground() {
    let _leaks = Leaks::begin();
    let server = Sshd::start("web1");
    for shell_words in SHELLS {
        let mut terminal = shell(shell_words);
        let target = format!("-F {} {}@web1/sudo", server.config().display(), PW.name);
        terminal.type_line(&format!("offshoot run -n {target} -- id -u &"));
        let asking = offshoot_below(&terminal);
        assert!(
            eventually(LIMIT, || is_stopped(asking)),
            "{}",
            terminal.transcript()
        );
        assert!(terminal.echoes() || shell_words[0] == "zsh");
        terminal.type_line("fg; echo ended with $?");
        terminal.expect("password for sudo of pw: ");
        assert!(eventually(LIMIT, || !terminal.echoes()));
        terminal.press(CTRL_Z);
        expect_stopped(&mut terminal, shell_words);
        // Continued in the background, it stops again at once.
        let before = switches(asking);
        terminal.type_line("bg");
        let again = || switches(asking) > before && is_stopped(asking);
        assert!(eventually(LIMIT, again), "{}", terminal.transcript());
        terminal.type_line("fg; echo ended with $?");
        terminal.expect("password for sudo of pw: ");
        assert!(eventually(LIMIT, || !terminal.echoes()));
        terminal.type_line(PASSWORD);
        terminal.expect("ended with 0");
        terminal.type_line("exit");
        terminal.finish();
    }
}

#[test]
fn after_sigstop_the_password_prompt_turns_echo_off_again() {
    let _leaks = Leaks::begin();
    let server = Sshd::start("web1");
    let mut terminal = asking(&server);
    terminal.expect("password for sudo of pw: ");
    assert!(eventually(LIMIT, || !terminal.echoes()));
    signal(terminal.pid(), Signal::SIGSTOP);
    assert!(eventually(LIMIT, || is_stopped(terminal.pid())));
    let mut modes = terminal.modes();
    modes.local_flags.insert(LocalFlags::ECHO);
    terminal.set_modes(&modes);
    signal(terminal.pid(), Signal::SIGCONT);
    terminal.expect("password for sudo of pw: ");
    assert!(eventually(LIMIT, || !terminal.echoes()));
    terminal.type_line(PASSWORD);
    let (code, text) = terminal.finish();
    assert_eq!(code, 0, "{text}");
    assert!(!text.contains(PASSWORD), "{text}");
}

/// Starts `offshoot` at a terminal, about to prompt for a password. There is no shell that could
/// continue it.
fn asking(server: &Sshd) -> Terminal {
    let mut command = Command::new(offshoot_binary());
    let target = format!("{}@web1/sudo", PW.name);
    command
        .args(["run", "-n", "-F"])
        .arg(server.config())
        .args([&target, "--", "id", "-u"]);
    Terminal::start(command, false)
}

#[test]
fn without_a_job_control_shell_ctrl_z_only_prompts_again() {
    let _leaks = Leaks::begin();
    let server = Sshd::start("web1");
    let mut terminal = asking(&server);
    terminal.expect("password for sudo of pw: ");
    terminal.press(CTRL_Z);
    terminal.expect("password for sudo of pw: ");
    assert!(eventually(LIMIT, || !terminal.echoes()));
    terminal.type_line(PASSWORD);
    let (code, text) = terminal.finish();
    assert_eq!(code, 0, "{text}");
    assert!(!text.contains(PASSWORD), "{text}");
}

#[test]
fn echo_is_restored_however_the_command_ends_at_its_prompt() {
    let _leaks = Leaks::begin();
    let server = Sshd::start("web1");
    enum End {
        Key(u8),
        Signal(Signal),
    }
    let ends = [
        ("Ctrl-\\", 131, End::Key(CTRL_BACKSLASH)),
        ("Ctrl-C", 130, End::Key(3)),
        ("SIGTERM", 143, End::Signal(Signal::SIGTERM)),
        ("SIGHUP", 129, End::Signal(Signal::SIGHUP)),
        ("Ctrl-D", 255, End::Key(4)),
    ];
    for (how, status, end) in ends {
        let mut terminal = asking(&server);
        terminal.expect("password for sudo of pw: ");
        assert!(eventually(LIMIT, || !terminal.echoes()), "{how}");
        match end {
            End::Key(key) => terminal.press(key),
            End::Signal(of) => assert!(signal(terminal.pid(), of)),
        }
        assert!(eventually(LIMIT, || terminal.echoes()), "{how}");
        let process = terminal.pid();
        let (code, text) = terminal.finish();
        assert_eq!(code, status, "{how}: {text}");
        assert!(look_at(process).is_none(), "{how}");
    }
}
