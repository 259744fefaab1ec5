//! The command line on a machine that has Rust and no copy of this repository: installed from the
//! packages, by a cargo that knows no other registry.
//!
//! `cargo xtask test` has made the packages and installed it. The suite `agent_delivery` runs
//! programs that were built from the same packages.

use std::fs;
use std::path::Path;

use offshoot_tests::examples::{Key, host, shell};
use offshoot_tests::scratch::ScratchDir;
use offshoot_tests::{Finished, Leaks, Run, Sshd};
use serde_json::Value;

/// Runs the installed command line from a folder where nothing helps it.
fn installed(words: &[&str]) -> Finished {
    let program = std::env::var_os("OFFSHOOT_INSTALLED").expect("`cargo xtask test` sets it");
    let folder = ScratchDir::new("installed");
    let copy = folder.path().join("offshoot");
    fs::copy(&program, &copy).unwrap_or_else(|error| panic!("{}: {error}", program.display()));
    Run::program("env")
        .args(["-u", "OFFSHOOT_AGENTS"])
        .arg(copy)
        .args(words)
        .finish()
}

fn version(seen: Finished) -> Value {
    let out = seen.expect_code(0).out();
    serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}"))
}

#[test]
fn an_installed_command_line_reaches_local_and_a_host_over_ssh() {
    let _leaks = Leaks::begin();
    installed(&["run", "local", "--", "true"]).expect_code(0);
    let server = Sshd::start("web1");
    let config = server.config().display().to_string();
    let seen = installed(&["run", "-F", &config, "root@web1", "--", "id", "-u"]).expect_code(0);
    assert_eq!(seen.out(), "0\n");
}

#[test]
fn a_package_has_the_build_number_and_the_image_bytes_of_the_repository() {
    let _leaks = Leaks::begin();
    let packaged = version(installed(&["version", "--json"]));
    let here = version(Run::offshoot(["version", "--json"]).finish());
    assert_eq!(packaged["build"], here["build"]);
    assert_eq!(packaged["version"], env!("CARGO_PKG_VERSION"));
    let images = |of: &Value| -> Vec<Vec<String>> {
        let images = of["images"].as_array().expect("it is a list").iter();
        images
            .map(|image| {
                ["target", "size", "sha256"]
                    .map(|key| image[key].to_string())
                    .into()
            })
            .collect()
    };
    assert_eq!(images(&packaged), images(&here));
    assert_eq!(images(&packaged).len(), 2, "{packaged}");
    for image in packaged["images"].as_array().expect("it is a list") {
        assert_eq!(image["place"], "embedded in this program");
    }
    let text = installed(&["version"]).expect_code(0).out();
    let sum = packaged["images"][0]["sha256"]
        .as_str()
        .expect("it is text");
    assert!(sum.len() == 64 && text.contains(sum), "{text}");
}

#[test]
fn the_first_steps_of_the_guide_call_a_function_over_ssh_and_sudo() {
    let _leaks = Leaks::begin();
    let _key = Key;
    let built = std::env::var_os("OFFSHOOT_PROJECTS").expect("`cargo xtask test` sets it");
    let target = format!("{}-unknown-linux-musl/debug/first", std::env::consts::ARCH);
    let program = Path::new(&built).join(target);
    let _host = host("web1");
    let folder = ScratchDir::new("first");
    let command = format!("unset OFFSHOOT_AGENTS; {}", program.display());
    let seen = shell(&command, folder.path(), &[]).finish().expect_code(0);
    let out = seen.out();
    let number = out.strip_prefix("ssh.web1.sudo.root: ").map(str::trim_end);
    assert!(
        number.is_some_and(|number| number.parse::<u32>().is_ok()),
        "{out}"
    );
}

#[test]
fn build_agent_without_a_manifest_names_the_option() {
    let _leaks = Leaks::begin();
    let seen = installed(&["build-agent"]);
    assert_eq!(seen.code, 2, "{}", seen.err());
    for part in ["--manifest-path", "Cargo.toml", "offshoot version"] {
        assert!(
            seen.err().contains(part),
            "{part:?} is missing: {}",
            seen.err()
        );
    }
}
