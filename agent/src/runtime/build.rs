/// Tells builds apart whose messages may differ: a sum over the sources of this crate.
pub(crate) const BUILD: u64 = match u64::from_str_radix(env!("OFFSHOOT_SOURCES"), 16) {
    Ok(build) => build,
    Err(_) => panic!("the build script sets a number"),
};
