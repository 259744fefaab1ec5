//! The commands: one file has the arguments, the help and the code of one, and one row of [`COMMANDS`] makes it known.

mod ping;
mod run;

use clap::ArgMatches;
use ping::Ping;
use run::Run;

/// A command of `offshoot`. The arguments and the help come from clap's derive.
pub trait Command: clap::Args {
    /// The word that calls it.
    const NAME: &str;
    /// True if a program and its arguments stand at the end of its words, behind `--`.
    const TAKES_PROGRAM: bool = false;

    /// Runs the command and ends this program.
    fn run(self) -> !;
}

/// A row of the table of commands.
pub struct Row {
    /// The word that calls it.
    pub name: &'static str,
    /// True if a program stands behind `--`.
    pub takes_program: bool,
    /// Adds its arguments and its help to a command of clap.
    pub describe: fn(clap::Command) -> clap::Command,
    /// Runs it with what clap has read.
    pub run: fn(&ArgMatches) -> !,
}

/// All commands, in the order in which help lists them.
pub const COMMANDS: &[Row] = &[row::<Run>(), row::<Ping>()];

const fn row<C: Command>() -> Row {
    Row {
        name: C::NAME,
        takes_program: C::TAKES_PROGRAM,
        describe: C::augment_args,
        run: |matches| C::from_arg_matches(matches).unwrap_or_else(|error| error.exit()).run(),
    }
}
