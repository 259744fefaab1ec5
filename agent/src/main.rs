//! The stock agent.
#![cfg_attr(all(target_env = "musl", not(test)), no_main)]

#[cfg(all(target_env = "musl", not(test)))]
offshoot_sys::stock_program!(offshoot_agent::stock_main);

#[cfg(not(all(target_env = "musl", not(test))))]
fn main() {
    use std::os::unix::ffi::OsStringExt;

    offshoot_agent::stock_main(std::env::args_os().map(OsStringExt::into_vec).collect())
}
