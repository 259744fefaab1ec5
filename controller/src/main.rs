//! The program `offshoot`. Its code is in [`cli`].

mod cli;

fn main() {
    cli::main()
}
