//! The stages in real shells: each promise of stage 0, loader and unpacker, shown by a process.

mod machine;

use std::{
    fs,
    io::Write,
    os::unix::fs::PermissionsExt,
    process::{Command, Stdio},
};

use machine::{
    MINIMUM, assert_up, command, folder, image, image_and_rest, nonce, path_of, read_until, script,
    shell, start,
};
use offshoot_bootstrap::{Mode, exit, parse_param, platform_notice, ready_marker};

/// Shells that may be called `sh`.
const SHELLS: [&str; 6] = ["dash", "bash", "busybox", "mksh", "ksh", "zsh"];

#[test]
fn every_posix_shell_starts_the_agent_and_leaves_the_following_bytes_unread() {
    let (input, rest) = image_and_rest();
    for name in SHELLS {
        let path = path_of(&[&MINIMUM[..], &["printf", &format!("sh={name}")]].concat());
        let result = start(shell(&path).arg("-c").arg(script(Mode::Optimistic)), &input);
        assert_up(&result, &rest, name);
        assert_eq!(result.stderr, "", "{name}");
    }
}

#[test]
fn the_command_passes_unchanged_through_every_login_shell() {
    let (input, rest) = image_and_rest();
    let path = path_of(&[&MINIMUM[..], &["sh", "printf"]].concat());
    for login in [
        "bash", "dash", "zsh", "mksh", "ksh", "busybox", "fish", "tcsh", "rc",
    ] {
        let mut shell = Command::new(format!("/usr/bin/{login}"));
        shell.env_clear().env("PATH", &path).env("HOME", folder());
        if login == "busybox" {
            shell.arg("ash");
        }
        let result = start(shell.arg("-c").arg(command(Mode::Optimistic)), &input);
        assert_up(&result, &rest, login);
    }
}

#[test]
fn the_agent_gets_its_title_its_parameter_and_a_sealed_copy_of_its_image() {
    let place = folder();
    let path = path_of(&[&MINIMUM[..], &["sh"]].concat());
    let mut shell = shell(&path);
    let result = start(
        shell
            .env("TMPDIR", &place)
            .arg("-c")
            .arg(script(Mode::Optimistic)),
        image().bytes(),
    );
    let line = result.first_line();
    let words: Vec<&str> = line.split('"').collect();
    let param = parse_param(words[3]).unwrap();
    assert_eq!(words[1], "offshoot: web1");
    assert_eq!(words[5], "/proc/self/cwd", "the shell has gone there");
    assert_eq!(
        (param.nonce, param.mode, param.checksum),
        (nonce(), Mode::Optimistic, image().checksum())
    );
    assert_eq!(param.length as usize, image().bytes().len());
    assert!(
        param.image_fd.is_some() && param.agent_fd.is_some() && param.image_fd != param.agent_fd,
        "{line}"
    );
    assert!(
        line.ends_with(&format!(
            "Ok(\"yes\") image Some({}) changed false",
            image().checksum()
        )),
        "{line}"
    );
    assert_eq!(
        fs::read_dir(place).unwrap().count(),
        0,
        "nothing is left where the loader was"
    );
}

#[test]
fn a_title_cannot_inject_shell_code() {
    let title = "offshoot: a\"b'c$(id)`id`\\!\nd";
    let stage0 = offshoot_bootstrap::Stage0::new(image(), &nonce(), Mode::Optimistic, title);
    let path = path_of(&[&MINIMUM[..], &["sh"]].concat());
    let result = start(shell(&path).arg("-c").arg(stage0.script()), image().bytes());
    assert!(
        result
            .first_line()
            .contains("\"offshoot: a_b_c_(id)_id____d\""),
        "{}",
        result.first_line()
    );
}

#[test]
fn a_waiting_parent_is_told_when_to_send() {
    let (input, rest) = image_and_rest();
    let marker = ready_marker(&nonce(), image());
    let command = command(Mode::Wait);
    assert!(
        !command
            .as_bytes()
            .windows(marker.len())
            .any(|part| part == marker),
        "an echo of the command is no marker"
    );
    let mut child = Command::new("sh")
        .arg("-c")
        .arg(&command)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = child.stdout.take().unwrap();
    assert_eq!(read_until(&mut stdout, &marker), marker);
    let mut stdin = child.stdin.take().unwrap();
    // Slowly, in odd pieces, with the rest in the piece that ends the image.
    let (first, last) = input.split_at(image().bytes().len() - 10);
    for part in first.chunks(7001) {
        stdin.write_all(part).unwrap();
        std::thread::yield_now();
    }
    stdin.write_all(last).unwrap();
    drop(stdin);
    let line = read_until(&mut stdout, b"\n");
    assert!(
        line.starts_with(b"up "),
        "{}",
        String::from_utf8_lossy(&line)
    );
    let mut echoed = Vec::new();
    std::io::Read::read_to_end(&mut stdout, &mut echoed).unwrap();
    assert!(echoed == rest);
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_truncated_or_damaged_image_is_never_executed() {
    let path = path_of(&[&MINIMUM[..], &["sh"]].concat());
    let run =
        |input: &[u8]| start(shell(&path).arg("-c").arg(script(Mode::Optimistic)), input).code;
    let bytes = image().bytes();
    assert_eq!(run(&[]), Some(exit::SHORT));
    assert_eq!(run(&bytes[..3]), Some(exit::SHORT));
    assert_eq!(run(&bytes[..bytes.len() - 1]), Some(exit::SHORT));
    for place in [4, bytes.len() / 2, bytes.len() - 1] {
        let mut damaged = bytes.to_vec();
        damaged[place] ^= 1;
        assert_eq!(run(&damaged), Some(exit::CORRUPT), "byte {place}");
    }
}

#[test]
fn a_swallowed_first_line_is_detected_without_waiting_for_the_rest() {
    let path = path_of(&[&MINIMUM[..], &["sh"]].concat());
    let mut child = shell(&path)
        .arg("-c")
        .arg(format!("read line; {}", command(Mode::Optimistic)))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let _ = stdin.write_all(image().bytes());
    // stdin stays open: only the first bytes reveal the damage. Waiting for the missing ones would
    // end with another code.
    assert_eq!(child.wait().unwrap().code(), Some(exit::CORRUPT));
    drop(stdin);
}

#[test]
fn the_loader_times_out_if_no_image_arrives() {
    let path = path_of(&[&MINIMUM[..], &["sh"]].concat());
    let mut child = shell(&path)
        .arg("-c")
        .arg(script(Mode::Optimistic))
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let stdin = child.stdin.take();
    assert_eq!(child.wait().unwrap().code(), Some(exit::NO_IMAGE));
    drop(stdin);
}

#[test]
fn bytes_before_the_image_are_skipped_up_to_its_first() {
    let (input, rest) = image_and_rest();
    let path = path_of(&[&MINIMUM[..], &["sh"]].concat());
    for (before, up) in [
        ("\n", true),
        ("exit 88\n", true),
        ("exit 88\n\n\n\n\n\n\n", true),
        ("xit 88\r\n\0", true),
        ("\x7f", false),
        ("\x7fEL", false),
    ] {
        let input = [before.as_bytes(), input.as_slice()].concat();
        let result = start(shell(&path).arg("-c").arg(script(Mode::Optimistic)), &input);
        if up {
            assert_up(&result, &rest, &format!("{before:?}"));
        } else {
            assert_eq!(result.code, Some(exit::CORRUPT), "{before:?}");
        }
    }
}

#[test]
fn another_platform_is_reported_on_both_streams_before_stdin_is_read() {
    let path = path_of(&["sh"]);
    let uname = path.join("uname");
    fs::write(&uname, "#!/bin/sh\necho riscv64\n").unwrap();
    fs::set_permissions(&uname, fs::Permissions::from_mode(0o755)).unwrap();
    let result = start(shell(&path).arg("-c").arg(script(Mode::Optimistic)), &[]);
    assert_eq!(result.code, Some(exit::PLATFORM));
    assert_eq!(platform_notice(&result.first_line()), Some("riscv64"));
    assert_eq!(platform_notice(&result.stderr), Some("riscv64"));
}

#[test]
fn a_machine_without_uname_is_assumed_to_match_the_image() {
    let path = path_of(&["sh", "mkdir", "chmod", "rm"]);
    let result = start(
        shell(&path).arg("-c").arg(script(Mode::Optimistic)),
        image().bytes(),
    );
    assert_up(&result, &[], "no uname");
}

#[test]
fn an_existing_file_at_the_same_path_is_left_untouched() {
    let place = folder();
    let path = path_of(&[&MINIMUM[..], &["sh"]].concat());
    // The name contains the shell's own id, so the same shell creates the file.
    let text = format!("echo mine>\"$TMPDIR/.o$$\";{}", script(Mode::Optimistic));
    let result = start(
        shell(&path).env("TMPDIR", &place).arg("-c").arg(text),
        image().bytes(),
    );
    assert!(result.first_line().starts_with("up "), "{}", result.stderr);
    let left: Vec<_> = fs::read_dir(&place)
        .unwrap()
        .map(|entry| fs::read(entry.unwrap().path()).unwrap())
        .collect();
    assert_eq!(left, [b"mine\n"]);
}
