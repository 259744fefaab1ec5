//! OpenSSH servers on loopback, each with its own port, host key, known-hosts file and client
//! configuration.
//!
//! A server is an alias: `Sshd::start("web1")` can be reached as `web1` by `ssh -F CONFIG` with
//! [`Sshd::config`]. The alias is written to `/etc/ssh/ssh_config.d` as well, so any user of the
//! sandbox can use it at any depth. Dropping a server ends it and the sshd processes of its
//! sessions; processes that the sessions started are left to the leak check.

use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::netns::NetNs;
use crate::process::{self, must_run};
use crate::run::LIMIT;
use crate::scratch::{ScratchDir, write_file};
use crate::users;

/// Configuration of a server; see [`Sshd::named`].
#[derive(Debug)]
pub struct SshdBuilder<'a> {
    alias: String,
    address: Ipv4Addr,
    namespace: Option<&'a NetNs>,
    lines: Vec<String>,
    client_lines: Vec<String>,
}

impl<'a> SshdBuilder<'a> {
    /// Adds a line to `sshd_config` before the defaults, so that it takes precedence.
    pub fn line(mut self, line: impl Into<String>) -> Self {
        self.lines.push(line.into());
        self
    }

    /// Adds a line to the alias in the client configuration.
    pub fn client_line(mut self, line: impl Into<String>) -> Self {
        self.client_lines.push(line.into());
        self
    }

    /// Disables login by key.
    pub fn password_only(self) -> Self {
        self.line("PubkeyAuthentication no")
            .line("AuthenticationMethods password")
    }

    /// Listens on this address inside another network namespace.
    pub fn inside(mut self, namespace: &'a NetNs, address: Ipv4Addr) -> Self {
        self.namespace = Some(namespace);
        self.address = address;
        self
    }

    /// Starts the server and returns when it accepts connections.
    ///
    /// # Panics
    /// Panics if it does not start; the message holds its log.
    pub fn start(self) -> Sshd {
        Sshd::launch(self)
    }
}

/// A running server.
#[derive(Debug)]
pub struct Sshd {
    alias: String,
    address: SocketAddrV4,
    child: Child,
    scratch: ScratchDir,
    system_alias: PathBuf,
}

impl Sshd {
    /// Starts a server with the default configuration.
    ///
    /// # Panics
    /// Panics if it does not start.
    pub fn start(alias: &str) -> Self {
        Self::named(alias).start()
    }

    /// Begins the configuration of a server.
    pub fn named<'a>(alias: &str) -> SshdBuilder<'a> {
        let (lines, client_lines) = (Vec::new(), Vec::new());
        SshdBuilder {
            alias: alias.to_owned(),
            address: Ipv4Addr::LOCALHOST,
            namespace: None,
            lines,
            client_lines,
        }
    }

    fn launch(builder: SshdBuilder<'_>) -> Self {
        users::prepare();
        let scratch = ScratchDir::new("sshd");
        let key = scratch.path().join("host_key");
        must_run(
            "ssh-keygen",
            &[
                "-q",
                "-t",
                "ed25519",
                "-N",
                "",
                "-f",
                key.to_str().expect("our own path"),
            ],
            b"",
        );
        let port = if builder.namespace.is_some() {
            22
        } else {
            free_port()
        };
        let address = SocketAddrV4::new(builder.address, port);
        let config = scratch.file(
            "sshd_config",
            server_config(&builder.lines, &key, address),
            0o644,
        );
        let log = scratch.path().join("log");

        let mut command = Command::new("/usr/sbin/sshd");
        command.args(["-D", "-f"]).arg(&config).arg("-E").arg(&log);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        process::die_with_parent(&mut command);
        if let Some(namespace) = builder.namespace {
            namespace.enter_on_exec(&mut command);
        }
        let mut child = command.spawn().expect("openssh-server is installed");
        let up = process::eventually(LIMIT, || {
            answers(builder.namespace, address)
                || child.try_wait().is_ok_and(|ended| ended.is_some())
        });
        let alive = matches!(child.try_wait(), Ok(None));
        assert!(
            up && alive,
            "sshd did not start:\n{}",
            fs::read_to_string(&log).unwrap_or_default()
        );

        let known = scratch.file("known_hosts", known_hosts(&key, address), 0o644);
        let client = client_config(&builder, address, &known);
        let with_key = format!(
            "{client}  IdentityFile {}\n  IdentitiesOnly yes\n",
            users::client_key().display()
        );
        scratch.file("ssh_config", with_key, 0o644);
        let system_alias = PathBuf::from(format!(
            "/etc/ssh/ssh_config.d/offshoot-{}.conf",
            builder.alias
        ));
        write_file(&system_alias, client, 0o644);
        Self {
            alias: builder.alias,
            address,
            child,
            scratch,
            system_alias,
        }
    }

    /// Returns its alias for clients.
    pub fn alias(&self) -> &str {
        &self.alias
    }

    /// Returns its address.
    pub fn address(&self) -> SocketAddrV4 {
        self.address
    }

    /// Returns an `ssh_config(5)` file with only this server and the key that opens every account.
    pub fn config(&self) -> PathBuf {
        self.scratch.path().join("ssh_config")
    }

    /// Returns the known-hosts file named in the configuration.
    pub fn known_hosts(&self) -> PathBuf {
        self.scratch.path().join("known_hosts")
    }

    /// Returns the log of the server so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.scratch.path().join("log")).unwrap_or_default()
    }

    /// Returns the process id of the server.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Prepares a plain `ssh` as `user`, without the remote command: batch mode, no terminal.
    pub fn ssh(&self, user: &str) -> Command {
        let mut command = Command::new("ssh");
        command.arg("-F").arg(self.config()).args([
            "-T",
            "-o",
            "BatchMode=yes",
            "-l",
            user,
            &self.alias,
        ]);
        command
    }

    /// Kills the sshd processes of all sessions at once, as a crashing host would; the server stays
    /// up.
    pub fn cut_sessions(&self) {
        for seen in process::descendants(self.pid())
            .iter()
            .filter(|seen| seen.name.starts_with("sshd"))
        {
            process::signal(seen.pid, Signal::SIGKILL);
        }
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        // Listed first, because the sessions of a dead server become children of init.
        let sessions = process::descendants(self.pid());
        let _ = self.child.kill();
        let _ = self.child.wait();
        for seen in sessions.iter().filter(|seen| seen.name.starts_with("sshd")) {
            process::signal(seen.pid, Signal::SIGKILL);
        }
        let _ = fs::remove_file(&self.system_alias);
        if std::thread::panicking() {
            eprintln!("--- log of sshd {} ---\n{}", self.alias, self.log());
        }
    }
}

/// Writes an `ssh_config(5)` file with several servers into `scratch`.
pub fn config_for(scratch: &ScratchDir, servers: &[&Sshd]) -> PathBuf {
    let texts = servers
        .iter()
        .map(|server| fs::read_to_string(server.config()).expect("written at the start"));
    scratch.file("ssh_config", texts.collect::<String>(), 0o644)
}

fn server_config(lines: &[String], key: &Path, address: SocketAddrV4) -> String {
    // The first of repeated lines applies, so the caller's lines come first.
    let mut text: String = lines
        .iter()
        .filter(|line| !is_block(line))
        .map(|line| format!("{line}\n"))
        .collect();
    text.push_str(&format!(
        "ListenAddress {}\nPort {}\nHostKey {}\nPidFile none\nAuthorizedKeysFile {}\n",
        address.ip(),
        address.port(),
        key.display(),
        users::authorized_keys().display(),
    ));
    text.push_str(
        "PermitRootLogin yes\nPasswordAuthentication yes\nKbdInteractiveAuthentication no\nStrictModes no\n\
         UsePAM no\nUseDNS no\nMaxSessions 200\nPrintMotd no\nLogLevel VERBOSE\n",
    );
    // For this option the last line applies.
    if !lines.iter().any(|line| line.starts_with("MaxStartups ")) {
        text.push_str("MaxStartups 200\n");
    }
    // A Match block extends to the end of the file.
    text.extend(
        lines
            .iter()
            .filter(|line| is_block(line))
            .map(|line| format!("{line}\n")),
    );
    text
}

fn is_block(line: &str) -> bool {
    line.trim_start().starts_with("Match ")
}

fn client_config(builder: &SshdBuilder<'_>, address: SocketAddrV4, known: &Path) -> String {
    let mut text = format!("Host {}\n", builder.alias);
    text.extend(
        builder
            .client_lines
            .iter()
            .map(|line| format!("  {line}\n")),
    );
    text.push_str(&format!(
        "  HostName {}\n  Port {}\n  UserKnownHostsFile {}\n  StrictHostKeyChecking yes\n",
        address.ip(),
        address.port(),
        known.display()
    ));
    text
}

fn known_hosts(key: &Path, address: SocketAddrV4) -> String {
    let public =
        fs::read_to_string(key.with_extension("pub")).expect("ssh-keygen has just written it");
    match address.port() {
        22 => format!("{} {public}", address.ip()),
        port => format!("[{}]:{port} {public}", address.ip()),
    }
}

fn free_port() -> u16 {
    let probe = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("lo is up in the sandbox");
    probe
        .local_addr()
        .expect("a bound socket has an address")
        .port()
}

fn answers(namespace: Option<&NetNs>, address: SocketAddrV4) -> bool {
    let connect =
        move || TcpStream::connect_timeout(&address.into(), Duration::from_secs(1)).is_ok();
    match namespace {
        Some(namespace) => namespace.within(connect),
        None => connect(),
    }
}
