pub struct Outcome;

#[offshoot::remote]
fn work() -> Outcome {
    Outcome
}

fn main() {}
