//! The ioctls that give a namespace its loopback and a TUN device with an address.
//!
//! All act on the network namespace of the calling thread.

use std::fs::{File, OpenOptions};
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::OpenOptionsExt as _;

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

/// Marks an interface as up.
///
/// # Errors
/// Returns the errors of the ioctl.
pub fn bring_up(name: &str) -> io::Result<()> {
    set_flags(name, libc::IFF_UP | libc::IFF_RUNNING)
}

/// Marks an interface as down; packets are dropped silently.
///
/// # Errors
/// Returns the errors of the ioctl.
pub fn bring_down(name: &str) -> io::Result<()> {
    set_flags(name, 0)
}

fn set_flags(name: &str, flags: libc::c_int) -> io::Result<()> {
    let control = socket(
        AddressFamily::Inet,
        SockType::Datagram,
        SockFlag::SOCK_CLOEXEC,
        None,
    )?;
    let mut request = request(name);
    request.ifr_ifru.ifru_flags = flags as i16;
    configure(&control, libc::SIOCSIFFLAGS, &request)
}

/// Creates a TUN device with a /24 address and brings it up. Reads and writes of the file do not
/// block.
///
/// # Errors
/// Returns the errors of opening `/dev/net/tun` and of the ioctls.
pub fn open_tun(name: &str, address: Ipv4Addr) -> io::Result<File> {
    let tun = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK)
        .open("/dev/net/tun")?;
    let mut creation = request(name);
    creation.ifr_ifru.ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI) as i16;
    // SAFETY: TUNSETIFF takes a pointer to an ifreq, which lives until the call returns.
    let made = unsafe { libc::ioctl(tun.as_raw_fd(), libc::TUNSETIFF, &raw mut creation) };
    if made < 0 {
        return Err(io::Error::last_os_error());
    }
    let control = socket(
        AddressFamily::Inet,
        SockType::Datagram,
        SockFlag::SOCK_CLOEXEC,
        None,
    )?;
    let mut addressed = request(name);
    addressed.ifr_ifru.ifru_addr = socket_address(address);
    let mut masked = request(name);
    masked.ifr_ifru.ifru_netmask = socket_address(Ipv4Addr::new(255, 255, 255, 0));
    let mut queued = request(name);
    // The queue must hold a whole congestion window, twice the bandwidth-delay product of 1 Gbit/s
    // and 250 ms: packets are read one at a time, and late on a busy machine.
    queued.ifr_ifru.ifru_metric = 50_000;
    configure(&control, libc::SIOCSIFADDR, &addressed)?;
    configure(&control, libc::SIOCSIFNETMASK, &masked)?;
    configure(&control, libc::SIOCSIFTXQLEN, &queued)?;
    bring_up(name)?;
    Ok(tun)
}

fn configure(control: &OwnedFd, what: libc::Ioctl, request: &libc::ifreq) -> io::Result<()> {
    // SAFETY: the request is a whole ifreq with a terminated name, and the SIOCSIF ioctls only read
    // it.
    match unsafe { libc::ioctl(control.as_raw_fd(), what, std::ptr::from_ref(request)) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn request(name: &str) -> libc::ifreq {
    // SAFETY: an ifreq is plain data for which all zeroes is a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    assert!(
        name.len() < request.ifr_name.len(),
        "an interface name has at most 15 bytes"
    );
    for (slot, byte) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *slot = byte as libc::c_char;
    }
    request
}

fn socket_address(address: Ipv4Addr) -> libc::sockaddr {
    let internet = libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: 0,
        sin_addr: libc::in_addr {
            s_addr: u32::from_ne_bytes(address.octets()),
        },
        sin_zero: [0; 8],
    };
    // SAFETY: sockaddr_in and sockaddr have the same size, and any bytes are a valid sockaddr.
    unsafe { std::mem::transmute::<libc::sockaddr_in, libc::sockaddr>(internet) }
}
