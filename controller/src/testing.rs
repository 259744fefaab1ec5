//! Test programs of `cargo test` as their own image. The harness has the `main`, so users cannot
//! call [`init`](crate::init) in it; this module calls it before `main`.
//!
//! An agent never returns from that call. It lacks what std prepares for `main`: the arguments,
//! which are read from /proc here, and the message at a stack overflow.

fn become_agent() {
    let arguments = std::fs::read("/proc/self/cmdline").unwrap_or_default();
    let mut arguments: Vec<Vec<u8>> = arguments
        .split(|byte| *byte == 0)
        .map(<[u8]>::to_vec)
        .collect();
    // Each argument ends with a NUL, so the last piece is none.
    arguments.pop();
    offshoot_agent::init_with(arguments);
}

offshoot_agent::before_main!(become_agent);
