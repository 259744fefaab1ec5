//! Images and the text around them: what is rejected, and limits.

mod machine;

use std::{fs, path::Path};

use machine::{compilable, folder, image, nonce};
use offshoot_bootstrap::{
    Image, ImageError, MAX_COMMAND, MAX_TITLE, Mode, Nonce, Param, Platform, Stage0, clean_title,
    layout::{TRAILER, Trailer, fnv1a},
    native, pack, parse_param,
};

fn trailer_at(bytes: &[u8]) -> usize {
    bytes.len() - TRAILER
}

/// Returns the bytes of the image after `change`, with a corrected checksum of the trailer.
fn changed(change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = image().bytes().to_vec();
    change(&mut bytes);
    let at = trailer_at(&bytes);
    let checksum = fnv1a(&bytes[at..at + TRAILER - 4]);
    bytes[at + TRAILER - 4..].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

fn parse(bytes: Vec<u8>) -> Result<Image, ImageError> {
    Image::parse(bytes)
}

#[test]
fn an_image_unpacks_to_the_parts_packed_into_it() {
    let stages = native::compile(image().platform(), Path::new("rustc"), &folder()).unwrap();
    assert_eq!(Some(image().platform()), Platform::host());
    assert_eq!(image().loader(), stages.loader);
    assert_eq!(image().checksum(), fnv1a(image().bytes()));
    let agent = image().unpack().unwrap();
    assert!(agent.starts_with(b"\x7fELF"));
    let again = pack(image().platform(), &agent, &stages.loader, &stages.unpacker).unwrap();
    assert!(
        again == image().bytes()[..],
        "the same parts give the same image"
    );
}

#[test]
fn the_agent_in_an_image_can_be_replaced() {
    let agent = image().unpack().unwrap();
    let program = fs::read("/proc/self/exe").unwrap();
    let other = image().with_agent(&program).unwrap();
    let inside = other.unpack().unwrap();
    assert!(inside.len() < program.len() && other.loader() == image().loader());
    assert!(
        inside[64..1000] == program[64..1000],
        "only sections that are not loaded are left out"
    );
    // And back again: both stages are unchanged.
    let back = other.with_agent(&agent).unwrap().unpack().unwrap();
    assert!(back == image().with_agent(&agent).unwrap().unpack().unwrap());
    let stages = native::compile(image().platform(), Path::new("rustc"), &folder()).unwrap();
    let packed = pack(image().platform(), &back, &stages.loader, &stages.unpacker).unwrap();
    let at = stages.unpacker.len() + stages.loader.len();
    assert!(packed[112..at] == other.bytes()[112..at]);
    for wrong in [&b"not a program"[..], &agent[..60], &program[..2000]] {
        assert!(image().with_agent(wrong).is_err());
    }
}

#[test]
fn a_byte_changed_anywhere_in_the_trailer_is_refused() {
    let bytes = image().bytes();
    for place in trailer_at(bytes)..bytes.len() {
        let mut wrong = bytes.to_vec();
        wrong[place] ^= 0x10;
        assert_eq!(
            parse(wrong).err(),
            Some(ImageError::Trailer),
            "byte {place}"
        );
    }
}

#[test]
fn a_contradictory_field_is_refused_even_with_a_valid_checksum() {
    let numbers = [0, 1, 119, 0x7fff_ffff, u32::MAX];
    for (name, field) in [
        ("loader offset", 12),
        ("loader length", 16),
        ("image length", 20),
    ] {
        for number in numbers {
            let wrong = changed(|bytes| {
                let at = trailer_at(bytes) + field;
                bytes[at..at + 4].copy_from_slice(&u32::to_le_bytes(number));
            });
            assert!(parse(wrong).is_err(), "{name} {number}");
        }
    }
    for (name, field) in [("magic", 0), ("version", 8), ("zero", 10), ("zero", 11)] {
        let wrong = changed(|bytes| {
            let at = trailer_at(bytes) + field;
            bytes[at] = bytes[at].wrapping_add(1);
        });
        assert_eq!(parse(wrong).err(), Some(ImageError::Trailer), "{name}");
    }
    let wrong = changed(|bytes| {
        let at = trailer_at(bytes) + 9;
        bytes[at] = 77;
    });
    assert_eq!(parse(wrong).err(), Some(ImageError::Platform(77)));
    let wrong = changed(|bytes| {
        let at = trailer_at(bytes) + 9;
        bytes[at] ^= 3;
    });
    assert_eq!(parse(wrong).err(), Some(ImageError::Program("unpacker")));
}

#[test]
fn a_length_over_the_limit_is_refused_before_anything_is_allocated() {
    for number in [(64 << 20) + 1, u32::MAX] {
        let wrong = changed(|bytes| {
            let at = trailer_at(bytes) + 24;
            bytes[at..at + 4].copy_from_slice(&u32::to_le_bytes(number));
        });
        assert_eq!(
            parse(wrong).err(),
            Some(ImageError::Trailer),
            "raw length {number}"
        );
    }
}

#[test]
fn a_damaged_payload_is_detected_when_unpacked() {
    let raw_length = changed(|bytes| {
        let at = trailer_at(bytes) + 24;
        bytes[at] ^= 1;
    });
    assert_eq!(
        parse(raw_length).unwrap().unpack(),
        Err(ImageError::Payload)
    );
    let middle = changed(|bytes| {
        let at = bytes.len() - 2000;
        bytes[at] ^= 1;
    });
    assert_eq!(parse(middle).unwrap().unpack(), Err(ImageError::Payload));
}

#[test]
fn stages_that_are_not_executables_of_the_platform_are_refused() {
    let loader_at = Trailer::read(image().bytes()).unwrap().loader_offset as usize;
    for (start, stage) in [(0, "unpacker"), (loader_at, "loader")] {
        // Magic, class, byte order, machine, offset and size of the header, segment offset, both
        // lengths.
        for place in [0, 4, 5, 18, 32, 54, 56, 72, 96, 104] {
            let wrong = changed(|bytes| bytes[start + place] ^= 0x40);
            assert_eq!(
                parse(wrong).err(),
                Some(ImageError::Program(stage)),
                "byte {place} of the {stage}"
            );
        }
    }
}

#[test]
fn truncated_empty_or_extended_bytes_are_not_an_image() {
    let bytes = image().bytes();
    for length in (0..bytes.len())
        .step_by(97)
        .chain([bytes.len() - 1, TRAILER, TRAILER - 1])
    {
        assert!(Image::parse(&bytes[..length]).is_err(), "{length} bytes");
    }
    let longer = [bytes, [0].as_slice()].concat();
    assert!(Image::parse(longer).is_err());
}

/// Returns an image for `platform` that cannot run, for tests of the text around it.
fn image_for(platform: Platform) -> (Image, native::Stages) {
    let stages = native::compile(platform, Path::new("rustc"), &folder()).unwrap();
    let image = pack(platform, &stages.unpacker, &stages.loader, &stages.unpacker).unwrap();
    (Image::parse(image).unwrap(), stages)
}

#[test]
fn command_and_stages_stay_within_their_budgets_on_every_platform() {
    for platform in compilable() {
        let (image, stages) = image_for(platform);
        let title = "x".repeat(MAX_TITLE);
        for mode in [Mode::Optimistic, Mode::Wait] {
            let stage0 = Stage0::new(&image, &nonce(), mode, &title);
            let (script, command) = (stage0.script(), stage0.command("sh -c"));
            println!(
                "{platform}: command {} with a title of {MAX_TITLE}",
                command.len()
            );
            assert!(
                command.len() <= MAX_COMMAND,
                "{platform}: {} bytes",
                command.len()
            );
            for forbidden in ["'", "\n", "!", "\\\\"] {
                assert!(!script.contains(forbidden), "{platform}: {forbidden:?}");
            }
            assert!(
                script.bytes().all(|byte| matches!(byte, b' '..=b'~')),
                "{platform}: plain text"
            );
            let param = stage0.param();
            assert!(param.len() == 35 && script.contains(&param));
            assert_eq!(parse_param(&param).map(|param| param.mode), Ok(mode));
        }
        println!(
            "{platform}: loader {}, unpacker {}",
            stages.loader.len(),
            stages.unpacker.len()
        );
        assert!(
            stages.loader.len() <= 1100,
            "{platform}: the loader has {} bytes",
            stages.loader.len()
        );
        assert!(
            stages.unpacker.len() <= 6000,
            "{platform}: the unpacker has {} bytes",
            stages.unpacker.len()
        );
    }
}

#[test]
fn stages_compile_reproducibly_in_any_directory() {
    for platform in compilable() {
        let first = native::compile(platform, Path::new("rustc"), &folder()).unwrap();
        let second = native::compile(platform, Path::new("rustc"), &folder()).unwrap();
        assert_eq!(first, second, "{platform}");
    }
}

#[test]
fn the_longest_length_and_checksum_have_eight_digits() {
    let param = Param {
        image_fd: None,
        agent_fd: None,
        mode: Mode::Wait,
        nonce: Nonce::new([0xff; 8]),
        length: u32::MAX,
        checksum: 0,
    };
    assert_eq!(param.to_string(), "..wffffffff00000000ffffffffffffffff");
}

#[test]
fn hosts_of_a_narrower_platform_get_the_image_of_the_wider_one() {
    let native = Stage0::new(image(), &nonce(), Mode::Wait, "t").script();
    assert!(native.contains("in x86_64|amd64|\"\");;") && native.contains("syscall(319,"));
    let image = image().clone().for_hosts(Platform::I686);
    assert_eq!(
        (image.platform(), image.hosts()),
        (Platform::X86_64, Platform::I686)
    );
    let script = Stage0::new(&image, &nonce(), Mode::Wait, "t").script();
    assert!(script.contains("in i686|i386|i486|i586|\"\");;"));
    // The interpreter there has 32 bits.
    assert!(script.contains("syscall(356,"));
}

#[test]
fn a_title_is_sanitized_and_truncated() {
    assert_eq!(clean_title("offshoot: web1"), "offshoot: web1");
    assert_eq!(clean_title("a'b\"c\\d!e$f`g\nh\u{e9}"), "a_b_c_d_e_f_g_h_");
    assert_eq!(clean_title(&"é".repeat(500)).len(), MAX_TITLE);
}

#[test]
fn a_program_for_another_platform_is_not_packed() {
    let stages = native::compile(Platform::X86_64, Path::new("rustc"), &folder()).unwrap();
    let agent = fs::read("/proc/self/exe").unwrap();
    assert!(pack(Platform::Aarch64, &agent, &stages.loader, &stages.unpacker).is_err());
    assert!(
        pack(
            Platform::X86_64,
            b"not a program",
            &stages.loader,
            &stages.unpacker
        )
        .is_err()
    );
    assert!(pack(Platform::X86_64, &agent[..1000], &stages.loader, b"").is_err());
}
