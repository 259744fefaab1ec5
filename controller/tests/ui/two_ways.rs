#[offshoot::remote(serial, shared)]
fn nothing() {}

fn main() {}
