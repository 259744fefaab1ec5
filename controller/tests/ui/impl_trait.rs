#[offshoot::remote]
fn length(text: impl AsRef<str>) -> usize {
    text.as_ref().len()
}

#[offshoot::remote]
fn numbers() -> impl Iterator<Item = u32> {
    0..3
}

fn main() {}
