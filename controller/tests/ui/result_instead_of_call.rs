#[offshoot::remote]
fn double(number: u32) -> u32 {
    number * 2
}

fn main() {
    let router = offshoot::Router::new().unwrap();
    // What runs here is not what runs there.
    let _ = router.call(double(7));
}
