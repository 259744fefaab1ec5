//! A probe: a program in a context, with bounds for its time and its output. Its output is text of
//! that host, so nothing here trusts it.

use crate::cli::command::streams::small_thread;
use offshoot::{Command, Context, ExitStatus, Reader};
use std::io::Write as _;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

/// The longest time for a probe.
pub(super) const LIMIT: Duration = Duration::from_secs(10);
/// How long a host may take beyond that to end a probe.
const END: Duration = Duration::from_secs(2);
/// The most bytes that are read from each stream of a probe.
const MOST: usize = 64 << 10;

/// A program that was run.
#[derive(Default)]
pub(super) struct Ran {
    /// Its stdout.
    pub stdout: Vec<u8>,
    /// The pieces of its stderr, each with the time since the start.
    pub stderr: Vec<(Duration, Vec<u8>)>,
    /// Its exit status, if it ended by itself and in time.
    pub status: Option<ExitStatus>,
    /// The time until its end, round trip included.
    pub took: Duration,
}

impl Ran {
    /// Returns true if the program did not end in time.
    pub(super) fn is_late(&self) -> bool {
        // The deadline counts whole milliseconds.
        self.status.is_none() && self.took + Duration::from_millis(50) >= LIMIT
    }

    /// Returns the number of bytes on both streams.
    pub(super) fn printed(&self) -> usize {
        let stderr = self.stderr.iter().map(|(_, bytes)| bytes.len());
        self.stdout.len() + stderr.sum::<usize>()
    }

    /// Returns stderr as text.
    pub(super) fn stderr(&self) -> String {
        let pieces = self.stderr.iter().map(|(_, bytes)| bytes.as_slice());
        String::from_utf8_lossy(&pieces.collect::<Vec<_>>().concat()).into_owned()
    }
}

enum Piece {
    Out(Vec<u8>),
    Err(Vec<u8>),
    End(Option<ExitStatus>),
}

/// Runs a program with these bytes as its stdin. What it has started is ended with it.
pub(super) fn run(
    context: &Context,
    input: &'static [u8],
    describe: impl FnOnce(&Context) -> Command,
) -> Ran {
    let begun = Instant::now();
    let mut ran = Ran::default();
    let command = describe(&context.within(LIMIT))
        .end_all()
        .wait_streams(Duration::from_millis(200));
    let Ok(mut process) = command.spawn() else {
        return ran;
    };
    let (pieces, arriving) = channel();
    let streams = [
        (process.stdout.take(), Piece::Out as fn(Vec<u8>) -> Piece),
        (process.stderr.take(), Piece::Err),
    ];
    let mut started = Vec::new();
    for (reader, piece) in streams {
        let pieces = pieces.clone();
        started.push(small_thread(move || read(reader, piece, &pieces)));
    }
    started.push(small_thread(move || {
        if let Some(mut stdin) = process.stdin.take() {
            // A program that has ended already needs no input.
            let _ = stdin.write_all(input);
        }
        // If nobody listens any more, this probe is over.
        let _ = pieces.send(Piece::End(process.wait().ok()));
    }));
    // Without one of the threads the answer is incomplete, which is reported as unknown.
    drop(started);
    // The threads end once the streams and the program do. A host that keeps a stream open is left
    // behind after the limit: they end with the tree.
    loop {
        let left = (LIMIT + END).saturating_sub(begun.elapsed());
        match arriving.recv_timeout(left) {
            Ok(Piece::Out(bytes)) => ran.stdout.extend(bytes),
            Ok(Piece::Err(bytes)) => ran.stderr.push((begun.elapsed(), bytes)),
            Ok(Piece::End(status)) => (ran.status, ran.took) = (status, begun.elapsed()),
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                ran.took = begun.elapsed();
                break;
            }
        }
    }
    ran
}

/// Reads a stream until it ends or has given all that is wanted; its program cannot write after
/// that.
fn read(reader: Option<Reader>, piece: fn(Vec<u8>) -> Piece, pieces: &Sender<Piece>) {
    let Some(mut reader) = reader else { return };
    let mut left = MOST;
    while let Ok(Some(mut bytes)) = reader.next_chunk() {
        bytes.truncate(left);
        left -= bytes.len();
        if pieces.send(piece(bytes)).is_err() || left == 0 {
            return;
        }
    }
}
