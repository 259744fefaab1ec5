//! The agent of these tests: prints its arguments and descriptors, then echoes stdin.

use std::io::{Read, Write};

fn main() -> std::io::Result<()> {
    let words: Vec<String> = std::env::args().collect();
    let held: Vec<u8> = words[1].bytes().take(2).map(|character| character - b'0').collect();
    let image = std::fs::read(format!("/proc/self/fd/{}", held[0]));
    let writable = |fd: u8| {
        std::fs::OpenOptions::new()
            .append(true)
            .open(format!("/proc/self/fd/{fd}"))
            .and_then(|mut file| file.write(b"x"))
    };
    let changed = held.iter().any(|&fd| writable(fd).is_ok());
    let kept = std::env::var("KEPT");
    println!("up {words:?} {kept:?} image {:?} changed {changed}", image.map(|image| checksum(&image)).ok());
    let mut rest = Vec::new();
    std::io::stdin().read_to_end(&mut rest)?;
    std::io::stdout().write_all(&rest)
}

fn checksum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash: u32, &byte| (hash ^ byte as u32).wrapping_mul(0x0100_0193))
}
