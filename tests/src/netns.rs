//! Network namespaces that live as long as a value: no name in `/run/netns`, no helper process.
//!
//! One descriptor holds a namespace; its loopback is up. Programs enter it at exec
//! ([`NetNs::enter_on_exec`]). Code enters it on a thread of its own ([`NetNs::within`]), because a
//! thread cannot move back.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;

use nix::sched::{CloneFlags, setns, unshare};

use crate::delay::interface;

/// One network namespace.
#[derive(Debug)]
pub struct NetNs {
    handle: File,
}

impl NetNs {
    /// Creates an empty namespace with its loopback up.
    ///
    /// # Panics
    /// Panics if the kernel refuses it.
    pub fn new() -> Self {
        let made = std::thread::spawn(|| -> io::Result<File> {
            unshare(CloneFlags::CLONE_NEWNET)?;
            interface::bring_up("lo")?;
            File::open("/proc/thread-self/ns/net")
        });
        let handle = made
            .join()
            .expect("the thread does not panic")
            .expect("root may make a network namespace");
        Self { handle }
    }

    /// Returns a path of the namespace for `nsenter --net=`, valid as long as this value lives.
    pub fn path(&self) -> PathBuf {
        PathBuf::from(format!(
            "/proc/{}/fd/{}",
            std::process::id(),
            self.handle.as_raw_fd()
        ))
    }

    /// Makes `command` run inside.
    pub fn enter_on_exec<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        let handle = self.handle.try_clone().expect("a descriptor is free");
        // SAFETY: the closure runs between fork and exec and makes one system call that allocates
        // nothing.
        unsafe { command.pre_exec(move || Ok(setns(&handle, CloneFlags::CLONE_NEWNET)?)) }
    }

    /// Runs `work` inside, on a thread of its own.
    ///
    /// # Panics
    /// Panics if `work` does.
    pub fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let inside = scope.spawn(|| {
                setns(&self.handle, CloneFlags::CLONE_NEWNET)
                    .expect("root may enter its own namespace");
                work()
            });
            inside.join().expect("the work does not panic")
        })
    }
}

impl Default for NetNs {
    fn default() -> Self {
        Self::new()
    }
}

impl AsFd for NetNs {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.handle.as_fd()
    }
}
