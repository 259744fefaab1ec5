//! The stock agent.

// In this program alone: the memory of other agents is for their own programs to choose.
#[cfg(all(target_env = "musl", not(test)))]
#[allow(unsafe_code)]
#[path = "sys/heap.rs"]
mod heap;

fn main() {
    offshoot_agent::stock_main()
}
