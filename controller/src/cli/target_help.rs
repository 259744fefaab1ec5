//! The texts of `offshoot help targets`: the grammar and a line for each method, or one method with
//! its options, from its description.

use offshoot::methods::spec::{Argument, COMMON, OptionSpec, Spec};
use offshoot::methods::{DEFAULT_HEARTBEAT, Method};
use offshoot::methods::{METHODS, Row};

/// The longest line, in columns.
const WIDTH: usize = 100;
/// The column of the options.
const KEYS: usize = 4;
/// The column of their explanations.
const EXPLANATIONS: usize = 29;

const GRAMMAR: &str = "\
A target is a path of hops, separated by /, that begins at this machine:

    web1                              a host by ssh, under a name that your ssh knows
    deploy@web1:2222                  with user and port
    web1/sudo                         root on that host, by sudo
    ssh:bastion/ssh:db7/sudo:postgres a host behind another host, and a user there
    local, local/sudo                 this machine
    web1/sudo/docker:app              a container on that host

A hop is METHOD:ARGUMENT,KEY=VALUE,... A word that is not a method is an ssh host; ssh:sudo is a
host named sudo. Hops that several targets share, options included, are connected once.

";

const QUOTES: &str = "\
The options -F, -i, -o, -l, -p, -C, -J and -A do the same for the first ssh hop of each target,
where the hop has no such option itself. -J HOSTS is option=ProxyJump=HOSTS, which jumps with the
keys of this machine, and -A is option=ForwardAgent=yes.

A password file is read on this machine: its first line, without the line end.

Text in square brackets is literal, and outside of them %XX is a byte in hexadecimal, for values
with / or , or : in them:
    'sudo,password-file=[/etc/web1]'     the same as sudo,password-file=%2Fetc%2Fweb1
    'deploy@[2001:db8::7]:2222'          an IPv6 address
Some shells expand [ and ], hence the quotes.";

/// The word for the options of all methods.
const ALL: &str = "all";

/// Returns the words that the help text of targets takes.
pub(crate) fn methods() -> impl Iterator<Item = &'static str> {
    METHODS.iter().map(|row| row.spec.name).chain([ALL])
}

/// Returns the help text for a method, or the grammar and a list of all methods.
pub(crate) fn text(name: Option<&str>) -> String {
    let mut text = String::new();
    let chosen = |row: &&Row| name == Some(ALL) || name == Some(row.spec.name);
    for (number, row) in METHODS.iter().filter(chosen).enumerate() {
        if number > 0 {
            text.push('\n');
        }
        method(&mut text, row);
    }
    if name.is_none() {
        text.push_str(GRAMMAR);
        text.push_str(
            "The methods, with `offshoot help targets METHOD` for the options of one:\n\n",
        );
        for row in METHODS {
            let forms = form(row.spec);
            text.push_str(&format!("{:KEYS$}{forms}", ""));
            text.push_str(&format!("\n{:1$}", "", 2 * KEYS));
            wrap(&mut text, 2 * KEYS, row.spec.about);
        }
        text.push_str("\nHops of every method take:\n");
        COMMON.iter().for_each(|option| explain(&mut text, option));
        text.push('\n');
        text.push_str(QUOTES);
    }
    text
}

/// Adds the explanation of an option.
fn explain(text: &mut String, option: &OptionSpec) {
    let form = option.to_string();
    text.push_str(&format!("{:KEYS$}{form}", ""));
    // If the form is too long, its explanation begins on the next line.
    let column = KEYS + form.len();
    match column < EXPLANATIONS {
        true => text.push_str(&" ".repeat(EXPLANATIONS - column)),
        false => text.push_str(&format!("\n{:EXPLANATIONS$}", "")),
    }
    wrap(text, EXPLANATIONS, option.help);
}

/// Adds the explanation of a method.
fn method(text: &mut String, row: &Row) {
    let Spec {
        about,
        options,
        notes,
        ..
    } = row.spec;
    let default = match &row.spec.argument {
        Argument::Text {
            placeholder,
            default: Some(default),
            ..
        } => {
            format!("; {placeholder} is {default} unless given")
        }
        _ => String::new(),
    };
    wrap(text, 0, &format!("{} {about}{default}:", form(row.spec)));
    options.iter().for_each(|option| explain(text, option));
    let beat = row
        .build(&[])
        .map_or(DEFAULT_HEARTBEAT, |method| method.heartbeat());
    if beat != DEFAULT_HEARTBEAT {
        text.push_str(&format!("  Heartbeats go every {beat} seconds.\n"));
    }
    if !notes.is_empty() {
        text.push_str("  ");
        wrap(text, 2, notes);
    }
}

/// Returns the forms of a hop, as in `sudo or sudo:USER`.
fn form(spec: &Spec) -> String {
    let name = spec.name;
    match &spec.argument {
        Argument::None => name.into(),
        Argument::Host => format!("{name}:[USER@]HOST[:PORT]"),
        Argument::Text {
            placeholder,
            default: None,
            ..
        } => format!("{name}:{placeholder}"),
        Argument::TextOr {
            placeholder,
            option,
            ..
        } => {
            let option = spec.options.iter().find(|known| known.key == *option);
            let form = option.map_or_else(String::new, ToString::to_string);
            format!("{name}:{placeholder} or {name},{form}")
        }
        Argument::Text {
            placeholder,
            default: Some(_),
            ..
        } => format!("{name} or {name}:{placeholder}"),
    }
}

/// Adds words as lines of at most [`WIDTH`] columns. Lines after the first are indented.
fn wrap(text: &mut String, indent: usize, words: &str) {
    let mut column = text.chars().rev().take_while(|c| *c != '\n').count();
    let mut first = true;
    for word in words.split_whitespace() {
        let length = word.chars().count();
        if !first && column + 1 + length > WIDTH {
            text.push_str(&format!("\n{:indent$}", ""));
            column = indent;
            first = true;
        }
        if !first {
            text.push(' ');
            column += 1;
        }
        text.push_str(word);
        column += length;
        first = false;
    }
    text.push('\n');
}
