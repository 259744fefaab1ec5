//! The stock agent.

fn main() {
    offshoot_agent::agent_main()
}
