//! The stock agent.

fn main() {
    offshoot_agent::stock_main()
}
