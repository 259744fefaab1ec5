//! The agent: `cargo xtask build-agent --package offshoot-test-agent`.

use offshoot_test_agent as _;

fn main() {
    offshoot::agent_main()
}
