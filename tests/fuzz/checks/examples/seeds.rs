//! Writes the seeds of the corpora, whole and sensible inputs that a fuzzer would need long to
//! find: `cargo run --package offshoot-fuzz-checks --example seeds`. These files are named
//! `seed-...`; a fuzzer has found the others.

use offshoot_agent::method::Method;
use offshoot_agent::method::Ssh;
use offshoot_agent::method::Sudo;
use offshoot_agent::{ConnectError, ConnectErrorKind, Error, Reason};
use offshoot_codec as codec;
use offshoot_fuzz_checks::forms;
use offshoot_proto::DeadLetter;
use offshoot_proto::connect::recipe::Recipe;
use offshoot_proto::log::Filter;
use offshoot_proto::message::boot::BootInfo;
use offshoot_proto::message::connect::ConnectRequest;
use offshoot_proto::wire::{Flags, Header, Kind, encode};
use offshoot_proto::{ContextId, Handle};
use std::path::{Path, PathBuf};

fn main() -> std::io::Result<()> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus");
    for (target, seeds) in [
        ("frames", frames()),
        ("boot", boot()),
        ("messages", messages()),
        ("routes", routes()),
        ("flow", flow()),
        ("dialogue", dialogue()),
        ("targets", targets()),
        ("records", records()),
        ("names", names()),
    ] {
        let folder: PathBuf = corpus.join(target);
        std::fs::create_dir_all(&folder)?;
        for (number, seed) in seeds.iter().enumerate() {
            std::fs::write(folder.join(format!("seed-{number:02}")), seed)?;
        }
        println!("{target}: {} seeds", seeds.len());
    }
    Ok(())
}

fn text(text: &str) -> Vec<u8> {
    [&[text.len() as u8], text.as_bytes()].concat()
}

fn frames() -> Vec<Vec<u8>> {
    let open = Header {
        handle: Handle::CALL,
        reply_to: Handle(1000),
        flags: Flags::OPENER.with(Flags::END, true),
        ..Header::new(Kind::Open, ContextId::ROOT, ContextId(2))
    };
    let data = Header {
        handle: Handle(1001),
        offset: 65_536,
        ..Header::new(Kind::Data, ContextId(2), ContextId::ROOT)
    };
    let credit = Header {
        offset: 1 << 20,
        ..Header::new(Kind::Credit, ContextId(3), ContextId(1))
    };
    let mut stream = Vec::new();
    for (sequence, (header, payload)) in (0..).zip([
        (open, &b"facts"[..]),
        (data, &[7; 500]),
        (credit, &[]),
        (data, &[]),
    ]) {
        encode(&header, payload, sequence, &mut stream);
    }
    let mut seeds: Vec<Vec<u8>> = Vec::new();
    for lengths in [&[][..], &[1], &[48, 5], &[47, 200, 1]] {
        let cut = [&[lengths.len() as u8], lengths].concat();
        seeds.push([&[0], &cut[..], &stream].concat());
        seeds.push([&[0], &cut[..], b"bash: warning: setlocale\n"].concat());
        seeds.push([&[1], &cut[..], &stream[..100]].concat());
        // Made by the check itself: harm, place, then frames.
        for harm in 0..3 {
            let frame = [
                &[7][..],
                &[1, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0],
                &[2],
                &[9; 18],
                &[40],
                &[5; 40],
            ]
            .concat();
            seeds.push([&[2], &cut[..], &[harm, 60, 1], &frame, &frame, &frame].concat());
        }
    }
    seeds
}

fn boot_of(ancestors: u32) -> BootInfo {
    BootInfo {
        id: ContextId(7),
        ancestors: (0..ancestors).rev().map(ContextId).collect(),
        name: "ssh.web1.sudo.root".into(),
        filter: Filter::up_to(2),
        heartbeat: 15,
    }
}

fn boot() -> Vec<Vec<u8>> {
    let hello = forms::hello(0x0123_4567_89AB_CDEF, 4711, "x86_64", "0.1.0");
    let mut seeds = vec![
        [&[0], &hello[..]].concat(),
        [&[0], &hello[..hello.len() - 1]].concat(),
        [&[3][..], &[9; 12], &text("aarch64"), &text("0.1.0")].concat(),
        [
            &[2, 1, 7, 0, 0, 0, 2][..],
            &[1, 0, 0, 0, 0, 0, 0, 0],
            &text("ssh.web1"),
            &[5, 30, 0, 0, 0, 60],
        ]
        .concat(),
        [
            1, 0xFC, 255, 255, 255, 255, 0xFD, 255, 255, 255, 255, 255, 255, 255, 255,
        ]
        .to_vec(),
    ];
    for ancestors in [0, 1, 3, 300] {
        let bytes = codec::to_bytes(&boot_of(ancestors)).expect("it can be written");
        seeds.push([&[0], &bytes[..]].concat());
        seeds.push([&[1], &bytes[..]].concat());
        seeds.push([&[1], &bytes[..bytes.len() / 2]].concat());
    }
    seeds
}

fn request(recipe: Recipe) -> Vec<u8> {
    let request = ConnectRequest {
        prompts: Handle::NONE,
        name: "ssh.web1".into(),
        title: Some("web".into()),
        recipe,
        announce: true,
        heartbeat: 15,
    };
    codec::to_bytes(&request).expect("it can be written")
}

fn messages() -> Vec<Vec<u8>> {
    let mut connect = ConnectError::new(
        ConnectErrorKind::PasswordIncorrect,
        "the password was not accepted",
    );
    connect.output = vec!["Sorry, try again.".into()];
    let letter = DeadLetter {
        reason: Reason::Lost,
        by: ContextId(3),
        text: "cut".into(),
    };
    let errors = [
        Error::from(connect.clone()),
        Error::TimedOut {
            context: "web1".into(),
            after_ms: 1000,
        },
    ];
    let bytes = |number: &str| match number {
        "hello" => forms::hello(1, 2, "x86_64", "0.1.0"),
        "boot" => codec::to_bytes(&boot_of(3)).unwrap_or_default(),
        "connect" => request({
            let mut sudo = Sudo::default();
            sudo.set_password("secret".into());
            sudo.recipe("5f")
        }),
        "connected" => forms::connected(4711, "x86_64", 2),
        "order" => forms::order(
            vec![b"ls".to_vec(), b"-l".to_vec()],
            vec![(b"LANG".to_vec(), b"C".to_vec())],
            Some(b"/tmp".to_vec()),
        ),
        "detach" => forms::detach(Handle(1001), "backup"),
        "news" => forms::gone(vec![ContextId(3), ContextId(300)], Reason::Silent, "cut"),
        "expel" => codec::to_bytes(&(ContextId(9), "it broke the rules")).unwrap_or_default(),
        "exit" => codec::to_bytes(&(Some(3i32), None::<i32>)).unwrap_or_default(),
        "dead letter" => codec::to_bytes(&letter).unwrap_or_default(),
        "error" => codec::to_bytes(&errors[0]).unwrap_or_default(),
        "connect error" => codec::to_bytes(&connect).unwrap_or_default(),
        "rule" => codec::to_bytes(&Ssh::new("web1").recipe("").rules[0]).unwrap_or_default(),
        "context" => vec![251, 7, 1],
        "facts" => {
            codec::to_bytes(&("web1", "root", 0u32, 4711u32, "x86_64", "Linux")).unwrap_or_default()
        }
        "strings" => codec::to_bytes(&vec!["one", "two"]).unwrap_or_default(),
        _ => text("secret"),
    };
    let mut seeds: Vec<Vec<u8>> = Vec::new();
    for (number, (name, _)) in (0..).zip(forms::MESSAGES) {
        let bytes = bytes(name);
        seeds.push([&[number], &bytes[..]].concat());
        // A list that claims to be as long as numbers go.
        seeds.push(
            [
                &[number][..],
                &bytes[..bytes.len() / 2],
                &[253, 255, 255, 255, 255, 255, 255, 255, 127],
            ]
            .concat(),
        );
    }
    let after = forms::MESSAGES.len() as u8;
    seeds.push(
        [
            &[after],
            &forms::log_record("sshd", "a line\twith\x1b[2J")[..],
        ]
        .concat(),
    );
    for reply in [
        forms::value(&vec!["yes".into()]),
        forms::failed(&errors[0]),
        forms::failed(&errors[1]),
    ] {
        seeds.push([&[after + 1], &reply[..]].concat());
    }
    for number in after + 2..after + 5 {
        let any: Vec<u8> = (0..200).map(|at| [3, b'a', 1, b'b', 2][at % 5]).collect();
        seeds.push([&[number], &any[..]].concat());
    }
    seeds
}

/// The scripts of `routes`, one step each; see `step` there.
mod steps {
    pub(crate) fn open(
        from: u8,
        to: u8,
        service: u8,
        streams: u8,
        answering: u8,
        length: u8,
    ) -> Vec<u8> {
        vec![0, from, to, service, streams, answering, 0, length]
    }

    pub(crate) fn send(flow: u8, length: u8, end: bool) -> Vec<u8> {
        vec![2, flow, length, if end { 7 } else { 0 }]
    }

    pub(crate) fn consume(flow: u8, length: u8) -> Vec<u8> {
        vec![4, flow, length]
    }

    pub(crate) fn order(from: u8, parent: u8) -> Vec<u8> {
        vec![6, from, parent]
    }

    pub(crate) fn cut(number: u8) -> Vec<u8> {
        vec![10, 3, number]
    }

    pub(crate) fn ask(from: u8) -> Vec<u8> {
        vec![16, from]
    }

    pub(crate) fn pair(one: u8, other: u8, open: bool) -> Vec<u8> {
        vec![17, one, other, if open { 0 } else { 3 }]
    }

    pub(crate) fn pass(twentieths: u8) -> Vec<u8> {
        vec![18, twentieths]
    }

    pub(crate) const SETTLE: [u8; 1] = [11];
    pub(crate) const UP: [u8; 2] = [7, 0];

    /// Forged frames of `kind`, as many as `count`, whose reply-to begins at `reply` and goes up by
    /// `step`.
    pub(crate) struct Forged {
        pub cable: u8,
        pub up: bool,
        pub kind: u8,
        pub src: u8,
        pub dst: u8,
        pub handle: u16,
        pub bits: u8,
        pub reply: u16,
        pub streams: u8,
        pub offset: u8,
        pub payload: Vec<u8>,
        pub count: u8,
        pub step: u8,
    }

    impl Forged {
        pub(crate) fn bytes(&self) -> Vec<u8> {
            let mut bytes = vec![
                15,
                self.cable,
                self.up.into(),
                210,
                self.kind,
                255,
                self.src,
                self.dst,
            ];
            // An `Open` takes its service from one byte.
            let handle = self.handle.to_le_bytes();
            bytes.extend_from_slice(if self.kind == 6 {
                &handle[..1]
            } else {
                &handle
            });
            bytes.push(self.bits);
            bytes.extend_from_slice(&self.reply.to_le_bytes());
            bytes.extend_from_slice(&[self.streams, 1, self.offset]);
            bytes.extend_from_slice(&self.payload);
            bytes.extend_from_slice(&[self.count, self.step]);
            bytes
        }
    }
}

fn routes() -> Vec<Vec<u8>> {
    use steps::{Forged, SETTLE, UP, ask, consume, cut, open, order, pair, pass, send};
    let settle = || SETTLE.to_vec();
    let forged = |kind| Forged {
        cable: 2,
        up: true,
        kind,
        src: 100,
        dst: 210,
        handle: 4,
        bits: 0,
        reply: 0x1000,
        streams: 0,
        offset: 0,
        payload: vec![0],
        count: 1,
        step: 0,
    };
    let (route, question, data, reset, dead) = (5, 6, 7, 9, 10);
    // Questions from the first child, and as many whose one stream has the number of one of those.
    let crowd = |first: u16, count| {
        let open = |reply, streams| Forged {
            reply,
            streams,
            count,
            step: 2,
            cable: 0,
            ..forged(question)
        };
        let close = Forged {
            reply: 0,
            handle: first - 1,
            bits: 1,
            count,
            step: 2,
            cable: 0,
            ..forged(reset)
        };
        [
            open(first, 0).bytes(),
            open(first - 1, 1).bytes(),
            close.bytes(),
        ]
        .concat()
    };
    let scripts: Vec<Vec<Vec<u8>>> = vec![
        vec![
            vec![0],
            open(0, 1, 0, 1, 0, 40),
            settle(),
            send(0, 255, false),
            settle(),
            consume(0, 255),
            settle(),
        ],
        vec![
            vec![1],
            open(0, 3, 1, 3, 6, 40),
            settle(),
            send(0, 60, true),
            send(1, 255, true),
            settle(),
        ],
        vec![
            vec![2],
            order(0, 3),
            order(0, 5),
            open(0, 6, 0, 0, 0, 9),
            settle(),
            UP.to_vec(),
            settle(),
            UP.to_vec(),
            settle(),
        ],
        vec![
            vec![2],
            order(0, 3),
            open(0, 5, 0, 1, 0, 200),
            settle(),
            vec![9, 0],
            settle(),
            vec![8, 0],
            settle(),
        ],
        vec![
            vec![3],
            open(0, 3, 0, 0, 0, 1),
            open(3, 0, 2, 0, 0, 1),
            settle(),
            cut(1),
            settle(),
        ],
        vec![
            vec![3],
            open(4, 5, 0, 2, 1, 210),
            vec![12, 4, 0, 3, 60],
            vec![12, 4, 1, 3, 10],
            settle(),
            vec![5, 0],
            settle(),
        ],
        vec![
            vec![2],
            open(3, 4, 0, 0, 0, 1),
            open(1, 2, 0, 0, 0, 1),
            open(3, 0, 0, 0, 0, 1),
            settle(),
        ],
        vec![
            vec![2],
            ask(1),
            settle(),
            order(1, 3),
            settle(),
            UP.to_vec(),
            settle(),
            open(5, 0, 2, 0, 0, 0),
            settle(),
        ],
        // Frames in the name of others, of a cousin, of the root; an end told by one who is not on
        // the way.
        vec![
            vec![2],
            Forged {
                src: 2,
                ..forged(data)
            }
            .bytes(),
            Forged {
                src: 210,
                ..forged(question)
            }
            .bytes(),
            settle(),
        ],
        vec![
            vec![2],
            open(0, 2, 0, 1, 0, 9),
            settle(),
            Forged {
                count: 9,
                ..forged(dead)
            }
            .bytes(),
            settle(),
        ],
        // A child claims the number of a cousin, again and again.
        vec![
            vec![2],
            Forged {
                payload: vec![0, 2],
                count: 100,
                ..forged(route)
            }
            .bytes(),
            settle(),
        ],
        // It claims and gives up numbers that are not there yet.
        vec![
            vec![2],
            Forged {
                payload: vec![0, 6],
                ..forged(route)
            }
            .bytes(),
            order(0, 2),
            order(0, 2),
            settle(),
            UP.to_vec(),
        ],
        vec![
            vec![2],
            Forged {
                payload: vec![1, 3],
                ..forged(route)
            }
            .bytes(),
            settle(),
            open(0, 3, 0, 0, 0, 3),
            settle(),
        ],
        // Questions to the root whose streams lie over other questions.
        vec![
            vec![2],
            crowd(0x1000, 100),
            crowd(0x2000, 70),
            crowd(0x3000, 40),
            crowd(0x4000, 20),
            crowd(0x5000, 11),
            crowd(0x6000, 6),
            crowd(0x7000, 3),
            crowd(0x7800, 3),
            crowd(0x8000, 1),
            crowd(0x9000, 1),
            settle(),
        ],
        // A parent that lies.
        vec![
            vec![1],
            Forged {
                cable: 0,
                up: false,
                src: 210,
                dst: 100,
                payload: vec![0, 70, 0],
                ..forged(1)
            }
            .bytes(),
            settle(),
        ],
        vec![
            vec![1],
            Forged {
                cable: 1,
                up: false,
                src: 210,
                dst: 2,
                handle: 2,
                offset: 1,
                ..forged(question)
            }
            .bytes(),
            settle(),
        ],
        vec![
            vec![1],
            Forged {
                cable: 1,
                up: false,
                src: 210,
                payload: vec![0, 3, 3, 2, 3],
                ..forged(12)
            }
            .bytes(),
            open(3, 0, 2, 0, 0, 3),
            settle(),
            Forged {
                cable: 1,
                up: false,
                src: 210,
                payload: vec![0, 1, 3],
                ..forged(13)
            }
            .bytes(),
            settle(),
        ],
        vec![
            vec![1],
            Forged {
                cable: 0,
                up: false,
                src: 210,
                payload: vec![0, 50, 2],
                ..forged(16)
            }
            .bytes(),
            Forged {
                cable: 0,
                up: false,
                src: 210,
                payload: vec![0, 3],
                ..forged(15)
            }
            .bytes(),
            settle(),
        ],
        // Two that the root lets talk, until it does not, or one of them ends.
        vec![
            vec![2],
            pair(3, 2, true),
            settle(),
            open(3, 2, 4, 1, 0, 40),
            settle(),
            pair(2, 3, false),
            settle(),
            open(3, 2, 4, 0, 0, 1),
        ],
        vec![
            vec![2],
            pair(3, 4, true),
            settle(),
            open(3, 4, 4, 2, 1, 40),
            open(4, 3, 4, 0, 0, 4),
            settle(),
            pair(3, 2, true),
            settle(),
            open(3, 2, 4, 1, 0, 4),
            settle(),
            cut(3),
            cut(1),
            settle(),
        ],
        // Numbers for a context that connects others by itself, and one that claims them.
        vec![
            vec![2],
            ask(1),
            settle(),
            ask(3),
            settle(),
            order(3, 3),
            settle(),
            UP.to_vec(),
            order(1, 3),
            settle(),
        ],
        vec![
            vec![2],
            ask(4),
            settle(),
            Forged {
                payload: vec![0, 50],
                ..forged(route)
            }
            .bytes(),
            Forged {
                cable: 3,
                payload: vec![0, 50],
                ..forged(route)
            }
            .bytes(),
            order(4, 4),
            settle(),
        ],
        // Heartbeats: answered, and then not.
        vec![
            vec![129],
            pass(60),
            settle(),
            pass(60),
            settle(),
            pass(60),
            vec![12, 0, 0, 3, 90],
            settle(),
        ],
        vec![
            vec![130],
            pass(60),
            pass(60),
            pass(60),
            pass(60),
            settle(),
            pass(60),
            settle(),
        ],
        // More than a link takes at once: it waits in the middle.
        vec![
            vec![1],
            open(0, 3, 0, 4, 0, 9),
            open(0, 3, 0, 4, 0, 9),
            settle(),
            [10, 11, 12, 13, 15, 16]
                .into_iter()
                .flat_map(|stream| [send(stream, 255, false), vec![12, 0, 0, 7, 255]].concat())
                .collect(),
            settle(),
            send(10, 99, true),
        ],
        // A child that was not told yet who it is.
        vec![
            vec![0],
            order(0, 1),
            settle(),
            UP.to_vec(),
            open(2, 9, 0, 4, 0, 9),
            send(0, 255, false),
            settle(),
        ],
    ];
    scripts.into_iter().map(|steps| steps.concat()).collect()
}

fn flow() -> Vec<Vec<u8>> {
    let mut seeds = vec![b"\0".to_vec()];
    for mode in 0..3 {
        for pattern in [
            &[0, 0, 4, 4, 0, 2, 3, 255, 255, 3, 4, 1][..],
            &[0, 1, 0, 5, 0],
            &[1, 0, 255, 3, 63, 2, 3, 0, 0, 4, 4, 0],
        ] {
            seeds.push([&[mode], &pattern.repeat(12)[..]].concat());
        }
    }
    seeds
}

fn dialogue() -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> = Vec::new();
    let sudo = "We trust you have received the usual lecture.\r\n\r\n[offshoot 5f5f5f5f] password: \r\nSorry, try again.\r\n[offshoot 5f5f5f5f] password: ";
    let ssh = "Warning: Permanently added 'web1'.\r\n(me@web1) Password: \r\nEnter passphrase for key '/home/me/k': \r\nme@web1's password: \r\nPermission denied\r\n";
    for lengths in [&[][..], &[1], &[20, 3]] {
        let cut = [&[lengths.len() as u8], lengths].concat();
        seeds.push([&[0, 0], &cut[..], sudo.as_bytes()].concat());
        seeds.push([&[0, 1], &cut[..], ssh.as_bytes()].concat());
        for mode in [1, 3] {
            let marker = [9, 0, 0];
            let said = [
                &[0][..],
                &text("motd\nno newline"),
                &[7],
                &[0],
                &text("x"),
                &marker,
                &[0],
                &text("frames"),
            ];
            seeds.push([&[mode, 0][..], &cut, &[1, 66, 0], &said.concat()].concat());
            let failed = [
                &[3][..],
                &text("me is not in the sudoers file\n"),
                &[8],
                &text("aarch64"),
                &[5],
                &text("tty"),
            ];
            seeds.push([&[mode, 0][..], &cut, &[1, 1, 0], &failed.concat()].concat());
        }
    }
    seeds
}

fn targets() -> Vec<Vec<u8>> {
    let texts = [
        "web1",
        "ssh:bastion/ssh:db7/sudo:postgres",
        "me@[fe80::1%eth0]:22",
        "web1,user=deploy,port=22,identity=%2Fhome%2Fme%2Fkey,config=conf,option=ProxyJump=a[,]b,host-keys=accept-new",
        "web1,timeout=5,keepalive=0,compression=no,password-file=[/etc/x]",
        "sudo:postgres,login,set-home=no,preserve-env=yes,role=sysadm_r,type=sysadm_t,timeout=9",
        "local,shell=[/bin/dash],timeout=2/local,login-shell=fish",
        "sudo:[a/b,c:d%41]",
        "[sudo]@[web1]",
        "web1//sudo",
        "web1%FF",
        "::1",
        "docker:app",
        "web1,port=0",
        "web\u{1F980}é%C3%A9[",
        "sudo,pasword-file=x",
        "-oProxyCommand=x",
    ];
    let mut seeds: Vec<Vec<u8>> = texts
        .iter()
        .map(|text| [&[0], text.as_bytes()].concat())
        .collect();
    for first in 0..3 {
        seeds.push(
            [
                &[1, 2, first][..],
                &b"\x03a/b\x01\x04]%[,\x01\x02\xc3\xa9".repeat(8),
            ]
            .concat(),
        );
    }
    seeds
}

fn records() -> Vec<Vec<u8>> {
    let [call, reset, cancel] = forms::CHAIN_KINDS;
    let [value, failed, lost] = forms::CHANNEL_KINDS;
    let calls = [
        forms::record(call, &forms::call("facts", &[])),
        forms::record(call, &forms::call("echo", b"\x02hi")),
        forms::record(cancel, &1u32.to_le_bytes()),
        forms::record(reset, &[]),
        forms::record(call, &[]),
        forms::record(9, b"unknown"),
        forms::record(cancel, &[1]),
    ]
    .concat();
    let said = codec::to_bytes(&("web1", "the disk is full")).expect("it can be written");
    let error = codec::to_bytes(&Error::ShutDown).expect("it can be written");
    let messages = [
        forms::record(value, b"seven"),
        forms::record(failed, &said),
        forms::record(failed, &said[1..]),
        forms::record(9, b"unknown"),
        forms::record(lost, &error),
        forms::record(value, &[7; 300]),
    ]
    .concat();
    let mut seeds = Vec::new();
    for lengths in [&[][..], &[1], &[4, 2], &[5, 200, 1]] {
        let cut = [&[lengths.len() as u8], lengths].concat();
        for end in [&[][..], &[9, 0, 0, 0], &[255; 6]] {
            for (mode, stream) in [
                (&[0, 0, 40][..], &calls),
                (&[0, 2], &messages),
                (&[1], &calls),
            ] {
                seeds.push([mode, &cut[..], stream, end].concat());
            }
            for ends in 0..3 {
                seeds.push([&[2, ends], &cut[..], &messages, end].concat());
            }
        }
    }
    seeds.push(
        [
            &[3, 1][..],
            &[9; 16],
            &[3, 1, 2, 3],
            &forms::greet(true, 7, 0),
        ]
        .concat(),
    );
    seeds.push(
        [
            &[4][..],
            &text("web1"),
            &text("no"),
            &text("gone"),
            &text("content"),
            &[255; 5],
        ]
        .concat(),
    );
    seeds
}

/// Each way to read, in each order of what can be named, behind trees of several shapes.
fn names() -> Vec<Vec<u8>> {
    // How many contexts, the parent of each and whether it is known by name, and who is told of
    // whom.
    let trees: [&[u8]; 3] = [
        &[0, 0, 0, 0],
        &[3, 0, 1, 1, 1, 2, 0, 0, 1, 2, 1, 2, 2, 3],
        &[5, 0, 1, 1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 1, 2, 0],
    ];
    let mut seeds = Vec::new();
    for tree in trees {
        for how in 0..offshoot_agent::testing::READINGS as u8 {
            let mut seed = tree.to_vec();
            // Messages from everyone of everyone, well-formed ones and others.
            for who in 0..4 {
                for of in 0..6 {
                    seed.extend([
                        how, who, 1, of, 1, 9, 0, 0, 0, 1, 7, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0,
                    ]);
                }
                seed.extend([how, who, 0, 4, who, 9, 251, 1]);
            }
            seeds.push(seed);
        }
    }
    // A name that would turn the direction of the text around it.
    let turned = [&[0, 0, 0, 0, 0, 0, 1, 0, 4][..], "a\u{202e}".as_bytes()].concat();
    seeds.push(turned);
    seeds
}
