#[offshoot::remote]
fn sum((one, other): (u32, u32)) -> u32 {
    one + other
}

fn main() {}
