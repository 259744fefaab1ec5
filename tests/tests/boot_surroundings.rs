//! Starts with odd locales and clocks, and with streams that are closed, non-blocking or merged.

use std::fs;

use offshoot::stock::{facts, ping};
use offshoot::{ConnectErrorKind as Kind, Context, Exec, Router};
use offshoot_tests::boxes::said;
use offshoot_tests::hop::{assert_says, exchanges, refused, router, up, words};
use offshoot_tests::process::must_run;
use offshoot_tests::run::offshoot_binary;
use offshoot_tests::scratch::ScratchDir;
use offshoot_tests::{Leaks, Run};

/// Shells that may be called `sh`.
const SHELLS: [&str; 3] = ["/bin/dash", "/bin/bash", "/bin/zsh"];

/// Connects a host and uses it: messages of several frames, a program with much output.
#[track_caller]
fn works(router: &Router, what: &str, words: Vec<String>) -> Context {
    let context = exchanges(router, what, words);
    let zeros = said(&context, &["sh", "-c", "head -c 3000000 /dev/zero"]);
    assert_eq!(zeros.len(), 3_000_000, "{what}");
    context
}

/// Locales for a host: their names, and the folder in which the C library finds them.
struct Locales {
    folder: ScratchDir,
}

impl Locales {
    /// Makes a locale whose `i` has another capital, and two in which a byte of a character can
    /// look like a backslash.
    const MADE: [(&str, &str, &str); 3] = [
        ("tr_TR.UTF-8", "tr_TR", "UTF-8"),
        ("ja_JP.SJIS", "ja_JP", "SHIFT_JIS"),
        ("zh_CN.GB18030", "zh_CN", "GB18030"),
    ];

    fn make() -> Self {
        let folder = ScratchDir::new("locales");
        for (name, input, charmap) in Self::MADE {
            let path = folder.path().join(name);
            let path = path.to_str().expect("our own path");
            // With `-c` in spite of warnings: SHIFT_JIS has no backslash.
            let script = "localedef -c -i \"$1\" -f \"$2\" \"$3\" 2>/dev/null; test -d \"$3\"";
            must_run("sh", &["-c", script, "sh", input, charmap, path], b"");
        }
        Self { folder }
    }

    fn path(&self) -> String {
        self.folder.path().display().to_string()
    }
}

#[test]
fn no_locale_of_a_host_changes_its_start() {
    let _leaks = Leaks::begin();
    let (router, locales) = (router(), Locales::make());
    let made = Locales::MADE.map(|(name, ..)| name);
    for locale in made
        .into_iter()
        .chain(["C", "POSIX", "xx_XX.invalid", "", "\u{fffd}/../x"])
    {
        let set = [format!("LC_ALL={locale}"), format!("LANG={locale}")];
        let locpath = format!("LOCPATH={}", locales.path());
        for shell in SHELLS {
            let host = ["env", &locpath, &set[0], &set[1], shell];
            let context = router.local().shell_words(words(&host)).connect();
            let context = context.unwrap_or_else(|error| panic!("{shell}, {locale}: {error}"));
            // The programs there have it, unchanged.
            let seen = said(&context, &["sh", "-c", "echo \"$LC_ALL\""]);
            assert_eq!(seen, locale, "{shell}");
        }
        // perl or python hold the loader as text of a program.
        let host = ["env", &locpath, &set[0], &set[1], "/bin/sh"];
        let host = router.local().shell_words(words(&host)).exec(Exec::Memory);
        up(host.connect());
        let run = Run::offshoot([
            "run",
            "local,shell=sh",
            "--",
            "echo",
            "i\u{131}I\u{130} \u{3042}",
        ]);
        let run = run.env("LOCPATH", locales.path()).env("LC_ALL", locale);
        let seen = run.finish().expect_code(0);
        assert_eq!(seen.out(), "i\u{131}I\u{130} \u{3042}\n", "{locale}");
    }
}

#[test]
fn a_host_whose_clock_is_far_ahead_keeps_deadlines_and_heartbeats() {
    let _leaks = Leaks::begin();
    let router = router();
    let ahead = [
        "unshare",
        "-T",
        "--monotonic",
        "1000000000",
        "--boottime",
        "1000000000",
        "-f",
        "--kill-child",
    ];
    let host = words(&[&ahead[..], &["/bin/sh"]].concat());
    let context = router.local().shell_words(host).heartbeat(1).connect();
    let context = context.unwrap_or_else(|error| panic!("{error}"));
    let uptime = said(&context, &["cut", "-d.", "-f1", "/proc/uptime"]);
    assert!(
        uptime.parse::<u64>().expect("a number") >= 1_000_000_000,
        "{uptime}"
    );
    for _ in 0..3 {
        let limit = std::time::Duration::from_secs(60);
        let mut call = context.start(ping {});
        call.wait_timeout(limit).expect("it is answered in time");
    }
    // A deadline that has passed is noticed there, and no other.
    let sleeps = context.command("sleep").arg("2").output();
    assert_eq!(sleeps.expect("it ends").status.code, Some(0));
    context.call(facts {}).expect("its heartbeats arrived");
}

/// Makes the streams of a program non-blocking before it starts.
const NON_BLOCKING: &str = "import os,sys
for n in (0,1,2): os.set_blocking(n,False)
os.execvp(sys.argv[1],sys.argv[1:])";

#[test]
fn non_blocking_streams_lose_nothing() {
    let _leaks = Leaks::begin();
    let router = router();
    let host = words(&["python3", "-c", NON_BLOCKING, "/bin/sh"]);
    works(&router, "non-blocking", host);
    // The streams of the command line, whose reader is slower than it.
    let slow = "python3 -c \"$1\" \"$2\" run local -- cat | { read -r first; echo \"$first\"; cat; } | wc -c";
    let seen = Run::program("sh").args(["-c", slow, "sh", NON_BLOCKING]);
    let seen = seen
        .arg(offshoot_binary())
        .stdin(b"0123456789abcde\n".repeat(200_000));
    assert_eq!(seen.finish().expect_code(0).out().trim(), "3200000");
}

#[test]
fn each_stream_of_the_command_line_may_be_closed() {
    let _leaks = Leaks::begin();
    let scratch = ScratchDir::new("closed");
    let (out, err) = (scratch.path().join("out"), scratch.path().join("err"));
    let text = |path| fs::read_to_string(path).expect("the shell made it");
    for closed in [
        "0<&-",
        "1>&-",
        "2>&-",
        "0<&- 1>&-",
        "0<&- 2>&-",
        "1>&- 2>&-",
        "0<&- 1>&- 2>&-",
    ] {
        for (script, speaks) in [
            ("exit 7", false),
            ("cat; echo out; echo err >&2; exit 7", true),
        ] {
            let line = format!("\"$@\" >\"$OUT\" 2>\"$ERR\" {closed}");
            let seen = Run::program("bash")
                .args(["-c", &line, "bash"])
                .arg(offshoot_binary())
                .args(["run", "local/local,shell=sh", "--", "sh", "-c", script])
                .env("OUT", &out)
                .env("ERR", &err)
                .finish();
            let (no_out, no_err) = (closed.contains('1'), closed.contains("2>"));
            // Output that nobody can get is an error, and the only one.
            let code = if no_out && speaks { 255 } else { 7 };
            assert_eq!(seen.code, code, "{closed}, {script}: {}", text(&err));
            let shown = speaks && !no_out;
            assert_eq!(text(&out), if shown { "out\n" } else { "" }, "{closed}");
            match (speaks && !no_err, no_out) {
                (false, _) => assert_eq!(text(&err), "", "{closed}, {script}"),
                (true, false) => assert_eq!(text(&err), "err\n", "{closed}"),
                (true, true) => assert!(text(&err).contains("stdout is closed"), "{}", text(&err)),
            }
        }
    }
}

#[test]
fn a_host_may_close_or_merge_stderr_and_other_closed_streams_are_named() {
    let _leaks = Leaks::begin();
    let router = router();
    let host = |redirection: &str| {
        let script = format!("exec \"$@\" {redirection}");
        words(&["sh", "-c", &script, "sh", "/bin/sh"])
    };
    for redirection in ["2>&-", "2>/dev/full", "2>/dev/null", "2>&1"] {
        works(&router, redirection, host(redirection));
    }
    for (redirection, part) in [
        ("0<&-", "stdin ended before"),
        ("0</dev/null", "stdin ended before"),
        ("1>&-", "its stdout is closed"),
    ] {
        let hop = router.local().shell_words(host(redirection));
        let error = refused(hop.connect(), Kind::Bootstrap);
        assert_says(&error, &[part]);
    }
}
