//! Unix sockets: credentials of the peer, and connecting with a time limit.

use crate::errno::result;
use crate::fd::owned;
use std::io;
use std::os::fd::AsFd;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// Maximum length of a socket's path in bytes, without the closing NUL.
pub const LONGEST: usize = 107;

/// The process at the other end of a socket, as of when it connected or began to listen.
pub struct Peer {
    /// Process number.
    pub process: u32,
    /// Number of the effective user.
    pub user: u32,
}

/// Returns the peer of a connected socket.
///
/// # Errors
/// Returns an error if the system knows no peer.
pub fn peer(socket: impl AsFd) -> io::Result<Peer> {
    let mut found = libc::ucred {
        pid: 0,
        uid: u32::MAX,
        gid: u32::MAX,
    };
    let mut size = size_of_val(&found) as libc::socklen_t;
    let fd = socket.as_fd().as_raw_fd();
    // SAFETY: `found` is a variable of the size that is passed.
    let done = unsafe {
        libc::getsockopt(
            fd,
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut found).cast(),
            &mut size,
        )
    };
    result(done.into())?;
    Ok(Peer {
        process: found.pid as u32,
        user: found.uid,
    })
}

/// Turns Nagle's algorithm off for a TCP connection, and sends an acknowledgement that it delays.
/// Other descriptors stay as they are.
pub(crate) fn send_held_back(socket: impl AsFd) {
    let on: libc::c_int = 1;
    for option in [libc::TCP_NODELAY, libc::TCP_QUICKACK] {
        // SAFETY: `on` is a variable of the size that is passed, and only read.
        unsafe {
            libc::setsockopt(
                socket.as_fd().as_raw_fd(),
                libc::IPPROTO_TCP,
                option,
                (&raw const on).cast(),
                size_of_val(&on) as libc::socklen_t,
            )
        };
    }
}

/// Connects to the socket at `path`, waiting at most `patience` for the listener.
///
/// # Errors
/// Returns `InvalidInput` if the path is longer than [`LONGEST`] or contains NUL, `WouldBlock` if
/// the time is up, and otherwise the error of the system.
pub fn connect(path: &Path, patience: Duration) -> io::Result<UnixStream> {
    let bytes = path.as_os_str().as_bytes();
    if bytes.len() > LONGEST || bytes.contains(&0) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: plain numbers.
    let socket = owned(
        unsafe { libc::socket(libc::AF_UNIX, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0) }.into(),
    )?;
    let stream = UnixStream::from(socket);
    stream.set_write_timeout(Some(patience))?;
    let mut address = libc::sockaddr_un {
        sun_family: libc::AF_UNIX as libc::sa_family_t,
        sun_path: [0; LONGEST + 1],
    };
    for (to, from) in address.sun_path.iter_mut().zip(bytes) {
        *to = *from as libc::c_char;
    }
    // SAFETY: a complete address that is only read, with its size.
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
