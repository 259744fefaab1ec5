//! Facts about processes from `/proc`: memory, descriptors, bytes moved. Nothing here waits.

use std::fs;
use std::io;

/// Returns a line of `smaps_rollup`, such as `Rss:` or `Pss:`, in bytes.
pub(crate) fn memory(pid: u32, line: &str) -> io::Result<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    field(&text, line).map(|kib| kib * 1024.0)
}

/// Returns the bytes that a process has read and written so far, from and to any file.
pub(crate) fn moved(pid: u32) -> io::Result<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/io"))?;
    Ok(field(&text, "rchar:")? + field(&text, "wchar:")?)
}

/// Returns the number of descriptors that a process has open.
pub(crate) fn descriptors(pid: u32) -> io::Result<usize> {
    Ok(fs::read_dir(format!("/proc/{pid}/fd"))?.count())
}

fn field(text: &str, name: &str) -> io::Result<f64> {
    let line = text
        .lines()
        .find(|line| line.starts_with(name))
        .unwrap_or_default();
    let number = line
        .split_ascii_whitespace()
        .nth(1)
        .and_then(|number| number.parse().ok());
    number.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("there is no {name}")))
}
