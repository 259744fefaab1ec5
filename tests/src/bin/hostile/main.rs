//! `hostile HOW STATUS SHELL...`: a child that violates the protocol, in place of the shell of a
//! hop.
//!
//! It starts the real shell with the given words and forwards everything, both ways, until a real
//! agent has sent its hello. Then it replaces that agent, with its greeting, name and ids, and runs
//! the attack HOW; see [`attacks`]. It writes a line for each step to the file STATUS: `begun PID`,
//! `child PID` for each process that it leaves behind, and at last `over` with the outcome: `Done`,
//! `Blocked` (nobody reads its frames) or `Closed`.

mod attacks;
mod contexts;
mod streams;
mod values;
mod wire;

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

use offshoot_proto::wire::{Decoder, Frame, Kind};

use wire::{FrameWriter, Over};

/// The first bytes of a frame: magic number, version, kind.
const BOOT: [u8; 4] = [0x5B, 0x0F, 1, Kind::Boot as u8];
const HELLO: [u8; 4] = [0x5B, 0x0F, 1, Kind::Hello as u8];

/// True once the real agent is gone.
static TAKEN: AtomicBool = AtomicBool::new(false);
/// True while input is not read.
pub static DEAF: AtomicBool = AtomicBool::new(false);
/// True if the end of the link is to be ignored.
pub static STUBBORN: AtomicBool = AtomicBool::new(false);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [how, status, program, arguments @ ..] = words.as_slice() else {
        return Err("usage: hostile HOW STATUS SHELL...".into());
    };
    let mut status = OpenOptions::new().create(true).append(true).open(status)?;
    let mut real = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let there = real.stdin.take().ok_or("stdin is piped")?;
    let (tell, heard) = channel();
    // Not joined: it reads until the process ends.
    std::thread::spawn(move || relay(there, &tell));
    let (before, hello) = greeting(&mut real.stdout.take().ok_or("stdout is piped")?)?;
    TAKEN.store(true, Ordering::Relaxed);
    // The guard, which ends the agent.
    real.kill()?;
    real.wait()?;

    let mut writer = FrameWriter::new(before, hello, first(&heard)?)?;
    writeln!(status, "begun {}", std::process::id())?;
    let over = match attacks::perform(how, &mut writer, &heard, &mut status, perform_other) {
        Ok(()) => writer.flush().err().unwrap_or(Over::Done),
        Err(over) => over,
    };
    writeln!(status, "over {over:?}")?;
    loop {
        std::thread::park();
    }
}

/// Waits for the boot frame, which contains our id.
fn first(heard: &Receiver<Frame>) -> Result<Frame, Box<dyn std::error::Error>> {
    let frame = heard.recv()?;
    if frame.header.kind == Kind::Boot {
        Ok(frame)
    } else {
        Err("the first frame is not a boot".into())
    }
}

/// Reads the agent's output up to its hello; returns the bytes before it and its payload.
fn greeting(
    from: &mut impl std::io::Read,
) -> Result<(Vec<u8>, Vec<u8>), Box<dyn std::error::Error>> {
    let mut seen = Vec::new();
    let mut byte = [0; 4096];
    loop {
        let length = from.read(&mut byte)?;
        if length == 0 {
            return Err("the real agent did not come up".into());
        }
        seen.extend_from_slice(&byte[..length]);
        if let Some((at, frame)) = find(&seen, HELLO) {
            return Ok((seen[..at].to_vec(), frame.payload.clone()));
        }
    }
}

/// Finds the first whole frame of a kind in a buffer.
fn find(bytes: &[u8], kind: [u8; 4]) -> Option<(usize, Frame)> {
    let places = bytes
        .windows(kind.len())
        .enumerate()
        .filter(|(_, window)| *window == kind);
    places.map(|(at, _)| at).find_map(
        |at| match Decoder::default().next_frame(&mut &bytes[at..]) {
            Ok(Some(frame)) => Some((at, frame)),
            _ => None,
        },
    )
}

/// Forwards the parent's bytes to the real agent while it exists, and reports each frame after the
/// image.
fn relay(there: ChildStdin, tell: &Sender<Frame>) {
    let mut there = Some(there);
    let mut input = File::from(
        std::io::stdin()
            .as_fd()
            .try_clone_to_owned()
            .expect("stdin is open"),
    );
    let (mut early, mut decoder) = (Vec::new(), None);
    let mut buffer = vec![0; 64 << 10];
    loop {
        if DEAF.load(Ordering::Relaxed) {
            std::thread::park();
            continue;
        }
        let length = input.read(&mut buffer).unwrap_or(0);
        if length == 0 {
            if STUBBORN.load(Ordering::Relaxed) {
                return;
            }
            std::process::exit(0);
        }
        let mut bytes = &buffer[..length];
        if TAKEN.load(Ordering::Relaxed) {
            there = None;
        }
        if let Some(there) = &mut there {
            // The agent may be gone by now.
            let _ = there.write_all(bytes);
        }
        if decoder.is_none() {
            early.extend_from_slice(bytes);
            let Some((at, _)) = find(&early, BOOT) else {
                continue;
            };
            early.drain(..at);
            bytes = &early;
        }
        let decoder = decoder.get_or_insert_with(Decoder::default);
        while let Ok(Some(frame)) = decoder.next_frame(&mut bytes) {
            let _ = tell.send(frame);
        }
    }
}

/// Attacks that need a conversation of their own.
fn perform_other(how: &str, writer: &mut FrameWriter, heard: &Receiver<Frame>) -> Result<(), Over> {
    match how {
        "values" => values::perform(writer, heard),
        "crowd-blind" | "crowd-calls" | "crowd-handles" | "crowd-senders" => {
            contexts::perform(how, writer, heard)
        }
        other => streams::perform(other, writer, heard),
    }
}
