#[offshoot::remote(quick)]
fn name(cx: &offshoot::Context) -> String {
    cx.name().to_owned()
}

fn main() {}
