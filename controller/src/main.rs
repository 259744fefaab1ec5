//! The command line `offshoot`; all of it is in [`cli`].

mod cli;

fn main() {
    cli::main()
}
