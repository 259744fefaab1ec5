fn plain(number: u32) -> u32 {
    number
}

struct Plain {
    number: u32,
}

fn main() {
    let router = offshoot::Router::new().unwrap();
    let _ = router.call(Plain { number: plain(7) });
}
