//! Unix sockets between processes of one machine: who is at the other end, and a connect that does not wait for ever.

use crate::owned;
use crate::result;
use std::io;
use std::os::fd::AsFd;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// The longest path that a socket's address holds, its closing NUL not counted.
pub const LONGEST: usize = 107;

/// The process at the other end of a connected socket, as the kernel noted it when that was connected, or listened on.
pub struct Peer {
    /// Its number.
    pub process: u32,
    /// Its effective user.
    pub user: u32,
}

/// Who is at the other end of a socket.
///
/// # Errors
/// As the operating system gives them.
pub fn peer(socket: impl AsFd) -> io::Result<Peer> {
    let mut found = libc::ucred { pid: 0, uid: u32::MAX, gid: u32::MAX };
    let mut size = size_of_val(&found) as libc::socklen_t;
    let fd = socket.as_fd().as_raw_fd();
    // SAFETY: `found` is a place of the size that is given.
    let done = unsafe {
        libc::getsockopt(fd, libc::SOL_SOCKET, libc::SO_PEERCRED, (&raw mut found).cast(), &mut size)
    };
    result(done.into())?;
    Ok(Peer { process: found.pid as u32, user: found.uid })
}

/// Connects to the socket at `path`, and waits for whoever listens no longer than `patience`.
///
/// # Errors
/// As the operating system gives them, `WouldBlock` when the time is up.
pub fn connect(path: &Path, patience: Duration) -> io::Result<UnixStream> {
    let bytes = path.as_os_str().as_bytes();
    if bytes.len() > LONGEST || bytes.contains(&0) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: takes plain numbers.
    let socket =
        owned(unsafe { libc::socket(libc::AF_UNIX, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0) }.into())?;
    let stream = UnixStream::from(socket);
    stream.set_write_timeout(Some(patience))?;
    let mut address =
        libc::sockaddr_un { sun_family: libc::AF_UNIX as libc::sa_family_t, sun_path: [0; LONGEST + 1] };
    for (to, from) in address.sun_path.iter_mut().zip(bytes) {
        *to = *from as libc::c_char;
    }
    // SAFETY: a whole address that is only read, with its size.
    let done = unsafe {
        libc::connect(
            stream.as_raw_fd(),
            (&raw const address).cast(),
            size_of_val(&address) as libc::socklen_t,
        )
    };
    result(done.into())?;
    Ok(stream)
}
