#[derive(Debug)]
pub struct Refused;

#[offshoot::remote]
fn refuse() -> Result<(), Refused> {
    Err(Refused)
}

fn main() {}
