//! The watcher of a bootstrap: markers in pieces, noise, and the explanation of each ending.

use offshoot_bootstrap::{Mode, Nonce, Platform, agent_marker, exit};
use offshoot_proto::ConnectErrorKind;
use offshoot_proto::connect::bootstrap::{BootstrapWatcher, Progress, Retry};
use offshoot_proto::connect::dialogue::Dialogue;

const NONCE: [u8; 8] = *b"\x01\x23\x45\x67\x89\xab\xcd\xef";

fn boot(mode: Mode) -> BootstrapWatcher {
    let mut boot = BootstrapWatcher::new(mode, Platform::X86_64);
    boot.begin(
        Platform::X86_64,
        mode,
        Dialogue::new(Vec::new()),
        &Nonce::new(NONCE),
        b"R1234".to_vec(),
    );
    boot
}

fn marker() -> Vec<u8> {
    agent_marker(&Nonce::new(NONCE))
}

fn failure(verdict: Retry) -> (ConnectErrorKind, String, Vec<String>) {
    match verdict {
        Retry::Failed(error) => (error.kind, error.detail.clone(), error.output.clone()),
        Retry::Again(platform) => panic!("it would go on, for {platform}"),
    }
}

#[test]
fn the_agent_marker_is_found_in_any_pieces_after_any_noise() {
    for noise in [
        "",
        "motd\n",
        "no newline at the end",
        "password: ",
        "offshoot:offshoot:0123",
    ] {
        let stream = [noise.as_bytes(), &marker(), b"frames"].concat();
        for cut in 0..stream.len() {
            let mut boot = boot(Mode::Optimistic);
            let mut rest = Vec::new();
            let mut up = false;
            for piece in [&stream[..cut], &stream[cut..]] {
                if up {
                    rest.extend_from_slice(piece);
                } else if let Progress::Up(first) = boot.stdout(piece) {
                    up = true;
                    rest = first;
                }
            }
            assert!(up, "{noise:?} cut at {cut}");
            assert_eq!(rest, b"frames", "{noise:?} cut at {cut}");
        }
    }
}

#[test]
fn the_ready_marker_of_the_loader_counts_only_in_wait_mode() {
    assert_eq!(boot(Mode::Optimistic).stdout(b"R1234"), Progress::Noise);
    let mut waiting = boot(Mode::Wait);
    assert_eq!(waiting.stdout(b"motd R12"), Progress::Noise);
    assert_eq!(waiting.stdout(b"34"), Progress::Ready);
    assert_eq!(waiting.stdout(&marker()), Progress::Up(Vec::new()));
}

#[test]
fn only_the_last_lines_of_much_output_are_kept() {
    let mut boot = boot(Mode::Optimistic);
    for line in 0..40_000 {
        boot.stdout(format!("line {line} of something that goes on and on\n").as_bytes());
        boot.stderr(format!("error {line}\n").as_bytes());
    }
    let said = boot.said();
    assert!(
        said.len() <= 300 && said.iter().any(|line| line.starts_with("line 39990 ")),
        "{}",
        said.len()
    );
    assert!(!said.iter().any(|line| line.starts_with("line 5 ")));
}

#[test]
fn a_swallowed_image_is_retried_exactly_once() {
    for status in [exit::NO_IMAGE, exit::SHORT, exit::CORRUPT] {
        let mut first = boot(Mode::Optimistic);
        assert!(
            matches!(
                first.exited(Some(status), None, ""),
                Retry::Again(Platform::X86_64)
            ),
            "{status}"
        );
        let dialogue = Dialogue::new(Vec::new());
        first.begin(
            Platform::X86_64,
            Mode::Wait,
            dialogue,
            &Nonce::new(NONCE),
            b"R1234".to_vec(),
        );
        let (kind, detail, _) = failure(first.exited(Some(status), None, ""));
        assert_eq!(kind, ConnectErrorKind::Bootstrap);
        assert!(!detail.is_empty());
    }
}

#[test]
fn a_known_platform_is_retried_and_an_unknown_one_named() {
    for stream in ["stdout", "stderr"] {
        let tell = |boot: &mut BootstrapWatcher, text: &str| {
            if stream == "stdout" {
                boot.stdout(text.as_bytes());
            } else {
                boot.stderr(text.as_bytes());
            }
        };
        let mut arm = boot(Mode::Optimistic);
        tell(&mut arm, "motd\noffshoot:platform:aarch64:\n");
        assert!(matches!(
            arm.exited(Some(exit::PLATFORM), None, ""),
            Retry::Again(Platform::Aarch64)
        ));
        let mut risc = boot(Mode::Optimistic);
        tell(&mut risc, "offshoot:platform:riscv64:\n");
        assert!(matches!(
            risc.exited(Some(exit::PLATFORM), None, ""),
            Retry::Again(Platform::Riscv64)
        ));
        let mut vax = boot(Mode::Optimistic);
        tell(&mut vax, "offshoot:platform:vax:\n");
        let (kind, detail, said) = failure(vax.exited(Some(exit::PLATFORM), None, ""));
        assert_eq!(kind, ConnectErrorKind::Platform);
        assert!(
            detail.contains("vax") && said.is_empty(),
            "{detail} {said:?}"
        );
    }
}

#[test]
fn every_other_exit_is_explained_with_the_quoted_output() {
    for (status, signal, expected) in [
        (Some(exit::NO_PLACE), None, ConnectErrorKind::Bootstrap),
        (Some(exit::REFUSED), None, ConnectErrorKind::Bootstrap),
        (Some(exit::DAMAGED), None, ConnectErrorKind::Bootstrap),
        (Some(127), None, ConnectErrorKind::Exited),
        (Some(1), None, ConnectErrorKind::Exited),
        (None, Some(9), ConnectErrorKind::Exited),
    ] {
        let mut boot = boot(Mode::Optimistic);
        boot.stdout(b"This account is currently not available.");
        boot.stderr(b"and more\n");
        let (kind, detail, said) = failure(boot.exited(status, signal, "try this"));
        assert_eq!(kind, expected, "{status:?} {signal:?}");
        assert!(!detail.is_empty());
        assert_eq!(
            said,
            ["This account is currently not available.", "and more"]
        );
    }
}
