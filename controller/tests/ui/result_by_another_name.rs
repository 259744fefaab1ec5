type Outcome = Result<u8, String>;

#[offshoot::remote]
fn number() -> Outcome {
    Ok(7)
}

fn main() {}
