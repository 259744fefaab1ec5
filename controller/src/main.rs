//! The program `offshoot`. Its code is in [`cli`].

#![forbid(unsafe_code)]

mod cli;

fn main() {
    cli::main()
}
