//! An API server with one pod, for a real kubectl: as much of Kubernetes as `kubectl exec` needs.
//!
//! The pod `app` has the containers `main`, a busybox, and `bare`, without a shell; the pod `over`
//! has ended; and nobody may execute anything in the namespace `closed`. Programs run in the roots
//! of the containers. The server speaks plain HTTP, and the WebSocket protocol `v5.channel.k8s.io`:
//! the first byte of each message is its channel (0 stdin, 1 stdout, 2 stderr, 3 the status at the
//! end, 255 the end of another channel).

use std::io::{self, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use crate::rootfs::Rootfs;
use crate::scratch::ScratchDir;

/// The longest message of a client that is read.
const LONGEST: u64 = 1 << 24;

/// A running server. Dropped, it is gone with everything that it has started.
#[derive(Debug)]
pub struct Kube {
    address: SocketAddr,
    over: Arc<AtomicBool>,
    listener: Option<JoinHandle<()>>,
    roots: Arc<Roots>,
    scratch: ScratchDir,
}

#[derive(Debug)]
struct Roots {
    main: Rootfs,
    bare: Rootfs,
    open: Mutex<Vec<TcpStream>>,
}

impl Kube {
    /// Starts a server.
    ///
    /// # Panics
    /// Panics if the system gives no socket.
    pub fn start() -> Self {
        crate::require_sandbox();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("lo is up");
        let address = listener.local_addr().expect("it is bound");
        let over = Arc::new(AtomicBool::new(false));
        let roots = Arc::new(Roots {
            main: Rootfs::busybox(),
            bare: Rootfs::without_shell(),
            open: Mutex::default(),
        });
        let (ends, places) = (Arc::clone(&over), Arc::clone(&roots));
        let listener = std::thread::spawn(move || {
            let mut served = Vec::new();
            for client in listener.incoming().flatten() {
                if ends.load(Ordering::SeqCst) {
                    break;
                }
                let roots = Arc::clone(&places);
                let copy = client.try_clone().expect("descriptors are to be had");
                places.open.lock().expect("nobody panics").push(copy);
                // A client that goes away is no error.
                served.push(std::thread::spawn(move || drop(serve(client, &roots))));
            }
            for thread in served {
                let _ = thread.join();
            }
        });
        let kube = Self {
            address,
            over,
            listener: Some(listener),
            roots,
            scratch: ScratchDir::new("kube"),
        };
        let config = format!(
            "apiVersion: v1\nkind: Config\nclusters:\n- name: c\n  cluster: {{server: \"http://{address}\"}}\n\
             contexts:\n- name: c\n  context: {{cluster: c, user: u}}\n- name: away\n  context: {{cluster: away, user: u}}\n\
             current-context: c\nusers:\n- name: u\n  user: {{}}\n"
        );
        let away = "- name: away\n  cluster: {server: \"http://127.0.0.1:1\"}\ncontexts:";
        kube.scratch
            .file("config", config.replacen("contexts:", away, 1), 0o644);
        kube
    }

    /// Returns the configuration for kubectl.
    pub fn config(&self) -> String {
        self.scratch.path().join("config").display().to_string()
    }

    /// Returns the argument that makes kubectl keep its cache with this server.
    pub fn cache(&self) -> String {
        let cache = self.scratch.path().join("cache");
        format!("--cache-dir={}", cache.display())
    }
}

impl Drop for Kube {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        for client in self.roots.open.lock().expect("nobody panics").drain(..) {
            let _ = client.shutdown(std::net::Shutdown::Both);
        }
        let _ = TcpStream::connect(self.address);
        if let Some(listener) = self.listener.take() {
            let _ = listener.join();
        }
    }
}

/// Returns a kubectl that speaks WebSocket: the one that `cargo xtask test` has fetched, or that of
/// this machine if it is young enough.
pub fn kubectl() -> Option<PathBuf> {
    let fetched = std::env::var_os("OFFSHOOT_KUBECTL").map(PathBuf::from);
    let found = fetched.filter(|path| path.exists());
    let kubectl = found.unwrap_or_else(|| "kubectl".into());
    let said = Command::new(&kubectl)
        .args(["version", "--client"])
        .output()
        .ok()?;
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    let minor = said
        .split("v1.")
        .nth(1)?
        .split('.')
        .next()?
        .parse::<u32>()
        .ok()?;
    (minor >= 31).then_some(kubectl)
}

/// A request without its body.
struct Request {
    path: String,
    key: Option<String>,
}

fn read_request(reader: &mut impl io::BufRead) -> io::Result<Option<Request>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut key = None;
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            return Ok(Some(Request { path, key }));
        };
        if name.eq_ignore_ascii_case("sec-websocket-key") {
            key = Some(value.to_owned());
        }
    }
}

fn serve(client: TcpStream, roots: &Roots) -> io::Result<()> {
    let mut reader = BufReader::new(client.try_clone()?);
    while let Some(request) = read_request(&mut reader)? {
        let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
        let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        let (status, body) = match (parts.as_slice(), request.key) {
            (["api", "v1", "namespaces", _, "pods", pod, "exec"], _)
                if query.contains("container=none") =>
            {
                let message = format!("container none is not valid for pod {pod}");
                (400, failure(400, "BadRequest", &message))
            }
            (["api", "v1", "namespaces", _, "pods", _, "exec"], Some(key)) => {
                return execute(client, reader, &key, query, roots);
            }
            (["api", "v1", "namespaces", namespace, "pods", pod], _) => pod_of(namespace, pod),
            (["api"], _) => (200, r#"{"kind":"APIVersions","versions":["v1"]}"#.to_owned()),
            (["apis"], _) => (
                200,
                r#"{"kind":"APIGroupList","apiVersion":"v1","groups":[]}"#.to_owned(),
            ),
            (["api", "v1"], _) => (
                200,
                r#"{"kind":"APIResourceList","groupVersion":"v1","resources":[{"name":"pods","singularName":"pod",
                "namespaced":true,"kind":"Pod","verbs":["get"]}]}"#
                    .to_owned(),
            ),
            _ => (404, failure(404, "NotFound", "the server could not find the requested resource")),
        };
        write!(
            &client,
            "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )?;
    }
    Ok(())
}

fn failure(code: u16, reason: &str, message: &str) -> String {
    serde_json::json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message,
        "reason": reason, "code": code,
    })
    .to_string()
}

fn pod_of(namespace: &str, name: &str) -> (u16, String) {
    let phase = match (namespace, name) {
        ("closed", _) => {
            let message =
                format!("pods \"{name}\" is forbidden: User \"u\" cannot get resource \"pods\"");
            return (403, failure(403, "Forbidden", &message));
        }
        (_, "app") => "Running",
        (_, "over") => "Succeeded",
        _ => {
            let message = format!("pods \"{name}\" not found");
            return (404, failure(404, "NotFound", &message));
        }
    };
    let pod = serde_json::json!({
        "kind": "Pod", "apiVersion": "v1", "metadata": {"name": name, "namespace": namespace},
        "spec": {"containers": [{"name": "main"}, {"name": "bare"}]}, "status": {"phase": phase},
    });
    (200, pod.to_string())
}

/// Runs a program with its streams in the messages of a WebSocket.
fn execute(
    client: TcpStream,
    mut reader: BufReader<TcpStream>,
    key: &str,
    query: &str,
    roots: &Roots,
) -> io::Result<()> {
    write!(
        &client,
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\nSec-WebSocket-Protocol: v5.channel.k8s.io\r\n\r\n",
        accept(key)
    )?;
    let values = |name: &str| {
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        let values: Vec<String> = pairs
            .filter(|(known, _)| *known == name)
            .map(|(_, value)| decode(value))
            .collect();
        values
    };
    let root = match values("container").first().map(String::as_str) {
        Some("bare") => &roots.bare,
        _ => &roots.main,
    };
    let words = values("command");
    let out = Arc::new(Mutex::new(client));
    let program = words.first().cloned().unwrap_or_default();
    if !root.path().join("bin").join(&program).exists() {
        let message = format!(
            "error executing command in container: failed to exec in container: failed to start exec \"5f\": OCI \
             runtime exec failed: exec failed: unable to start container process: exec: \"{program}\": executable \
             file not found in $PATH: unknown"
        );
        return finish(&out, &failure(500, "InternalError", &message));
    }
    let mut child = Command::new("chroot")
        .arg(root.path())
        .args(&words)
        .env_clear()
        .env("PATH", "/bin:/usr/sbin")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut stdin = child.stdin.take();
    let copies = [
        copy(child.stdout.take(), 1, &out),
        copy(child.stderr.take(), 2, &out),
    ];
    let ending = Arc::clone(&out);
    let waiter = std::thread::spawn(move || wait(child, copies, &ending));
    while let Ok(Some((channel, bytes))) = message(&mut reader) {
        forward(&mut stdin, channel, &bytes);
    }
    // The kubelet closes the stdin when the connection has ended.
    drop(stdin);
    waiter.join().unwrap_or(Ok(()))
}

fn forward(stdin: &mut Option<ChildStdin>, channel: u8, bytes: &[u8]) {
    match channel {
        0 => {
            let written = stdin.as_mut().map(|pipe| pipe.write_all(bytes));
            if written.is_some_and(|done| done.is_err()) {
                *stdin = None;
            }
        }
        255 if bytes == [0] => *stdin = None,
        _ => {}
    }
}

fn copy(
    pipe: Option<impl Read + Send + 'static>,
    channel: u8,
    out: &Arc<Mutex<TcpStream>>,
) -> JoinHandle<()> {
    let out = Arc::clone(out);
    std::thread::spawn(move || {
        let Some(mut pipe) = pipe else { return };
        let mut buffer = [channel; 32 * 1024];
        while let Ok(length @ 1..) = pipe.read(&mut buffer[1..]) {
            if send(&out, 2, &buffer[..=length]).is_err() {
                return;
            }
        }
    })
}

fn wait(mut child: Child, copies: [JoinHandle<()>; 2], out: &Mutex<TcpStream>) -> io::Result<()> {
    let status = child.wait()?;
    for copy in copies {
        let _ = copy.join();
    }
    let status = match status.code() {
        Some(0) => r#"{"metadata":{},"status":"Success"}"#.to_owned(),
        code => serde_json::json!({
            "metadata": {}, "status": "Failure", "reason": "NonZeroExitCode",
            "message": "command terminated with non-zero exit code",
            "details": {"causes": [{"reason": "ExitCode", "message": code.unwrap_or(137).to_string()}]},
        })
        .to_string(),
    };
    finish(out, &status)
}

fn finish(out: &Mutex<TcpStream>, status: &str) -> io::Result<()> {
    send(out, 2, &[&[3], status.as_bytes()].concat())?;
    // 1000, the code of an ordinary end.
    send(out, 8, &[3, 232])
}

/// Sends a frame. Those of a server are not masked.
fn send(out: &Mutex<TcpStream>, kind: u8, payload: &[u8]) -> io::Result<()> {
    let mut frame = vec![0x80 | kind];
    match payload.len() {
        short @ 0..126 => frame.push(short as u8),
        medium @ 126..=0xffff => {
            frame.push(126);
            frame.extend((medium as u16).to_be_bytes());
        }
        long => {
            frame.push(127);
            frame.extend((long as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(payload);
    out.lock().expect("nobody panics").write_all(&frame)
}

/// Reads a message of a client: its channel, and its bytes. Returns `None` at the end.
fn message(reader: &mut impl Read) -> io::Result<Option<(u8, Vec<u8>)>> {
    let mut whole = Vec::new();
    loop {
        let mut head = [0; 2];
        reader.read_exact(&mut head)?;
        let length = match head[1] & 127 {
            126 => u64::from(u16::from_be_bytes(array(reader)?)),
            127 => u64::from_be_bytes(array(reader)?),
            short => u64::from(short),
        };
        let mask: [u8; 4] = array(reader)?;
        let mut payload = Vec::new();
        reader.take(length.min(LONGEST)).read_to_end(&mut payload)?;
        for (byte, mask) in payload.iter_mut().zip(mask.iter().cycle()) {
            *byte ^= mask;
        }
        match head[0] & 15 {
            8 => return Ok(None),
            9 | 10 => continue,
            _ => whole.extend(payload),
        }
        if head[0] & 0x80 != 0 && !whole.is_empty() {
            let bytes = whole.split_off(1);
            return Ok(Some((whole[0], bytes)));
        }
    }
}

fn array<const LENGTH: usize>(reader: &mut impl Read) -> io::Result<[u8; LENGTH]> {
    let mut bytes = [0; LENGTH];
    reader.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// Decodes a value of a query.
fn decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits: Vec<u8> = rest.by_ref().take(2).collect();
                let digits = String::from_utf8_lossy(&digits).into_owned();
                u8::from_str_radix(&digits, 16).unwrap_or(b'?')
            }
            other => other,
        });
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Returns the proof that a server knows the WebSocket protocol: a sum of the client's key.
fn accept(key: &str) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let sum = sha1(format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11").as_bytes());
    let mut text = String::new();
    for chunk in sum.chunks(3) {
        let mut group = [0; 4];
        group[1..=chunk.len()].copy_from_slice(chunk);
        let number = u32::from_be_bytes(group);
        for place in 0..4 {
            let letter = LETTERS[(number >> (18 - 6 * place)) as usize & 63];
            text.push(if place > chunk.len() {
                '='
            } else {
                letter.into()
            });
        }
    }
    text
}

/// Returns the SHA-1 of some bytes.
fn sha1(bytes: &[u8]) -> [u8; 20] {
    let mut state: [u32; 5] = [
        0x6745_2301,
        0xefcd_ab89,
        0x98ba_dcfe,
        0x1032_5476,
        0xc3d2_e1f0,
    ];
    let mut padded = bytes.to_vec();
    padded.push(0x80);
    padded.resize(padded.len().next_multiple_of(64), 0);
    if padded.len() - bytes.len() < 9 {
        padded.resize(padded.len() + 64, 0);
    }
    let end = padded.len() - 8;
    padded[end..].copy_from_slice(&(bytes.len() as u64 * 8).to_be_bytes());
    for block in padded.chunks(64) {
        let mut words = [0_u32; 80];
        for (word, bytes) in words.iter_mut().zip(block.chunks(4)) {
            *word = bytes
                .iter()
                .fold(0, |word, byte| word << 8 | u32::from(*byte));
        }
        for at in 16..80 {
            let mixed = words[at - 3] ^ words[at - 8] ^ words[at - 14] ^ words[at - 16];
            words[at] = mixed.rotate_left(1);
        }
        let [mut a, mut b, mut c, mut d, mut e] = state;
        for (at, word) in words.iter().enumerate() {
            let (mixed, constant) = match at / 20 {
                0 => (b & c | !b & d, 0x5a82_7999),
                1 => (b ^ c ^ d, 0x6ed9_eba1),
                2 => (b & c | b & d | c & d, 0x8f1b_bcdc),
                _ => (b ^ c ^ d, 0xca62_c1d6),
            };
            let next = a
                .rotate_left(5)
                .wrapping_add(mixed)
                .wrapping_add(e)
                .wrapping_add(constant)
                .wrapping_add(*word);
            (e, d, c, b, a) = (d, c, b.rotate_left(30), a, next);
        }
        for (sum, value) in state.iter_mut().zip([a, b, c, d, e]) {
            *sum = sum.wrapping_add(value);
        }
    }
    let mut sum = [0; 20];
    for (bytes, word) in sum.chunks_mut(4).zip(state) {
        bytes.copy_from_slice(&word.to_be_bytes());
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_to_a_key_is_that_of_the_standard() {
        assert_eq!(
            accept("dGhlIHNhbXBsZSBub25jZQ=="),
            "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        );
    }
}
