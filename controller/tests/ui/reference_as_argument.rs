#[offshoot::remote]
fn length(text: &str) -> usize {
    text.len()
}

#[offshoot::remote]
fn late_context(text: String, cx: &offshoot::Context) -> String {
    text + cx.name()
}

fn main() {}
