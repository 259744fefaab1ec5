//! The number of this build.

/// The number that tells builds apart whose messages may differ: a sum over the sources of all
/// crates of an agent.
pub const BUILD: u64 = combined([
    number(env!("OFFSHOOT_SOURCES")),
    number(offshoot_codec::SOURCES),
    number(offshoot_proto::SOURCES),
    number(offshoot_sys::SOURCES),
]);

/// Returns the number in the hexadecimal digits that a build script has set.
const fn number(digits: &str) -> u64 {
    match u64::from_str_radix(digits, 16) {
        Ok(number) => number,
        Err(_) => panic!("the build script sets a number"),
    }
}

/// Returns one number for several, in their order.
const fn combined(parts: [u64; 4]) -> u64 {
    let (mut sum, mut at) = (0_u64, 0);
    while at < parts.len() {
        sum = sum.rotate_left(16).wrapping_mul(0x0100_0000_01B3) ^ parts[at];
        at += 1;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::{BUILD, combined};

    #[test]
    fn each_part_changes_the_number() {
        let whole = [1, 2, 3, 4];
        for at in 0..whole.len() {
            let mut other = whole;
            other[at] ^= 1 << 40;
            assert_ne!(combined(whole), combined(other), "part {at}");
        }
        assert_ne!(BUILD, 0);
    }
}
