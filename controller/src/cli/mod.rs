//! The command line. It uses only the public parts of the library.
//!
//! A file or a folder imports only from those before it in this order: `exit` and `event`;
//! `targets`, the grammar of targets, which is pure; `ui`, the streams, the terminal and the
//! signals of this process; `args`, the shared options; `connect`, from targets to contexts; `app`,
//! the tree and its end; `command`, one file for each; `help`; this file.

mod app;
mod args;
mod ask;
mod command;
mod connect;
mod event;
mod exit;
mod help;
mod target_help;
mod ui;

use clap::Command;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use command::COMMANDS;
use exit::{USAGE, misused};
use offshoot_agent::command_line::{hide_memory, leave_no_core};
use std::process::exit;

const EXAMPLES: &str = "\
Examples:
  offshoot run web1 -- uname -a               on a host, with your ssh configuration
  offshoot run deploy@web1/sudo -- id -u      as root, behind ssh and sudo
  offshoot run web1 web2 web3 -- uptime       on several hosts at once
  offshoot ping bastion/ssh:db7               the round trip time
  offshoot plan web1/sudo                     what would be executed, without doing it
  offshoot doctor web1/sudo                   what each hop has, and what to change there

`offshoot run --help` has the details, and `offshoot help targets` the grammar of targets.
A target needs Linux and a POSIX shell. Nothing is installed there, and nothing is left behind.";

/// Reads the command line and runs its command.
pub(crate) fn main() -> ! {
    ui::signals::survive_file_limits();
    // Passwords are typed here: only root may read the memory, and there is no core file.
    hide_memory();
    leave_no_core();
    let matches = words()
        .try_get_matches()
        .unwrap_or_else(|error| refuse(error));
    match matches.subcommand() {
        Some((help::NAME, matches)) => help::explain(words(), matches),
        Some((name, matches)) => match COMMANDS.iter().find(|row| row.name == name) {
            Some(row) => (row.run)(matches),
            None => misused(format!("there is no command {name}")),
        },
        None => misused("a command is missing"),
    }
}

/// Returns the command line as clap knows it.
fn words() -> Command {
    let commands = COMMANDS
        .iter()
        .map(|row| (row.describe)(Command::new(row.name)));
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

/// Prints the error of clap and ends this program. Explains two mistakes that clap cannot know:
/// options of ssh, and a missing `--`, after which the arguments of the program look like options.
fn refuse(error: clap::Error) -> ! {
    let words: Vec<_> = std::env::args_os().skip(1).collect();
    let command = COMMANDS
        .iter()
        .find(|row| words.first().is_some_and(|word| word == row.name));
    let forgotten = command
        .filter(|row| row.takes_program && !words.iter().any(|word| word == "--"))
        .map(|row| row.name);
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            ui::page::print(error.render().to_string().trim_end())
        }
        ErrorKind::UnknownArgument => {
            let context = |kind| match error.get(kind) {
                Some(ContextValue::String(text)) => Some(offshoot::harmless(text)),
                _ => None,
            };
            let option = context(ContextKind::InvalidArg).unwrap_or_default();
            let similar = context(ContextKind::SuggestedArg);
            let verb = words
                .first()
                .map(|word| offshoot::harmless(&word.to_string_lossy()))
                .unwrap_or_default();
            if let Some(command) = forgotten {
                eprintln!("offshoot: unknown option {option} of offshoot {command}.");
                forgot_separator(command)
            }
            if !option.starts_with('-') {
                misused(format!(
                    "one argument too many: {option}; see offshoot {verb} --help"
                ))
            }
            if option.starts_with("--pass") {
                misused(format!("{option}: {}", args::NO_PASSWORDS))
            }
            match (args::advice_for_ssh_option(&option), similar) {
                (Some(advice), _) => misused(format!("{option}: {advice}")),
                (None, Some(similar)) => {
                    misused(format!("unknown option {option}; did you mean {similar}?"))
                }
                (None, None) => misused(format!(
                    "unknown option {option}; see offshoot {verb} --help"
                )),
            }
        }
        // The value of -p may be a password, as with other tools, and is not repeated.
        ErrorKind::InvalidValue | ErrorKind::ValueValidation if is_port(&error) => {
            misused(format!(
                "-p: a port is a number from 1 to 65535; {}",
                args::NO_PASSWORDS
            ))
        }
        ErrorKind::InvalidValue => {
            let Some(command) = forgotten else {
                error.exit()
            };
            // clap writes to stderr; if stderr is closed, nobody can be told.
            let _ = error.print();
            forgot_separator(command)
        }
        _ => error.exit(),
    }
}

/// Returns true if the error is about the value of -p.
fn is_port(error: &clap::Error) -> bool {
    match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(argument)) => argument.starts_with("-p"),
        _ => false,
    }
}

/// Explains the missing `--` and ends this program.
fn forgot_separator(command: &str) -> ! {
    eprintln!("\nThe program and its arguments come after `--`: offshoot {command} web1 -- ls -l");
    exit(USAGE)
}
