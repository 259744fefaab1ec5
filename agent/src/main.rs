//! The stock agent.
#![cfg_attr(all(target_env = "musl", not(test)), no_main)]

// In this program alone: memory and start of other agents are for their own programs to choose.
#[cfg(all(target_env = "musl", not(test)))]
#[allow(unsafe_code)]
#[path = "sys/entry.rs"]
mod entry;
#[cfg(all(target_env = "musl", not(test)))]
#[allow(unsafe_code)]
#[path = "sys/heap.rs"]
mod heap;

#[cfg(not(all(target_env = "musl", not(test))))]
fn main() {
    use std::os::unix::ffi::OsStringExt;

    offshoot_agent::stock_main(std::env::args_os().map(OsStringExt::into_vec).collect())
}
