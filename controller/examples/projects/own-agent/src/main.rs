//! The agent: the binary with the package's name. `offshoot build-agent` makes its images.

use own_agent as _;

fn main() {
    offshoot::agent_main()
}
