struct Counter(u32);

impl Counter {
    #[offshoot::remote]
    fn count(&self) -> u32 {
        self.0
    }
}

fn main() {}
