//! Log records and output of agents, and dumps of contexts. Records are filtered at their origin,
//! arrive unchanged, and are counted when dropped.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use nix::sys::signal::Signal;
use offshoot::{Context, Dump, Filter, Router, stock};
use offshoot_test_agent as own;
use offshoot_tests::process::{eventually, signal};
use offshoot_tests::records::{Logged, Records};
use offshoot_tests::scratch::ScratchDir;
use offshoot_tests::tree::facts;
use offshoot_tests::users::PLAIN;
use offshoot_tests::{Leaks, Sshd, run::LIMIT};

/// Returns the log of this program.
fn records() -> &'static Records {
    static RECORDS: OnceLock<Records> = OnceLock::new();
    RECORDS.get_or_init(Records::keep)
}

/// Returns the log of this program, emptied.
fn recorded() -> &'static Records {
    records().clear();
    records()
}

fn filter(text: &str) -> Filter {
    text.parse().unwrap_or_else(|error| panic!("{error}"))
}

fn tree(filter_text: &str) -> Router {
    let builder = Router::builder()
        .package("offshoot-test-agent")
        .log_filter(filter(filter_text));
    up(builder.start())
}

#[track_caller]
fn up<T, E: std::fmt::Display>(outcome: Result<T, E>) -> T {
    outcome.unwrap_or_else(|error| panic!("{error}"))
}

/// Connects a context behind ssh and one below it.
fn far(router: &Router, server: &Sshd) -> [Context; 2] {
    let config = server.config().display().to_string();
    let host = up(router.ssh("web1").config(config).user(PLAIN.name).connect());
    let below = up(host.local().connect());
    [host, below]
}

/// Returns the records of a context once `enough` is true of them, or at the time limit.
fn sent(context: &Context, enough: impl Fn(&[Logged]) -> bool) -> Vec<Logged> {
    let mut seen = Vec::new();
    eventually(LIMIT, || {
        seen = records().of(context.name());
        enough(&seen)
    });
    seen
}

/// Returns the messages of `log_everywhere` among these records.
fn everywhere(seen: &[Logged]) -> Vec<String> {
    let messages = seen.iter().map(|seen| seen.field("message").to_owned());
    messages
        .filter(|message| message.contains(" of "))
        .collect()
}

/// Asserts that the context has sent exactly the records of `log_everywhere` that the filter
/// admits.
#[track_caller]
fn logs_by(context: &Context, filter_text: &str) {
    recorded();
    // Twice, so that the second call's records prove that the first call's are complete.
    up(context.call(own::log_everywhere {}));
    up(context.call(own::log_everywhere {}));
    let filter = filter(filter_text);
    let levels = ["error", "warn", "info", "debug", "trace"];
    let mut expected = Vec::new();
    for target in ["my_agent::disk", "my_agent::net", "other"] {
        let wanted = usize::from(filter.level_of(target)).min(levels.len());
        expected.extend(
            levels[..wanted]
                .iter()
                .map(|level| format!("{level} of {target}")),
        );
    }
    let once = expected.len();
    expected.extend_from_within(..);
    let seen = sent(context, |seen| everywhere(seen).len() >= 2 * once);
    assert_eq!(everywhere(&seen), expected, "{context} by {filter_text}");
    for seen in &seen {
        let (level, rest) = seen.field("message").split_once(" of ").unwrap_or_default();
        assert!(
            level.is_empty() || seen.level == level.to_uppercase(),
            "{seen:?}"
        );
        assert!(rest.is_empty() || seen.field("origin") == rest, "{seen:?}");
    }
}

#[test]
fn a_record_arrives_with_its_context_target_level_fields_and_spans() {
    let _leaks = Leaks::begin();
    let server = Sshd::start("web1");
    recorded();
    let router = tree("info");
    let near = up(router.local().connect());
    let [host, below] = far(&router, &server);
    for context in [&near, &host, &below] {
        up(context.call(own::log_in_spans { number: 7 }));
        let seen = sent(context, |seen| {
            seen.iter().any(|seen| seen.field("message") == "after")
        });
        let about = |origin: &str| {
            let found = seen.iter().find(|seen| seen.field("origin") == origin);
            let found =
                found.unwrap_or_else(|| panic!("{context}: nothing of {origin}: {seen:#?}"));
            assert_eq!(
                (found.level.as_str(), found.field("context_id")),
                ("WARN", &*context.id().0.to_string())
            );
            (
                found.field("message"),
                found.field("fields"),
                found.field("span"),
            )
        };
        let outer = "outer{number=7 later=known}";
        let inner = format!("{outer}:inner");
        let fields = "free=17 ratio=-0.500000 ok=true path=/srv";
        assert_eq!(
            about("my_agent::disk"),
            ("almost full", fields, inner.as_str())
        );
        assert_eq!(about("my_agent::thread"), ("elsewhere", "", outer));
        assert_eq!(about("my_agent::alone"), ("outside", "", ""));
        assert_eq!(about("my_agent::after"), ("after", "", ""));
    }
}

#[test]
fn records_are_filtered_by_target_and_level_where_they_are_logged() {
    let _leaks = Leaks::begin();
    let server = Sshd::start("web1");
    for text in [
        "warn,my_agent::disk=debug,other=off",
        "off",
        "trace",
        "io",
        "my_agent=info,my_agent::net=error",
    ] {
        let router = tree(text);
        let near = up(router.local().connect());
        logs_by(&near, text);
        let before = router.bytes_sent();
        logs_by(&far(&router, &server)[1], text);
        assert!(router.bytes_sent() > before);
    }
}

#[test]
fn a_new_filter_applies_to_connected_connecting_and_later_contexts() {
    let _leaks = Leaks::begin();
    let server = Sshd::start("web1");
    let router = tree("error");
    let [host, below] = far(&router, &server);
    let mut contexts = vec![host.clone(), below];
    for text in [
        "debug",
        "off",
        "my_agent::disk=trace,info",
        "warn,other=trace",
        "error",
    ] {
        let connecting = up(host.local().shell("/bin/sh").start());
        router.set_log_filter(&filter(text));
        contexts.push(up(connecting.wait()));
        contexts.push(up(contexts[1].local().connect()));
        for context in &contexts {
            logs_by(context, text);
        }
        contexts.truncate(3);
    }
}

#[test]
fn frame_headers_are_logged_only_in_the_process_that_asked() {
    let _leaks = Leaks::begin();
    let records = recorded();
    let router = tree("warn,offshoot::io=io");
    let outer = up(router.local().connect());
    let inner = up(outer.local().connect());
    up(inner.call(stock::echo {
        text: "not to be shown".into(),
    }));
    let last = |seen: &Logged| {
        (seen.field("message"), seen.field("src")) == ("received Data", &*inner.id().0.to_string())
    };
    assert!(eventually(LIMIT, || records
        .at("offshoot::io")
        .iter()
        .any(last)));
    let frames = records.at("offshoot::io");
    for (way, kind) in [
        ("sent", "Open"),
        ("received", "Data"),
        ("sent", "Boot"),
        ("received", "Hello"),
    ] {
        let text = format!("{way} {kind}");
        assert!(
            frames.iter().any(|seen| seen.field("message") == text),
            "{text}: {frames:#?}"
        );
    }
    let call = frames.iter().find(|seen| {
        (
            seen.field("message"),
            seen.field("dst"),
            seen.field("handle"),
        ) == ("sent Open", &*inner.id().0.to_string(), "1")
    });
    let call = call.expect("the call is among them");
    assert_eq!(
        (call.level.as_str(), call.field("src"), call.field("auth")),
        ("TRACE", "0", "0")
    );
    assert!(
        call.field("length")
            .parse::<usize>()
            .is_ok_and(|length| length > 15),
        "{call:?}"
    );
    assert_eq!(records.with("not to be shown"), Vec::<String>::new());
    for context in [&outer, &inner] {
        assert!(
            records
                .of(context.name())
                .iter()
                .all(|seen| seen.field("origin") != "offshoot::io")
        );
    }
    router.set_log_filter(&filter("trace"));
    up(inner.call(stock::ping {}));
    // Records are written in order, so this one proves that the earlier ones are written.
    up(inner.call(own::log_much { count: 1 }));
    sent(&inner, |seen| arrived(seen, "my_agent::much") == 1);
    records.clear();
    up(inner.call(own::log_much { count: 1 }));
    sent(&inner, |seen| arrived(seen, "my_agent::much") == 1);
    assert_eq!(records.at("offshoot::io").len(), 0);
}

/// Returns the number of records that the notices among these report as dropped.
fn dropped(seen: &[Logged]) -> usize {
    let count = |seen: &Logged| {
        let (count, _) = seen
            .field("message")
            .split_once(" log records were too many here and are dropped")?;
        count.parse::<usize>().ok()
    };
    seen.iter().filter_map(count).sum()
}

fn arrived(seen: &[Logged], origin: &str) -> usize {
    seen.iter()
        .filter(|seen| seen.field("origin") == origin)
        .count()
}

#[test]
fn every_record_arrives_or_is_counted_as_dropped() {
    let _leaks = Leaks::begin();
    let records = recorded();
    let router = tree("warn");
    let context = up(router.local().connect());
    // More than an agent queues, at full speed, and fewer than its parent's rate limit.
    const COUNT: usize = 1500;
    up(context.call(own::log_much { count: COUNT }));
    let seen = sent(&context, |seen| {
        arrived(seen, "my_agent::much") + dropped(seen) >= COUNT
    });
    assert_eq!(
        arrived(&seen, "my_agent::much") + dropped(&seen),
        COUNT,
        "{seen:?}"
    );
    let numbers: Vec<usize> = seen
        .iter()
        .filter_map(|seen| {
            seen.field("message")
                .strip_prefix("much ")?
                .strip_suffix('.')?
                .parse()
                .ok()
        })
        .collect();
    assert!(numbers.is_sorted(), "{numbers:?}");
    // Above its parent's rate limit: reported at the latest when the link ends.
    for _ in 0..100 {
        up(context.call(own::log_much { count: 200 }));
    }
    up(context.shutdown());
    assert!(!records.with("were too many and are dropped").is_empty());
}

#[test]
fn records_dropped_at_a_stalled_link_are_counted() {
    let _leaks = Leaks::begin();
    recorded();
    let router = tree("info");
    let outer = up(router.local().connect());
    let inner = up(outer.local().connect());
    let middle = facts(&outer).process;
    let scratch = ScratchDir::new("logs");
    let files = ["started", "go", "done"].map(|name| scratch.path().join(name));
    const LINES: usize = 150;
    let bytes = (0..LINES)
        .flat_map(|number| format!("{number:->8000}\n").into_bytes())
        .collect();
    let printing = inner.start(own::print_when {
        bytes,
        files: files.clone(),
    });
    assert!(eventually(LIMIT, || files[0].exists()));
    signal(middle, Signal::SIGSTOP);
    std::fs::write(&files[1], "").expect("the folder is ours");
    assert!(
        eventually(LIMIT, || files[2].exists()),
        "an agent whose parent does not read goes on printing"
    );
    signal(middle, Signal::SIGCONT);
    up(printing.wait());
    let seen = sent(&inner, |seen| {
        arrived(seen, "stdout") + dropped(seen) >= LINES
    });
    assert_eq!(arrived(&seen, "stdout") + dropped(&seen), LINES);
    assert!(
        dropped(&seen) > LINES / 3,
        "they have all found room: {}",
        dropped(&seen)
    );
}

#[test]
fn printed_lines_arrive_whole_for_any_splitting_length_or_bytes() {
    let _leaks = Leaks::begin();
    recorded();
    let router = tree("info");
    let context = up(router.local().connect());
    let print = |bytes: &[u8], to_stderr| {
        up(context.call(own::print {
            bytes: bytes.to_vec(),
            to_stderr,
        }))
    };
    print("one l\u{ef}ne in ".as_bytes(), false);
    print("another stream\n".as_bytes(), true);
    print("pieces \u{1f980}".as_bytes().split_at(9).0, false);
    print(
        "pieces \u{1f980}\nand\r\n\n\nno empty ones\n"
            .as_bytes()
            .split_at(9)
            .1,
        false,
    );
    print(b"\xff\xfe not text \xc3\x28\n", false);
    let long = format!("{}\n", "l\u{e4}ng ".repeat(10_000));
    print(long.as_bytes(), false);
    print(&[&[0xff; 20_000][..], b"\n"].concat(), false);
    print(b"no end", false);
    print(b"no end here either", true);
    let lines = |seen: &[Logged], stream: &str| -> Vec<String> {
        let seen = seen.iter().filter(|seen| seen.field("origin") == stream);
        seen.map(|seen| seen.field("message").to_owned()).collect()
    };
    up(context.shutdown());
    let seen = sent(&context, |seen| {
        lines(seen, "stdout").iter().any(|line| line == "no end")
    });
    let (out, err) = (lines(&seen, "stdout"), lines(&seen, "stderr"));
    assert_eq!(err, ["another stream", "no end here either"]);
    assert_eq!(
        out[..3],
        ["one l\u{ef}ne in pieces \u{1f980}", "and", "no empty ones"]
    );
    assert_eq!(out[3], "\u{fffd}\u{fffd} not text \u{fffd}(");
    assert_eq!(out.last().map(String::as_str), Some("no end"));
    let pieces = &out[4..out.len() - 1];
    let all = format!(
        "{}{}",
        long.trim_end_matches('\n'),
        "\u{fffd}".repeat(20_000)
    );
    assert!(
        pieces.concat() == all,
        "a long line comes in pieces, and all of it: {}",
        pieces.concat().len()
    );
    assert!(
        pieces.iter().all(|piece| piece.len() <= 8 << 10),
        "{:?}",
        pieces.iter().map(String::len).collect::<Vec<_>>()
    );
    assert!(
        seen.iter()
            .all(|seen| seen.field("origin") != "stdout" || seen.level == "INFO")
    );
}

#[test]
fn a_long_record_is_truncated_at_its_origin() {
    let _leaks = Leaks::begin();
    recorded();
    let router = tree("warn");
    let context = up(router.local().connect());
    for length in [10, 8 << 10, 1 << 20] {
        recorded();
        up(context.call(own::log_long { length }));
        let seen = sent(&context, |seen| !seen.is_empty());
        let (message, fields) = (seen[0].field("message"), seen[0].field("fields"));
        assert_eq!(message.len(), length.min(8 << 10));
        assert!(
            message.len() + fields.len() <= 8 << 10,
            "{} and {}",
            message.len(),
            fields.len()
        );
        assert_eq!(fields.len(), if length == 10 { 16 } else { 0 }, "{fields}");
    }
}

/// Runs the program `logging` with `OFFSHOOT_LOG` set.
fn logging(words: &[&str], variable: Option<&str>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_logging"));
    command
        .args(words)
        .stdin(Stdio::null())
        .env_remove("OFFSHOOT_LOG");
    if let Some(variable) = variable {
        command.env("OFFSHOOT_LOG", variable);
    }
    command.output().expect("cargo has built it")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("it writes text")
}

/// Returns the events of the program and its context found in a text.
fn events(text: &str) -> Vec<String> {
    let word = |line: &str| {
        let at = line.find(" of ")?;
        let (level, rest) = (
            line[..at].rsplit(' ').next()?,
            line[at + 4..].split(' ').next()?,
        );
        Some(format!("{level} of {rest}"))
    };
    text.lines().filter_map(word).collect()
}

#[test]
fn without_a_subscriber_printed_lines_alone_are_shown() {
    let _leaks = Leaks::begin();
    let output = logging(&["nothing"], None);
    let said = text(&output.stderr);
    let mut lines: Vec<&str> = said.lines().collect();
    lines.sort_unstable();
    assert_eq!(
        lines,
        [
            "local: printed on stderr \u{fffd}[2J",
            "local: printed on stdout"
        ]
    );
    assert!(logging(&["nothing"], Some("off")).stderr.is_empty());
}

#[test]
fn a_log_file_follows_the_variable_and_has_mode_600() {
    use std::os::unix::fs::PermissionsExt as _;
    let _leaks = Leaks::begin();
    let scratch = ScratchDir::new("logs");
    let path = scratch.path().join("log");
    let file = path.display().to_string();
    let output = logging(
        &["file", &file],
        Some("error,my_program=info,my_agent::disk=debug,my_agent::net=off"),
    );
    assert!(output.status.success(), "{output:?}");
    let written = std::fs::read_to_string(&path).expect("it was made");
    let expected = [
        "info of my_program",
        "warn of my_program",
        "error of my_agent::disk",
        "warn of my_agent::disk",
        "info of my_agent::disk",
        "debug of my_agent::disk",
        "error of other",
    ];
    assert_eq!(events(&written), expected, "{written}");
    assert!(
        written.contains("context=") && written.contains("origin=\"my_agent::disk\""),
        "{written}"
    );
    assert_eq!(
        std::fs::metadata(&path)
            .expect("it is there")
            .permissions()
            .mode()
            & 0o777,
        0o600
    );
    assert_eq!(
        (text(&output.stdout), text(&output.stderr)),
        (String::new(), String::new())
    );

    // Without the variable: warnings and errors, appended.
    assert!(logging(&["file", &file], None).status.success());
    let both = std::fs::read_to_string(&path).expect("it is still there");
    let more = both.strip_prefix(&written).expect("it is added to");
    assert!(
        events(more).contains(&"warn of other".into()) && !more.contains("info of"),
        "{more}"
    );
}

#[test]
fn the_stderr_log_follows_the_variable_and_defaults_to_warnings() {
    let _leaks = Leaks::begin();
    let output = logging(&["stderr"], Some("my_agent::net=error,my_program"));
    let said = text(&output.stderr);
    assert_eq!(
        events(&said),
        [
            "info of my_program",
            "warn of my_program",
            "error of my_agent::net"
        ],
        "{said}"
    );
    // Without the variable: warnings, errors and printed lines. An invalid variable is an error.
    let output = logging(&["stderr"], None);
    let said = text(&output.stderr);
    for line in ["printed on stdout", "printed on stderr"] {
        assert_eq!(said.matches(line).count(), 1, "{said}");
    }
    let of_contexts = ["my_agent::disk", "my_agent::net", "other"];
    let of_contexts = of_contexts
        .iter()
        .flat_map(|of| [format!("error of {of}"), format!("warn of {of}")]);
    let expected: Vec<String> = std::iter::once("warn of my_program".to_owned())
        .chain(of_contexts)
        .collect();
    assert_eq!(events(&text(&output.stderr)), expected);
    for words in [["stderr", ""], ["file", "/nonexistent/never/made"]] {
        let output = logging(&words, Some("warn,my_agent=loud"));
        let said = text(&output.stderr);
        assert!(
            !output.status.success()
                && said.contains("OFFSHOOT_LOG")
                && said.contains("my_agent=loud"),
            "{said}"
        );
    }
    let output = logging(&["file", "/nonexistent/folder/log"], None);
    assert!(
        text(&output.stderr).contains("/nonexistent/folder/log"),
        "{output:?}"
    );
}

#[test]
fn an_existing_subscriber_is_kept_and_reported() {
    let _leaks = Leaks::begin();
    let scratch = ScratchDir::new("logs");
    let path = scratch.path().join("log").display().to_string();
    let output = logging(&["taken", &path], None);
    let said = text(&output.stdout);
    assert!(
        said.contains("has a tracing subscriber already"),
        "{output:?}"
    );
    // The errors and warnings of three targets.
    assert_eq!(said.lines().nth(1), Some("6"), "{said}");
    assert_eq!(
        std::fs::read_to_string(Path::new(&path)).unwrap_or_default(),
        ""
    );
}

#[test]
fn the_command_line_combines_the_log_variable_with_its_options() {
    let _leaks = Leaks::begin();
    let offshoot = |words: &[&str], variable: &str| {
        let bin = std::env::var("OFFSHOOT_BIN").expect("`cargo xtask test` sets it");
        let mut command = Command::new(bin);
        command
            .args(words)
            .stdin(Stdio::null())
            .env("OFFSHOOT_LOG", variable);
        text(&command.output().expect("it was built").stderr)
    };
    let run = |options: &[&str], variable| {
        offshoot(
            &[&["run"], options, &["local", "--", "true"]].concat(),
            variable,
        )
    };
    assert_eq!(run(&[], "off"), "");
    assert!(run(&[], "off,offshoot::io=io").contains("offshoot::io: sent Open"));
    let both = run(&["-v"], "offshoot::io=io");
    assert!(both.contains("offshoot::io: received Hello"), "{both}");
    let wrong = run(&["-v"], "warn,x=loud");
    assert!(
        wrong.contains("OFFSHOOT_LOG") && wrong.contains("\"x=loud\""),
        "{wrong}"
    );
}

#[test]
fn a_context_can_be_dumped_while_its_functions_hang() {
    let _leaks = Leaks::begin();
    let server = Sshd::start("web1");
    let router = tree("error");
    let [host, below] = far(&router, &server);
    let process = facts(&host).process;
    let _hanging: Vec<_> = (0..100).map(|_| host.start(own::hang {})).collect();
    let _program = up(host.command("sleep").arg("1000").spawn());
    let dump = up(host.dump());
    #[track_caller]
    fn has(dump: &Dump, title: &str, parts: &[&str]) {
        let found = dump
            .section(title)
            .any(|line| parts.iter().all(|part| line.contains(part)));
        assert!(found, "{parts:?} in {title} of {dump}");
    }
    let child = below.id().0;
    has(
        &dump,
        "context",
        &[&format!("{} {host} process {process}", host.id().0)],
    );
    has(&dump, "ancestors", &["0 controller"]);
    has(&dump, "filter", &["=1"]);
    has(&dump, "links", &["0 the parent up 1 paused 0 control "]);
    has(
        &dump,
        "links",
        &[&format!("1 {below} up 1 paused 0 control ")],
    );
    has(&dump, "routes", &[&format!("{child} {below} link 1")]);
    has(&dump, "services", &["1 anyone"]);
    has(&dump, "services", &["10 ancestors"]);
    has(
        &dump,
        "flows",
        &["call peer 0 ours 0 sent 0 limit 262144 end 0 received "],
    );
    has(
        &dump,
        "children",
        &[&format!("1 {below} process "), " up 1 attempts 1"],
    );
    has(&dump, "programs", &["0 process number "]);
    has(&dump, "calls", &["running waiting "]);
    has(&dump, "threads", &[&format!("{process} (offshoot) ")]);
    has(&dump, "threads", &["(function) "]);
    has(&dump, "names", &[below.name()]);
    // Each section is limited and ends with the number of omitted lines.
    assert_eq!(dump.section("flows").count(), 65, "{dump}");
    assert!(
        dump.section("flows")
            .last()
            .is_some_and(|line| line.starts_with("and ")),
        "{dump}"
    );

    let own = up(router.dump());
    has(
        &own,
        "context",
        &[&format!("0 controller process {}", std::process::id())],
    );
    has(&own, "routes", &[below.name()]);
}

#[test]
fn a_dump_is_given_only_to_ancestors() {
    let _leaks = Leaks::begin();
    let router = tree("error");
    let outer = up(router.local().connect());
    let [inner, sister] = [up(outer.local().connect()), up(router.local().connect())];
    let (child, parent) = (inner.id(), outer.id());
    let (of_child, of_itself) = up(outer.call(own::dump_others {
        one: child,
        other: parent,
    }));
    assert!(
        of_child.contains(&format!("{} {inner} process ", child.0)),
        "{of_child}"
    );
    assert!(
        of_itself.contains(&format!("{} {outer} process ", parent.0)),
        "{of_itself}"
    );
    let (of_parent, of_root) = up(inner.call(own::dump_others {
        one: parent,
        other: router.id(),
    }));
    assert!(
        of_parent.contains("refused") && of_root.contains("refused"),
        "{of_parent} {of_root}"
    );
    router.open_path(&sister, &inner);
    let (of_sister, _) = up(inner.call(own::dump_others {
        one: sister.id(),
        other: child,
    }));
    assert!(of_sister.contains("refused"), "{of_sister}");
}

/// Waits for `count` dumps and returns their headings, which name their contexts.
fn dumps(seen: &dyn Fn() -> Vec<Logged>, count: usize) -> Vec<String> {
    let mut heads = Vec::new();
    eventually(LIMIT, || {
        let messages: Vec<String> = seen()
            .iter()
            .map(|seen| seen.field("message").to_owned())
            .collect();
        let head = |pair: &[String]| pair[0] == "context:" || pair[0].starts_with("no answer");
        heads = messages
            .windows(2)
            .filter(|pair| head(pair))
            .map(|pair| pair[1].trim().to_owned())
            .collect();
        heads.len() >= count && messages.iter().filter(|line| *line == "names:").count() >= count
    });
    heads
}

#[test]
fn sigusr2_at_the_root_logs_the_dumps_of_all_contexts() {
    let _leaks = Leaks::begin();
    let records = recorded();
    let router = tree("off");
    let outer = up(router.local().connect());
    let inner = up(outer.local().connect());
    up(router.enable_debug());
    up(router.enable_debug());
    signal(std::process::id(), Signal::SIGUSR2);
    let seen = || records.at("offshoot::debug");
    let heads = dumps(&seen, 3);
    let expected = [
        ("controller", std::process::id()),
        (outer.name(), facts(&outer).process),
        (inner.name(), facts(&inner).process),
    ];
    for (head, (number, (name, process))) in heads
        .iter()
        .zip([0, outer.id().0, inner.id().0].iter().zip(expected))
    {
        assert_eq!(*head, format!("{number} {name} process {process}"));
    }
    assert_eq!(heads.len(), 3);
    assert!(
        seen()
            .iter()
            .all(|seen| seen.level == "INFO" && !seen.field("context").is_empty())
    );

    // A stopped context is reported after a while; the others answer meanwhile.
    records.clear();
    let sister = up(router.local().connect());
    let stopped = facts(&sister).process;
    signal(stopped, Signal::SIGSTOP);
    signal(std::process::id(), Signal::SIGUSR2);
    let silent = || {
        seen().iter().any(|seen| {
            seen.field("message").starts_with("no answer") && seen.field("context") == sister.name()
        })
    };
    assert!(eventually(LIMIT, silent), "{:#?}", seen());
    assert_eq!(dumps(&seen, 3).len(), 3);
    signal(stopped, Signal::SIGCONT);
}

#[test]
fn sigusr2_at_an_agent_logs_its_own_dump() {
    let _leaks = Leaks::begin();
    let records = recorded();
    let router = tree("off,offshoot::debug=info");
    let outer = up(router.local().connect());
    let inner = up(outer.local().connect());
    let process = facts(&inner).process;
    for _ in 0..2 {
        records.clear();
        signal(process, Signal::SIGUSR2);
        let seen = || records.of(inner.name());
        assert_eq!(
            dumps(&seen, 1),
            [format!("{} {inner} process {process}", inner.id().0)]
        );
        assert!(
            seen()
                .iter()
                .all(|seen| seen.field("origin") == "offshoot::debug")
        );
    }
    up(inner.call(stock::ping {}));
    let guest = up(outer.call(own::debug_there {}));
    assert!(guest.contains("does not own its tree"), "{guest}");
}
