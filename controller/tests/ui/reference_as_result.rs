#[offshoot::remote]
fn name() -> &'static str {
    "name"
}

fn main() {}
