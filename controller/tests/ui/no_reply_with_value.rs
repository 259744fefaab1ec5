#[offshoot::remote(no_reply)]
fn number() -> u32 {
    7
}

fn main() {}
