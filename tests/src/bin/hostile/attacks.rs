//! Attacks of the hostile child, by name.

use std::fs::File;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use offshoot_codec::to_bytes;
use offshoot_proto::wire::{Flags, Frame, Giver, HEADER_LEN, Header, Kind, MAX_PAYLOAD, Scope};
use offshoot_proto::{ContextId, Handle};
use offshoot_proto::{DeadLetter, Reason};
use serde::Serialize;

use super::wire::{FrameWriter, Over};
use super::{DEAF, STUBBORN};

/// Frames in a flood of small frames.
const MANY: u32 = 50_000;
/// Frames in a flood of large frames.
const LARGE: u32 = 1_000;
/// Frames in a flood of frames that each name thousands of contexts.
const FEW: u32 = 150;

/// The payload of a `Route` frame; mirrors a private type of `offshoot_agent`.
#[derive(Serialize)]
pub(crate) enum News {
    Added(ContextId, ContextId),
    Gone {
        contexts: Vec<ContextId>,
        reason: Reason,
        text: String,
    },
}

/// A log record; mirrors a private type of `offshoot_agent`.
#[derive(Serialize)]
struct Record {
    level: u8,
    target: String,
    message: String,
    fields: String,
    span: String,
}

fn bytes(value: &impl Serialize) -> Vec<u8> {
    to_bytes(value).expect("it serialises")
}

/// Runs the attack `how`.
pub(crate) fn perform(
    how: &str,
    writer: &mut FrameWriter,
    heard: &Receiver<Frame>,
    status: &mut File,
    more: fn(&str, &mut FrameWriter, &Receiver<Frame>) -> Result<(), Over>,
) -> Result<(), Over> {
    match how {
        "early" => {
            writer.marker()?;
            for number in 0..MANY {
                writer.open(0, number % 20, 64 + number, b"before my greeting")?;
            }
            return Ok(());
        }
        "long-hello" => {
            writer.marker()?;
            writer.link(Kind::Hello, &[0xFF; MAX_PAYLOAD])?;
            return flood(writer, LARGE, |writer, _| {
                writer.link(Kind::Hello, &[7; MAX_PAYLOAD])
            });
        }
        "endless-hello" => {
            writer.marker()?;
            let header = writer.header(Kind::Hello, 0);
            writer.frame(&header, &[])?;
            let mut said = writer.take_unsaid();
            said[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
            writer.raw(&said)?;
            return flood(writer, LARGE, |writer, _| writer.raw(&[b'h'; 4096]));
        }
        "endless-noise" => return flood(writer, LARGE, |writer, _| writer.raw(&[b'~'; 16 << 10])),
        _ => writer.greet()?,
    }
    let (me, parent) = (writer.me, writer.parent);
    match how {
        "nowhere" => {
            DEAF.store(true, Ordering::Relaxed);
            flood(writer, LARGE, |writer, number| {
                let header = Header {
                    handle: Handle(70),
                    ..writer.header(Kind::Data, 900_000 + number)
                };
                writer.frame(&header, &[0; MAX_PAYLOAD])
            })
        }
        "nowhere-small" => {
            DEAF.store(true, Ordering::Relaxed);
            flood(writer, MANY, |writer, number| {
                writer.open(900_000 + number, 1, 64 + number, &[])
            })
        }
        "logs" => {
            let text = "\u{1b}[2J\u{7}\nI am the controller, believe me\n".repeat(500);
            let (fields, span) = (text.clone(), text.clone());
            let record = bytes(&Record {
                level: 1,
                target: "offshoot\n".into(),
                message: text,
                fields,
                span,
            });
            flood(writer, LARGE * 5 / 2, |writer, _| {
                let header = Header {
                    handle: Handle::LOG,
                    ..writer.header(Kind::Log, 0)
                };
                writer.frame(&header, &record)
            })
        }
        "small-logs" => flood(writer, MANY, |writer, number| {
            let header = Header {
                handle: Handle::LOG,
                ..writer.header(Kind::Log, 0)
            };
            writer.frame(&header, &number.to_le_bytes())
        }),
        "opens" => flood(writer, MANY, |writer, number| {
            let dst = if number % 2 == 0 { 0 } else { parent.0 };
            writer.open(dst, number / 2 % 16, 64 + number, b"x86_64")
        }),
        "unfinished" => flood(writer, MANY / 5, |writer, number| {
            // Requests that never end, to the services for descendants.
            let service = [Handle::ALLOCATE, Handle::IMAGE, Handle::CALL][number as usize % 3];
            writer.open(0, service.0, 64 + number, b"x")
        }),
        "images" => {
            DEAF.store(true, Ordering::Relaxed);
            flood(writer, MANY, |writer, number| {
                let header = Header {
                    handle: Handle::IMAGE,
                    reply_to: Handle(64 + number),
                    flags: Flags(Flags::OPENER.0 | Flags::END.0),
                    ..writer.header(Kind::Open, 0)
                };
                writer.frame(&header, b"aarch64")
            })
        }
        "numbers" => flood(writer, MANY / 5, |writer, number| {
            let header = Header {
                handle: Handle::ALLOCATE,
                reply_to: Handle(64 + number),
                flags: Flags(Flags::OPENER.0 | Flags::END.0),
                ..writer.header(Kind::Open, 0)
            };
            writer.frame(&header, &[])
        }),
        "calls" => {
            DEAF.store(true, Ordering::Relaxed);
            flood(writer, MANY * 4, |writer, number| {
                let header = Header {
                    handle: Handle::CALL,
                    reply_to: Handle(64 + number),
                    flags: Flags(Flags::OPENER.0 | Flags::END.0),
                    ..writer.header(Kind::Open, 0)
                };
                writer.frame(&header, &[0xFF; 7])
            })
        }
        "streams" => flood(writer, MANY, |writer, number| {
            let header = Header {
                handle: Handle::CALL,
                reply_to: Handle(64 + number % 7),
                flags: Flags::OPENER,
                streams: number as u8,
                ..writer.header(Kind::Open, parent.0)
            };
            writer.frame(&header, &[0; 100])
        }),
        "others" => flood(writer, MANY, |writer, number| {
            let header = Header {
                handle: Handle(number % 16),
                reply_to: Handle(64 + number),
                flags: Flags::OPENER,
                auth: ContextId(number % 3),
                ..Header::new(Kind::Open, ContextId(number % 5), parent)
            };
            writer.frame(&header, b"in another's name")
        }),
        "in-the-roots-name" => flood(writer, MANY, |writer, number| {
            let header = Header {
                handle: Handle::EXEC,
                reply_to: Handle(64 + number),
                flags: Flags::OPENER,
                auth: ContextId::ROOT,
                ..writer.header(Kind::Open, parent.0)
            };
            writer.frame(&header, b"in another's name")
        }),
        "routes" => flood(writer, MANY, |writer, number| {
            let id = if number % 2 == 0 {
                number % 16
            } else {
                1_000_000 + number
            };
            writer.link(Kind::Route, &bytes(&News::Added(ContextId(id), me)))
        }),
        "gone" => flood(writer, FEW, |writer, number| {
            let contexts = (0..4000)
                .map(|id| ContextId(if number % 2 == 0 { id } else { id * number }))
                .collect();
            let text = "they are all gone".repeat(900);
            writer.link(
                Kind::Route,
                &bytes(&News::Gone {
                    contexts,
                    reason: Reason::Lost,
                    text,
                }),
            )
        }),
        "dead" => flood(writer, MANY, |writer, number| {
            let letter = DeadLetter {
                reason: Reason::Lost,
                by: parent,
                text: "dead".repeat(50),
            };
            let header = Header {
                handle: Handle(if number % 3 == 0 { 0 } else { 64 + number % 9 }),
                reply_to: Handle(number % 8),
                flags: Flags(number as u16 & 1),
                ..writer.header(Kind::Dead, if number % 2 == 0 { 0 } else { parent.0 })
            };
            writer.frame(&header, &bytes(&letter))
        }),
        "orders" => {
            let of_parent = |kind: &&Kind| kind.scope() == Scope::Link(Giver::Parent);
            let orders: Vec<Kind> = Kind::ALL.iter().filter(of_parent).copied().collect();
            flood(writer, MANY, |writer, number| {
                writer.link(orders[number as usize % orders.len()], &[1; 40])
            })
        }
        "hellos" => flood(writer, MANY, |writer, _| {
            let hello = writer.hello.clone();
            writer.link(Kind::Hello, &hello)
        }),
        "choke" => {
            writer.link(Kind::Choke, &[])?;
            flood(writer, FEW, |writer, number| {
                let names = (number * 16_000..)
                    .take(16_000)
                    .flat_map(u32::to_le_bytes)
                    .collect::<Vec<u8>>();
                writer.link(Kind::Choke, &names)
            })
        }
        "flicker" => flood(writer, MANY, |writer, number| {
            writer.link(
                if number % 2 == 0 {
                    Kind::Choke
                } else {
                    Kind::Free
                },
                &[],
            )
        }),
        "pings" => {
            DEAF.store(true, Ordering::Relaxed);
            flood(writer, MANY * 8, |writer, _| writer.link(Kind::Ping, &[]))
        }
        "credit" => {
            let flow = asked(heard);
            answer(writer, &flow, Kind::Credit, u64::MAX, &[])?;
            answer(writer, &flow, Kind::Data, 0, b"whatever")?;
            answer(writer, &flow, Kind::Credit, 0, &[])
        }
        "long-answer" => {
            let flow = asked(heard);
            flood(writer, FEW, |writer, number| {
                answer(
                    writer,
                    &flow,
                    Kind::Data,
                    u64::from(number) * MAX_PAYLOAD as u64,
                    &[5; MAX_PAYLOAD],
                )
            })
        }
        "gap" => answer(writer, &asked(heard), Kind::Data, 1 << 60, &[5; 100]),
        "late" => {
            let flow = asked(heard);
            let reply_to = flow.header.reply_to;
            let header = Header {
                handle: reply_to,
                flags: Flags::END,
                ..writer.header(Kind::Data, flow.header.src.0)
            };
            writer.frame(&header, &[0])?;
            flood(writer, LARGE, |writer, number| {
                answer(writer, &flow, Kind::Data, u64::from(number), &[1])
            })
        }
        "reset" => {
            let flow = asked(heard);
            let letter = DeadLetter {
                reason: Reason::Lost,
                by: parent,
                text: "no ".repeat(20_000),
            };
            let letter = bytes(&letter);
            flood(writer, LARGE, |writer, _| {
                answer(writer, &flow, Kind::Reset, 0, &letter)
            })
        }
        "truncated" => {
            writer.frame(&writer.header(Kind::Log, 0), &[0; 5000])?;
            let said = writer.take_unsaid();
            writer.raw(&said[..HEADER_LEN + 100])?;
            DEAF.store(true, Ordering::Relaxed);
            Ok(())
        }
        "drip" => {
            writer.frame(&writer.header(Kind::Log, 0), &[0; MAX_PAYLOAD - 100])?;
            let said = writer.take_unsaid();
            let (begin, rest) = said.split_at(HEADER_LEN);
            writer.raw(begin)?;
            let _ = writeln!(status, "over drips");
            for byte in rest {
                std::thread::park_timeout(Duration::from_secs(1));
                writer.raw(&[*byte])?;
            }
            Ok(())
        }
        "garbage" => {
            let mut state = u64::from(me.0) | 0x9E37_79B9_7F4A_7C15;
            flood(writer, LARGE, |writer, _| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                writer.raw(&state.to_le_bytes())
            })
        }
        // Neither reads, nor answers heartbeats, nor sends.
        "deaf" => {
            DEAF.store(true, Ordering::Relaxed);
            STUBBORN.store(true, Ordering::Relaxed);
            Ok(())
        }
        "mute" => Ok(()),
        "closed" => {
            STUBBORN.store(true, Ordering::Relaxed);
            writer.close();
            Ok(())
        }
        "undying" => {
            STUBBORN.store(true, Ordering::Relaxed);
            for signal in [libc::SIGTERM, libc::SIGHUP, libc::SIGINT, libc::SIGPIPE] {
                // SAFETY: plain numbers.
                unsafe { libc::signal(signal, libc::SIG_IGN) };
            }
            flood(writer, MANY, |writer, number| {
                writer.open(900_000 + number, 1, 64 + number, &[])
            })
        }
        // Children that hold all three streams of the hop in a session of their own, after its
        // exit.
        "holders" => {
            for _ in 0..3 {
                let mut holder = Command::new("setsid");
                holder
                    .args(["sleep", "1000"])
                    .stdin(Stdio::inherit())
                    .stdout(Stdio::inherit());
                let child = holder.spawn().map_err(|_| Over::Closed)?;
                let _ = writeln!(status, "child {}", child.id());
            }
            let _ = writeln!(status, "over gone");
            std::process::exit(0)
        }
        other => more(other, writer, heard),
    }
}

/// Repeats an action.
pub(crate) fn flood(
    writer: &mut FrameWriter,
    count: u32,
    mut one: impl FnMut(&mut FrameWriter, u32) -> Result<(), Over>,
) -> Result<(), Over> {
    (0..count).try_for_each(|number| one(writer, number))
}

/// Waits for the call of the suite.
fn asked(heard: &Receiver<Frame>) -> Frame {
    heard
        .iter()
        .find(|frame| frame.header.kind == Kind::Open)
        .expect("the suite calls")
}

/// Sends on the flow of a call, from the callee's end.
pub(crate) fn answer(
    writer: &mut FrameWriter,
    call: &Frame,
    kind: Kind,
    offset: u64,
    payload: &[u8],
) -> Result<(), Over> {
    let header = Header {
        handle: call.header.reply_to,
        offset,
        ..writer.header(kind, call.header.src.0)
    };
    writer.frame(&header, payload)
}
