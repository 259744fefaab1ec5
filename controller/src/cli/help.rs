//! `offshoot help`: the help texts of the commands, and the grammar of targets.

use super::command::COMMANDS;
use super::target_help;
use super::ui::page::print;
use clap::builder::{PossibleValue, PossibleValuesParser};
use clap::{Arg, Command};

/// The name of the command.
pub(super) const NAME: &str = "help";
const SUBJECT: &str = "subject";
const SUBJECT_TARGETS: &str = "targets";
const METHOD: &str = "method";

/// Returns the command for clap.
pub(super) fn command() -> Command {
    let targets = PossibleValue::new(SUBJECT_TARGETS).help("The grammar of targets");
    let commands = COMMANDS
        .iter()
        .map(|row| PossibleValue::new(row.name).help(format!("The command `{}`", row.name)));
    let subjects = PossibleValuesParser::new([targets].into_iter().chain(commands));
    Command::new(NAME)
        .about("Explain a subject: `offshoot help targets` has the grammar of targets")
        .arg(
            Arg::new(SUBJECT)
                .value_name("SUBJECT")
                .value_parser(subjects)
                .help("The subject to explain"),
        )
        .arg(
            Arg::new(METHOD)
                .value_name("METHOD")
                .value_parser(PossibleValuesParser::new(target_help::methods()))
                .hide_possible_values(true)
                .help("With targets: the method whose options to explain, or all"),
        )
}

/// Prints the help text of the subject, or that of the whole program if no subject was given, and
/// ends this program.
pub(super) fn explain(mut program: Command, matches: &clap::ArgMatches) -> ! {
    program.build();
    let method = matches.get_one::<String>(METHOD).map(String::as_str);
    let text = match matches.get_one::<String>(SUBJECT).map(String::as_str) {
        Some(SUBJECT_TARGETS) => target_help::text(method),
        Some(name) => program
            .find_subcommand_mut(name)
            .map(|command| command.render_long_help().to_string())
            .unwrap_or_default(),
        None => program.render_long_help().to_string(),
    };
    print(text.trim_end())
}
