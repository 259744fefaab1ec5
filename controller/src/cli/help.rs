//! `offshoot help`: the commands and the grammar of targets.

use super::command::COMMANDS;
use super::exit::TRANSPORT;
use super::targets;
use super::ui::notes;
use super::ui::outlet::Outlet;
use clap::builder::{PossibleValue, PossibleValuesParser};
use clap::{Arg, Command};
use std::process::exit;

/// The word that calls it.
pub const NAME: &str = "help";
const SUBJECT: &str = "subject";
const SUBJECT_TARGETS: &str = "targets";

/// Returns the command as clap knows it.
pub fn command() -> Command {
    let targets = PossibleValue::new(SUBJECT_TARGETS).help("How targets are written");
    let commands =
        COMMANDS.iter().map(|row| PossibleValue::new(row.name).help(format!("The command `{}`", row.name)));
    let subjects = PossibleValuesParser::new([targets].into_iter().chain(commands));
    Command::new(NAME)
        .about("Explains a subject: `offshoot help targets` has the grammar of targets")
        .arg(Arg::new(SUBJECT).value_name("SUBJECT").value_parser(subjects).help("What is to be explained"))
}

/// Explains the subject that was named to the help command, or `program` as a whole.
pub fn explain(mut program: Command, matches: &clap::ArgMatches) -> ! {
    program.build();
    let text = match matches.get_one::<String>(SUBJECT).map(String::as_str) {
        Some(SUBJECT_TARGETS) => targets::help::text(),
        Some(name) => program
            .find_subcommand_mut(name)
            .map(|command| command.render_long_help().to_string())
            .unwrap_or_default(),
        None => program.render_long_help().to_string(),
    };
    print(text.trim_end())
}

/// Prints what was asked for, and ends.
pub fn print(text: &str) -> ! {
    let printed = Outlet::stdout().and_then(|stdout| stdout.write(format!("{text}\n").as_bytes()));
    match printed {
        // A reader that has seen enough is no error.
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            notes::tell(&format!("writing the output: {error}"));
            exit(TRANSPORT)
        }
        _ => exit(0),
    }
}
