#[offshoot::remote(flatten)]
fn number() -> u32 {
    7
}

fn main() {}
