//! `local-attacker USER ACT PROOF FOLDER...`: another user of a host, who wants root to execute a
//! program of theirs.
//!
//! It knows the names that stage 0 uses and creates them first, or swaps files that stage 0 has
//! created. Prints `ready` when the files are in place, continues until stdin ends, and then prints
//! which of its files were touched.

use std::ffi::CString;
use std::fs;
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use offshoot_tests::join_peer::drop_privileges;

/// Process ids in a scene are small.
const NUMBERS: std::ops::Range<u32> = 1..60;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [user, act, proof, folders @ ..] = words.as_slice() else {
        panic!("usage: local-attacker USER ACT PROOF FOLDER...")
    };
    drop_privileges(user);
    let program = format!(
        "#!/bin/sh\necho executed by $(id -u) with $# words >>{proof}\n[ $# = 0 ]&&exit 42\nexit 90\n"
    );
    let folders: Vec<PathBuf> = folders.iter().map(PathBuf::from).collect();
    match act.as_str() {
        "exchange" => exchange(&folders, &program),
        "flip" => flip(&folders, &program),
        kind => squat(kind, &folders, &program),
    }
}

fn names(folders: &[PathBuf]) -> Vec<PathBuf> {
    folders
        .iter()
        .flat_map(|folder| NUMBERS.map(move |number| folder.join(format!(".o{number}"))))
        .collect()
}

fn write(path: &Path, program: &str) {
    fs::write(path, program).expect("the folder is open to him");
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("it is his");
}

/// Properties of a file that change if somebody else uses it.
fn state(path: &Path) -> Option<(u64, u32, u32, u64)> {
    fs::symlink_metadata(path)
        .ok()
        .map(|about| (about.ino(), about.mode(), about.uid(), about.size()))
}

fn wait_for_the_end() {
    println!("ready");
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}

/// Creates all names in advance.
fn squat(kind: &str, folders: &[PathBuf], program: &str) {
    let names = names(folders);
    let mut open = Vec::new();
    for name in &names {
        match kind {
            "fifo" | "silent-fifo" => {
                mkfifo(name, Mode::from_bits_truncate(0o666)).expect("a name is free")
            }
            "link" => symlink(folders[0].join("target"), name).expect("a name is free"),
            "folder" => fs::create_dir(name).expect("a name is free"),
            _ => write(name, program),
        }
        if kind == "folder" {
            fs::set_permissions(name, fs::Permissions::from_mode(0o777)).expect("it is his");
            write(&name.join("l"), program);
        }
        if kind == "fifo" {
            fs::set_permissions(name, fs::Permissions::from_mode(0o666)).expect("it is his");
            let options = fs::OpenOptions::new()
                .read(true)
                .write(true)
                .custom_flags(libc::O_NONBLOCK)
                .open(name);
            open.push(options.expect("it is his"));
        }
    }
    let before: Vec<_> = names.iter().map(|name| state(name)).collect();
    // If one of them is made executable, it becomes the attacker's program.
    let watch = Inotify::init(InitFlags::IN_CLOEXEC).expect("the kernel has it");
    for folder in folders {
        watch
            .add_watch(folder, AddWatchFlags::IN_ATTRIB)
            .expect("the folder is open to him");
        write(&folder.join(".program"), program);
    }
    let (folders, text) = (folders.to_vec(), program.to_owned());
    std::thread::spawn(move || {
        while let Ok(events) = watch.read_events() {
            for name in events.into_iter().filter_map(|event| event.name) {
                for folder in &folders {
                    let name = folder.join(&name);
                    if state(&name).is_some_and(|(_, mode, ..)| mode & 0o7777 == 0o700) {
                        let _ = fs::rename(folder.join(".program"), &name);
                        write(&folder.join(".program"), &text);
                    }
                }
            }
        }
    });
    wait_for_the_end();
    for (name, before) in names.iter().zip(&before) {
        if state(name) != *before {
            println!(
                "{} was changed: {before:?}, {:?}",
                name.display(),
                state(name)
            );
        }
    }
    for mut fifo in open {
        let mut some = [0; 16];
        if fifo.read(&mut some).is_ok_and(|length| length > 0) {
            println!("a FIFO was written to: {some:?}");
        }
    }
    println!("done");
}

/// Replaces whatever appears in the attacker's directories with the attacker's program.
fn exchange(folders: &[PathBuf], program: &str) {
    let watch = Inotify::init(InitFlags::IN_CLOEXEC).expect("the kernel has it");
    for folder in folders {
        let his = folder.join("his");
        fs::create_dir(&his).expect("the name is free");
        write(&his.join("l"), program);
        let flags =
            AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO | AddWatchFlags::IN_ATTRIB;
        watch.add_watch(folder, flags).expect("it is his");
    }
    let (watched, seen) = (
        folders.to_vec(),
        std::sync::Arc::new(AtomicBool::new(false)),
    );
    let noted = std::sync::Arc::clone(&seen);
    std::thread::spawn(move || {
        while let Ok(events) = watch.read_events() {
            for name in events.into_iter().filter_map(|event| event.name) {
                for folder in watched
                    .iter()
                    .filter(|_| name.to_string_lossy().starts_with(".o"))
                {
                    noted.store(true, Ordering::Relaxed);
                    swap(&folder.join("his"), &folder.join(&name));
                }
            }
        }
    });
    wait_for_the_end();
    if seen.load(Ordering::Relaxed) {
        println!("something was made in a folder of his");
    }
    println!("done");
}

/// Switches a symlink (the first name) between the second and the third name as fast as possible;
/// the fourth is the directory behind the third, with the attacker's program wherever stage 0 could
/// look for its own.
fn flip(folders: &[PathBuf], program: &str) {
    let [link, theirs, his, folder] = folders else {
        panic!("flip LINK THEIRS HIS FOLDER")
    };
    for name in names(std::slice::from_ref(folder)) {
        fs::create_dir(&name).expect("a name is free");
        write(&name.join("l"), program);
    }
    let other = link.with_extension("other");
    symlink(theirs, link).expect("the name is free");
    symlink(his, &other).expect("the name is free");
    let (from, to) = (link.clone(), other);
    std::thread::spawn(move || {
        loop {
            swap(&from, &to);
        }
    });
    wait_for_the_end();
    println!("done");
}

fn swap(one: &Path, other: &Path) {
    let c = |path: &Path| CString::new(path.as_os_str().as_encoded_bytes()).expect("our own paths");
    let (one, other) = (c(one), c(other));
    // SAFETY: two C strings.
    unsafe {
        libc::renameat2(
            libc::AT_FDCWD,
            one.as_ptr(),
            libc::AT_FDCWD,
            other.as_ptr(),
            libc::RENAME_EXCHANGE,
        );
    }
}
