//! The contract of a command, and its row in the table.

use clap::ArgMatches;

/// A command of `offshoot`. Its arguments and its help text come from clap's derive.
pub(super) trait Command: clap::Args {
    /// The name on the command line.
    const NAME: &str;
    /// True if a program and its arguments come at the end, after `--`.
    const TAKES_PROGRAM: bool = false;

    /// Runs the command and ends this program.
    fn run(self) -> !;
}

/// A row of the table of commands.
pub(crate) struct Row {
    /// The name on the command line.
    pub name: &'static str,
    /// True if a program comes after `--`.
    pub takes_program: bool,
    /// Adds the arguments and the help text to a command of clap.
    pub describe: fn(clap::Command) -> clap::Command,
    /// Runs the command with the arguments that clap has read.
    pub run: fn(&ArgMatches) -> !,
}

/// Returns the row of a command.
pub(super) const fn row<C: Command>() -> Row {
    Row {
        name: C::NAME,
        takes_program: C::TAKES_PROGRAM,
        describe: C::augment_args,
        run: |matches| {
            C::from_arg_matches(matches)
                .unwrap_or_else(|error| error.exit())
                .run()
        },
    }
}
