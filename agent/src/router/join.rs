//! Joins the tree of another process of this user, over the socket that it listens on.

use crate::broker::Broker;
use crate::broker::dispatch::serve;
use crate::call::signatures::hello;
use crate::context::Context;
use crate::log::sink::Sink;
use crate::router::Router;
use crate::router::socket_file::address;
use crate::runtime::handle::NodeHandle;
use crate::runtime::image_store::AgentSource;
use crate::runtime::image_store::Find;
use crate::runtime::image_store::Images;
use crate::runtime::role::NodeRole;
use crate::runtime::wait;
use offshoot_codec as codec;
use offshoot_proto::Error;
use offshoot_proto::Result;
use offshoot_proto::message::boot::BootInfo;
use offshoot_proto::message::handshake::REFUSED;
use offshoot_proto::node::Node;
use offshoot_proto::text::one_line;
use offshoot_proto::wire::Decoder;
use offshoot_proto::wire::Kind;
use offshoot_sys as sys;
use offshoot_sys::socket::connect;
use offshoot_sys::socket::peer;
use std::io::ErrorKind;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// The longest that the listener may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// The most bytes of a refusal that are read.
const REFUSAL_LIMIT: usize = 1024;

/// Joins the tree of the process that listens at `path` ([`Router::listen`]), as a child of its
/// context and with the authority of a child. That process must run as the same user. Contexts
/// above this one may call the functions of this program, and can do here whatever this user can.
///
/// Contexts that this process starts through the router are its children. Dropping the router
/// leaves the tree: the children end, and this process continues. The end of the listener's process
/// has the same effect, and pending calls get an error.
///
/// # Errors
/// Returns an error if no process listens there or one of another user does, if the two programs
/// were built from other sources, or if the other one does not answer.
pub fn join(path: impl AsRef<Path>) -> Result<Router> {
    Router::builder().join(path)
}

/// Joins at `path`, with a way to find images for children.
pub(crate) fn join_with(path: &Path, find: Find, sent: AgentSource) -> Result<Router> {
    let failed = |detail: &str| Error::System {
        action: format!("joining at {}", path.display()),
        detail: detail.into(),
    };
    let system = |error: std::io::Error| failed(&error.to_string());
    offshoot_proto::collections::index_map::seed(offshoot_sys::random());
    offshoot_sys::limits::raise_descriptors();
    let (short, _folder) = address(path).map_err(system)?;
    let mut stream = connect(&short, PATIENCE).map_err(|error| match error.kind() {
        ErrorKind::ConnectionRefused => failed("no process listens there any more"),
        ErrorKind::NotFound => failed("no process listens there"),
        ErrorKind::PermissionDenied => failed("the socket belongs to another user"),
        _ => system(error),
    })?;
    let (own, other) = (
        offshoot_sys::user::effective(),
        peer(&stream).map_err(system)?.user,
    );
    if own != other {
        // The parent has authority over this process: root must not obey a socket of any other
        // user.
        return Err(failed(&format!(
            "a process of user {other} listens there, and this process runs as user {own}"
        )));
    }
    let (mut node, up) = Node::agent();
    node.control(up, Kind::Hello, codec::own(&hello()));
    let mut hello = Vec::new();
    node.transmit(up, &mut hello, usize::MAX);
    stream.set_write_timeout(Some(PATIENCE)).map_err(system)?;
    // A peer that refused at once may have closed the socket; the reason is still there to read.
    sys::write_signals::suppress();
    let _ = sys::write(&stream, &hello);
    let (boot, bytes) = read_boot(&mut stream).map_err(|why| failed(&why))?;

    let shared = NodeHandle::new(node, Images::found(find))?;
    Sink::open(&shared);
    shared.sent_agent.store(sent as u8, Ordering::Relaxed);
    let place = NodeRole::Joined(up);
    serve(&shared, &place);
    let mut broker = Broker::new(Arc::clone(&shared), place);
    let input = OwnedFd::from(stream.try_clone().map_err(system)?);
    broker.attach_parent(up, input, stream.into())?;
    broker.frames(up, &bytes);
    let context = Context::new(&shared, boot.id, boot.name.as_str().into());
    Router::running(context, broker)
}

/// Reads until the listener has sent this process's identity. Returns it with all bytes read.
fn read_boot(stream: &mut UnixStream) -> Result<(BootInfo, Vec<u8>), String> {
    let end = wait::now() + PATIENCE;
    let (mut bytes, mut decoder) = (Vec::new(), Decoder::default());
    let mut buffer = vec![0; 64 << 10];
    let mut refused = false;
    loop {
        let left = wait::left(end).max(Duration::from_millis(1));
        stream
            .set_read_timeout(Some(left))
            .map_err(|error| error.to_string())?;
        let count = match stream.read(&mut buffer) {
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Err("no answer".into()),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => 0,
            Err(error) => return Err(error.to_string()),
        };
        bytes.extend_from_slice(&buffer[..count]);
        refused |= bytes.starts_with(REFUSED.as_bytes());
        if refused {
            if count > 0 && bytes.len() < REFUSAL_LIMIT && !bytes.ends_with(b"\n") {
                continue;
            }
            return Err(one_line(String::from_utf8_lossy(&bytes).trim_end()));
        }
        if count == 0 {
            return Err("the other process has closed the connection".into());
        }
        let mut piece = &buffer[..count];
        while let Some(frame) = decoder
            .next_frame(&mut piece)
            .map_err(|error| error.to_string())?
        {
            if frame.header.kind != Kind::Boot {
                continue;
            }
            let boot =
                codec::from_own::<BootInfo>(&frame.payload).map_err(|error| error.to_string())?;
            return Ok((boot, bytes));
        }
        if wait::now() >= end {
            return Err("no answer".into());
        }
    }
}
