//! The command line: what a person types, and what they see. It only uses the library's public parts.
//!
//! Nothing imports upward in this order: `exit` and `event`; `targets` (pure: the grammar of targets); `ui` (streams,
//! terminal and signals of this process); `args` (shared options); `connect` (targets to contexts); `app` (the tree
//! and its end); `command` (one file each); `help`; this file.

mod app;
mod args;
mod command;
mod connect;
mod event;
mod exit;
mod help;
mod targets;
mod ui;

use clap::Command;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use command::COMMANDS;
use exit::{USAGE, misused};
use std::process::exit;

const EXAMPLES: &str = "\
Examples:
  offshoot run web1 -- uname -a               by ssh, as your ssh configuration says
  offshoot run deploy@web1/sudo -- id -u      as root, behind ssh and sudo
  offshoot run web1 web2 web3 -- uptime       at several hosts at once
  offshoot ping bastion/ssh:db7               how far away is it?

`offshoot run --help` says more, and `offshoot help targets` how targets are written.
A target needs Linux and a POSIX shell. Nothing is installed there, and nothing is left.";

/// The program.
pub fn main() -> ! {
    let matches = words().try_get_matches().unwrap_or_else(|error| refuse(error));
    match matches.subcommand() {
        Some((help::NAME, matches)) => help::explain(words(), matches),
        Some((name, matches)) => match COMMANDS.iter().find(|row| row.name == name) {
            Some(row) => (row.run)(matches),
            None => misused(format!("there is no command {name}")),
        },
        None => misused("a command is missing"),
    }
}

/// The words of the command line.
fn words() -> Command {
    let commands = COMMANDS.iter().map(|row| (row.describe)(Command::new(row.name)));
    Command::new("offshoot")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Run programs behind any nesting of ssh and sudo, with nothing installed on the way")
        .after_help(EXAMPLES)
        .max_term_width(100)
        .subcommand_required(true)
        .arg_required_else_help(true)
        .disable_help_subcommand(true)
        .subcommands(commands)
        .subcommand(help::command())
}

/// Ends with what clap has to say, and with what it cannot know: options of ssh, and that the words after a missing `--` look
/// like options.
fn refuse(error: clap::Error) -> ! {
    let words: Vec<_> = std::env::args_os().skip(1).collect();
    let command = COMMANDS.iter().find(|row| words.first().is_some_and(|word| word == row.name));
    let forgotten =
        command.filter(|row| row.takes_program && !words.iter().any(|word| word == "--")).map(|row| row.name);
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            help::print(error.render().to_string().trim_end())
        }
        ErrorKind::UnknownArgument => {
            let said = |kind| match error.get(kind) {
                Some(ContextValue::String(text)) => Some(offshoot::harmless(text)),
                _ => None,
            };
            let option = said(ContextKind::InvalidArg).unwrap_or_default();
            let similar = said(ContextKind::SuggestedArg);
            let verb =
                words.first().map(|word| offshoot::harmless(&word.to_string_lossy())).unwrap_or_default();
            if let Some(command) = forgotten {
                eprintln!("offshoot: {option} is no option of offshoot {command}.");
                forgot_separator(command)
            }
            match (args::of_ssh(&option), similar) {
                (Some(sentence), _) => misused(format!("{option}: {sentence}")),
                (None, Some(similar)) => misused(format!("{option} is no option; is {similar} meant?")),
                (None, None) => misused(format!("{option} is no option; see offshoot {verb} --help")),
            }
        }
        ErrorKind::InvalidValue => {
            let Some(command) = forgotten else { error.exit() };
            // clap writes to stderr itself; nothing can be done where it is closed.
            let _ = error.print();
            forgot_separator(command)
        }
        _ => error.exit(),
    }
}

fn forgot_separator(command: &str) -> ! {
    eprintln!("\nThe program and its arguments stand after `--`: offshoot {command} web1 -- ls -l");
    exit(USAGE)
}
