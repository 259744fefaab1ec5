#[offshoot::remote(fast)]
fn nothing() {}

#[offshoot::remote(policy = everybody)]
fn nobody() {}

#[offshoot::remote(quick = true)]
fn somebody() {}

fn main() {}
