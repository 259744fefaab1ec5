//! Tests of the dialogue.

use super::*;

fn asks(texts: &[&str], when: When, reaction: Reaction) -> Rule {
    Rule::asked(when, texts, reaction)
}

fn kind(act: Option<Act>) -> Option<ConnectErrorKind> {
    match act {
        Some(Act::Fail(why)) => Some(why.kind),
        _ => None,
    }
}

fn sudo(password: Option<&str>) -> Dialogue {
    let rules = vec![
        asks(
            &["[offshoot 5f]"],
            When::ALWAYS,
            Reaction::Answer(password.map(Secret::from)),
        ),
        Rule::explain(
            When::ALWAYS,
            &["not in the sudoers"],
            ConnectErrorKind::Denied,
            "no",
            "",
        ),
    ];
    Dialogue::new(rules)
}

#[test]
fn a_prompt_that_arrives_in_pieces_is_answered_once() {
    let mut dialogue = sudo(Some("pw"));
    assert_eq!(dialogue.terminal(b"We trust you...\r\n[offsh"), None);
    assert_eq!(
        dialogue.terminal(b"oot 5f] password: "),
        Some(Act::Type("pw".into()))
    );
    assert_eq!(dialogue.terminal(b"\r\nSorry, try again.\r\n"), None);
    assert_eq!(
        kind(dialogue.terminal(b"[offshoot 5f] password: ")),
        Some(ConnectErrorKind::PasswordIncorrect)
    );
}

#[test]
fn an_answer_of_somebody_else_does_not_replace_that_of_a_rule() {
    let rules = vec![
        asks(&["code:"], When::ALWAYS, Reaction::Ask(PromptKind::Code)),
        asks(
            &["password:"],
            When::ALWAYS,
            Reaction::Answer(Some("pw".into())),
        ),
    ];
    let mut dialogue = Dialogue::new(rules);
    let code = dialogue.terminal(b"code: ");
    assert_eq!(code, Some(Act::Ask(PromptKind::Code, "code: ".into())));
    let password = dialogue.terminal(b"\r\npassword: ");
    assert_eq!(password, Some(Act::Type("pw".into())));
    assert_eq!(
        kind(dialogue.terminal(b"\r\npassword: ")),
        Some(ConnectErrorKind::PasswordIncorrect)
    );
}

#[test]
fn a_wrapped_and_translated_prompt_of_sudo_rs_is_recognised() {
    for prompt in [
        "[sudo: [offshoot 5f] ] Password: ",
        "[sudo: [offshoot 5f] ] Mot de passe\u{a0}: ",
    ] {
        assert_eq!(
            sudo(Some("pw")).terminal(prompt.as_bytes()),
            Some(Act::Type("pw".into()))
        );
    }
}

#[test]
fn a_prompt_without_a_password_says_that_one_is_needed() {
    assert_eq!(
        kind(sudo(None).terminal(b"[offshoot 5f] password: ")),
        Some(ConnectErrorKind::PasswordRequired)
    );
}

#[test]
fn a_password_is_not_given_to_a_later_prompt_on_the_same_terminal() {
    let asked = |before: &str| {
        let name = Rule::line(When::ALWAYS, &["name "], Reaction::Name);
        let answer =
            |texts: &[&str]| asks(texts, When::ALWAYS, Reaction::Answer(Some("pw".into())));
        let locked = asks(&["^Enter passphrase"], When::ALWAYS, Reaction::Skip);
        let rules = vec![
            name,
            answer(&["@", "^'s password:"]),
            answer(&["^(", "@", "^) ", "password"]),
            locked,
        ];
        let mut dialogue = Dialogue::new(rules);
        dialogue.line(b"name me@web1");
        if let Some(rest) = before.strip_prefix("Enter passphrase for key 'x': ") {
            assert_eq!(
                dialogue.terminal(&before.as_bytes()[..before.len() - rest.len()]),
                Some(Act::Type("".into()))
            );
            let act = dialogue.terminal([rest, "(me@WEB1) Password: "].concat().as_bytes());
            return (act, None);
        }
        let all = [before, "(me@web1) Password: "].concat();
        (dialogue.terminal(all.as_bytes()), dialogue.question())
    };
    for before in ["", "\r\n", "  \r\n\n", "Enter passphrase for key 'x': \r\n"] {
        let (act, _) = asked(before);
        assert!(matches!(act, Some(Act::Type(_))), "{before:?}: {act:?}");
    }
    for before in [
        "(me@evil) x\r\n",
        "(me@evil) x\n",
        "(me@evil) x\r",
        "(me@evil) \n",
        "(me@evil) 1\n\n2\n\n",
        "x",
    ] {
        let (act, question) = asked(before);
        assert_eq!(act, None, "{before:?}");
        assert!(question.is_some(), "{before:?}");
    }
}

#[test]
fn echoed_stars_and_complete_lines_are_not_prompts() {
    assert_eq!(
        sudo(Some("pw")).terminal(b"[offshoot 5f] password: ***"),
        None
    );
    assert_eq!(
        sudo(Some("pw")).terminal(b"[offshoot 5f] password: \r\n"),
        None
    );
    // However much stands between the text and the end of the question.
    let long = [b"[offshoot 5f]".as_slice(), &[b'x'; 600]].concat();
    assert_eq!(sudo(Some("pw")).terminal(&long), None);
    assert_eq!(
        sudo(Some("pw")).terminal(&[&long, b": ".as_slice()].concat()),
        Some(Act::Type("pw".into()))
    );
}

#[test]
fn the_last_of_several_prompts_on_a_line_counts() {
    let line = b"[offshoot 5f] is what will be asked, by a host that likes to talk a lot: [offshoot 5f] password: ";
    assert_eq!(
        sudo(Some("pw")).terminal(line),
        Some(Act::Type("pw".into()))
    );
}

#[test]
fn the_end_of_an_overlong_line_is_matched() {
    let filler = |length: usize| vec![b'.'; length];
    for length in [LINE_LIMIT - 20, LINE_LIMIT, 3 * LINE_LIMIT + 7] {
        let asked = [&filler(length)[..], b"[offshoot 5f] password: "].concat();
        assert_eq!(
            sudo(Some("pw")).terminal(&asked),
            Some(Act::Type("pw".into())),
            "{length}"
        );
    }
    // The text ends where a buffer might, but the line goes on.
    let text = b"[offshoot 5f]";
    let quoted = [&filler(LINE_LIMIT - text.len())[..], text, &filler(100)].concat();
    assert_eq!(sudo(Some("pw")).terminal(&quoted), None);
}

#[test]
fn the_start_of_an_overlong_line_is_not_matched() {
    for before in 0..=2 {
        let rules = vec![asks(&["^code:"], When::ALWAYS, Reaction::Skip)];
        let asked = [&vec![b'.'; LINE_LIMIT / 2 + before - 1][..], b"code:"].concat();
        let filled = [&asked[..], &vec![b'.'; LINE_LIMIT / 2][..], b":"].concat();
        assert_eq!(Dialogue::new(rules).terminal(&filled), None, "{before}");
    }
}

#[test]
fn a_prompt_is_only_answered_when_its_rule_applies() {
    let rules = |when| vec![asks(&["code: "], when, Reaction::Answer(Some("pw".into())))];
    assert_eq!(
        Dialogue::new(rules(When::ANSWERED)).terminal(b"code: "),
        None
    );
    let mut once = Dialogue::new(rules(When::UNANSWERED));
    assert_eq!(once.terminal(b"code: "), Some(Act::Type("pw".into())));
    assert_eq!(once.terminal(b"code: "), None);
}

#[test]
fn an_unknown_prompt_is_reported_and_quoted() {
    let mut dialogue = sudo(Some("pw"));
    for quiet in ["", "a line\r\n", "  ", "***", "\x08 \x08"] {
        assert_eq!(
            (dialogue.terminal(quiet.as_bytes()), dialogue.question()),
            (None, None),
            "{quiet:?}"
        );
    }
    assert_eq!(dialogue.terminal(b"\nVerification "), None);
    assert_eq!(dialogue.terminal(b"code: "), None);
    let why = dialogue.question().expect("something is asked");
    assert_eq!(why.kind, ConnectErrorKind::Question);
    assert!(
        why.detail.ends_with(": Verification code:"),
        "{}",
        why.detail
    );
    assert_eq!(
        (dialogue.terminal(b"\r\n"), dialogue.question()),
        (None, None)
    );
}

#[test]
fn a_long_question_keeps_its_first_line_and_counts_what_is_left_out() {
    let asked = |text: &str| {
        let mut dialogue = Dialogue::new(Vec::new());
        assert_eq!(dialogue.terminal(text.as_bytes()), None);
        match dialogue.ask() {
            Some(Act::Ask(PromptKind::Other, text)) => text,
            act => panic!("{act:?}"),
        }
    };
    let end = "(me@web2) Password: ";
    let text = asked(&["(me@evil) A\n", &"A\n".repeat(3000), end].concat());
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "(me@evil) A");
    let left_out: usize = lines[1]
        .strip_prefix('(')
        .and_then(|rest| rest.strip_suffix(" lines are left out)"))
        .and_then(|number| number.parse().ok())
        .unwrap_or_else(|| panic!("{text}"));
    assert_eq!(left_out + lines.len() - 3, 3000);
    assert_eq!(lines.last(), Some(&end));
    assert!(text.len() < BEFORE + 100, "{}", text.len());
    // In one line, and behind lines that are longer than all that is kept.
    let text = asked(&["(me@evil) ", &"A".repeat(3 * LINE_LIMIT), end].concat());
    assert!(text.starts_with("(me@evil) AAA"), "{text}");
    let long = "A".repeat(2 * BEFORE) + "\n";
    let text = asked(&["(me@evil) ", &long, &long, end].concat());
    assert!(text.starts_with("(me@evil) AAA"), "{text}");
    assert!(
        text.ends_with(&["\n(1 lines are left out)\n", end].concat()),
        "{text}"
    );
    let mut dialogue = sudo(None);
    dialogue.terminal("x\n".repeat(3000).as_bytes());
    let act = dialogue.terminal(b"[offshoot 5f] password: ");
    assert!(matches!(act, Some(Act::Fail(_))), "{act:?}");
    dialogue.terminal(b"y\nmore: ");
    let text = Some(Act::Ask(PromptKind::Other, "y\nmore: ".into()));
    assert_eq!(dialogue.ask(), text, "what was answered is forgotten");
}

#[test]
fn a_rule_matches_names_in_place_and_quotes_the_text_between() {
    for (line, texts, quoted) in [
        (
            "me@web1: Permission denied (publickey).",
            &["@", "^: Permission denied (", ")"][..],
            Some("publickey"),
        ),
        (
            "me@web10: Permission denied (publickey).",
            &["@", "^: Permission denied ("],
            Some("publickey)."),
        ),
        (
            "me@web2: Permission denied (publickey).",
            &["@", "^: Permission denied ("],
            None,
        ),
        (
            "some@web1: Permission denied (publickey).",
            &["@", "^: Permission denied ("],
            None,
        ),
        (
            "(you@web2) me@web1's password: ",
            &["@", "^'s password:"],
            None,
        ),
        ("x: no", &["^", ": "], Some("x")),
        ("only: the rest", &["^Only:"], Some("the rest")),
        ("before only: the rest", &["^only:"], None),
        ("a b", &["b", "a"], None),
    ] {
        let name = Rule::line(When::ALWAYS, &["^name "], Reaction::Name);
        let rule = Rule::explain(When::ALWAYS, texts, ConnectErrorKind::Denied, "%", "");
        let mut dialogue = Dialogue::new(vec![name, rule]);
        assert!(!dialogue.line(b"name me@web1") && !dialogue.line(b"name me@web10"));
        dialogue.line(line.as_bytes());
        let found = dialogue.explanation().map(|why| why.detail.as_str());
        let quoted = quoted.map(|quoted| {
            if texts.len() == 2 && texts[0] == "@" {
                ""
            } else {
                quoted
            }
        });
        assert_eq!(found, quoted, "{line:?} {texts:?}");
    }
}

#[test]
fn a_question_in_any_language_is_answered_and_a_beginning_message_is_not() {
    let rules = || {
        vec![
            asks(&["^su:"], When::ALWAYS, Reaction::Ignore),
            asks(&[], When::UNANSWERED, Reaction::Answer(Some("pw".into()))),
        ]
    };
    for prompt in [
        "Password: ",
        "Passwort:",
        "\u{5bc6}\u{7801}\u{ff1a}",
        "\rx y: ",
    ] {
        let mut dialogue = Dialogue::new(rules());
        let act = dialogue.terminal(prompt.as_bytes());
        assert_eq!(act, Some(Act::Type("pw".into())), "{prompt}");
        assert_eq!(dialogue.terminal(b"su: "), None);
        assert_eq!(dialogue.terminal(b"again: "), None);
    }
    let mut dialogue = Dialogue::new(rules());
    assert_eq!(dialogue.terminal(b"su: "), None);
    assert_eq!(dialogue.terminal(b"no such user\nPassword"), None);
}

#[test]
fn notes_of_earlier_lines_stand_in_the_reason_and_the_advice() {
    let note = |number, texts: &[&str]| Rule::line(When::ALWAYS, texts, Reaction::Note(number));
    let rules = vec![
        note(0, &["^key "]),
        note(2, &["^key ", " of "]),
        Rule::explain(
            When::ALWAYS,
            &["^failed with "],
            ConnectErrorKind::HostKey,
            "%0|%1|%2|100 % of %",
            "run 'x %0' at 5 %",
        ),
    ];
    let mut dialogue = Dialogue::new(rules);
    assert!(dialogue.line(b"key 1 of ';rm x'"), "notes hide no line");
    dialogue.line(b"failed with 7");
    let why = dialogue.explanation().expect("it is known");
    // Whoever wrote the line must not end the quotes of a command.
    assert_eq!(why.detail, "1 of ;rm x||1|100 % of 7");
    assert_eq!(why.hint, "run 'x 1 of ;rm x' at 5 %");
}

#[test]
fn a_reason_is_forgotten_with_the_facts_that_came_with_it() {
    let says = |needs, text: &str| {
        let when = When { needs, lacks: 0 };
        Rule::explain(when, &[text], ConnectErrorKind::HostKey, text, "")
    };
    let mut rules = vec![says(0, "^cause"), says(4, "^effect"), says(0, "^other")];
    rules[0].sets = 4;
    rules.push(Rule::line(When::ALWAYS, &["^fine"], Reaction::Forget));
    let detail = |lines: &[&str]| {
        let mut dialogue = Dialogue::new(rules.clone());
        for line in lines {
            dialogue.line(line.as_bytes());
        }
        dialogue.explanation().map(|why| why.detail.clone())
    };
    assert_eq!(detail(&["cause", "effect"]).as_deref(), Some("^effect"));
    assert_eq!(detail(&["cause", "fine", "effect"]), None);
    let other = detail(&["cause", "other", "effect"]);
    assert_eq!(other.as_deref(), Some("^other"));
}

#[test]
fn a_known_line_explains_the_failure() {
    let mut dialogue = sudo(None);
    dialogue.line(b"mallory is not in the sudoers file.  This incident will be reported.");
    assert_eq!(
        dialogue.explanation().map(|why| why.kind),
        Some(ConnectErrorKind::Denied)
    );
}
