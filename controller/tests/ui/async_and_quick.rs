#[offshoot::remote(quick)]
async fn wait_a_while() {}

fn main() {}
