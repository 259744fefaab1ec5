//! The agent: the binary that has the package's name. `cargo xtask build-agent` makes the images of it.

use own_agent as _;

fn main() {
    offshoot::agent_main()
}
