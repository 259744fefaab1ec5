//! Targets: the path of hops that leads to where something is to be done, as an operator writes it.
//!
//! Pure: text in, values out, and back. It reads no file, knows no defaults and takes no hop; [`parse`] has the grammar.

pub mod help;
mod inline_password;
mod parse;
#[cfg(test)]
mod tests;

pub use parse::TargetError;

use offshoot::methods::HostKeys;
use std::fmt;
use std::str::FromStr;

/// A path of hops, at least one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Target {
    /// The hops, the nearest first.
    pub hops: Vec<Hop>,
}

/// One step of a path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Hop {
    /// A host by ssh.
    Ssh(Ssh),
    /// Another user by sudo.
    Sudo(Sudo),
    /// A child on the same machine.
    Local(Local),
}

/// `ssh:[USER@]HOST[:PORT]`, or without `ssh:` where the host is not called as a method. What is not set is left to the
/// command line's options or to ssh's configuration.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Ssh {
    /// The host or an alias of the configuration.
    pub host: String,
    /// The user there.
    pub user: Option<String>,
    /// The port.
    pub port: Option<u16>,
    /// `identity=PATH`: a private key file.
    pub identity: Option<String>,
    /// `config=PATH`: another configuration file.
    pub config: Option<String>,
    /// `option=NAME=VALUE`, as often as needed.
    pub options: Vec<String>,
    /// `connect-timeout=SECONDS`.
    pub connect_timeout: Option<u32>,
    /// `keepalive=SECONDS`.
    pub keepalive: Option<u32>,
    /// `compression=yes|no`.
    pub compression: Option<bool>,
    /// `host-keys=enforce|accept-new|ignore`.
    pub host_keys: Option<HostKeys>,
    /// `password-file=PATH`.
    pub password_file: Option<String>,
}

/// `sudo` or `sudo:USER`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Sudo {
    /// The user to become; root where none is given.
    pub user: Option<String>,
    /// `password-file=PATH`.
    pub password_file: Option<String>,
    /// `login`: the user's login shell and start-up files.
    pub login: Option<bool>,
    /// `set-home`: HOME is the user's.
    pub set_home: Option<bool>,
    /// `preserve-env`: the environment is kept.
    pub preserve_env: Option<bool>,
    /// `role=ROLE`, of SELinux.
    pub role: Option<String>,
    /// `type=TYPE`, of SELinux.
    pub selinux_type: Option<String>,
    /// `timeout=SECONDS`.
    pub timeout: Option<u32>,
}

/// `local`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Local {
    /// `shell=PATH` or `login-shell=PATH`.
    pub shell: Option<Shell>,
    /// `timeout=SECONDS`.
    pub timeout: Option<u32>,
}

/// The shell that brings a local child up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Shell {
    /// A POSIX shell.
    Posix(String),
    /// A login shell of any kind.
    Login(String),
}

impl Hop {
    /// The method's name.
    pub fn method(&self) -> &'static str {
        match self {
            Hop::Ssh(_) => "ssh",
            Hop::Sudo(_) => "sudo",
            Hop::Local(_) => "local",
        }
    }

    /// The hop without its options: only where it leads to.
    pub fn bare(&self) -> Hop {
        match self {
            Hop::Ssh(Ssh { host, user, port, .. }) => {
                Hop::Ssh(Ssh { host: host.clone(), user: user.clone(), port: *port, ..Ssh::default() })
            }
            Hop::Sudo(sudo) => Hop::Sudo(Sudo { user: sudo.user.clone(), ..Sudo::default() }),
            Hop::Local(_) => Hop::Local(Local::default()),
        }
    }

    /// Says nothing that is so anyhow: hops that are equal after this are the same hop, though not all the same.
    pub fn normalise(&mut self) {
        fn only_yes(flag: &mut Option<bool>) {
            *flag = flag.filter(|flag| *flag);
        }
        match self {
            Hop::Sudo(sudo) => {
                sudo.user = sudo.user.take().filter(|user| user != "root");
                only_yes(&mut sudo.login);
                only_yes(&mut sudo.set_home);
                only_yes(&mut sudo.preserve_env);
            }
            Hop::Ssh(_) | Hop::Local(_) => {}
        }
    }

    /// The file with the hop's password.
    pub fn password_file(&self) -> Option<&str> {
        match self {
            Hop::Ssh(ssh) => ssh.password_file.as_deref(),
            Hop::Sudo(sudo) => sudo.password_file.as_deref(),
            Hop::Local(_) => None,
        }
    }
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Target, TargetError> {
        parse::target(text)
    }
}

impl fmt::Display for Target {
    /// In the shortest form that reads as the same target.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, hop) in self.hops.iter().enumerate() {
            if number > 0 {
                f.write_str("/")?;
            }
            hop.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for Hop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut pairs = Pairs(f);
        match self {
            Hop::Ssh(ssh) => pairs.ssh(ssh),
            Hop::Sudo(sudo) => pairs.sudo(sudo),
            Hop::Local(local) => pairs.local(local),
        }
    }
}

/// Writes the parts of a hop.
struct Pairs<'a, 'b>(&'a mut fmt::Formatter<'b>);

impl Pairs<'_, '_> {
    fn ssh(&mut self, ssh: &Ssh) -> fmt::Result {
        if ssh.user.is_none() && parse::METHODS.contains(&ssh.host.as_str()) {
            self.0.write_str("ssh:")?;
        }
        if let Some(user) = &ssh.user {
            // The last @ counts, so the user's own need no quotes.
            write!(self.0, "{}@", Quoted(user, ":=,/"))?;
        }
        write!(self.0, "{}", Quoted(&ssh.host, "@:=,/"))?;
        if let Some(port) = ssh.port {
            write!(self.0, ":{port}")?;
        }
        self.pair("identity", &ssh.identity)?;
        self.pair("config", &ssh.config)?;
        for option in &ssh.options {
            self.pair("option", &Some(option))?;
        }
        self.pair("connect-timeout", &ssh.connect_timeout)?;
        self.pair("keepalive", &ssh.keepalive)?;
        self.flag("compression", ssh.compression)?;
        self.pair("host-keys", &ssh.host_keys.map(parse::host_keys_name))?;
        self.pair("password-file", &ssh.password_file)
    }

    fn sudo(&mut self, sudo: &Sudo) -> fmt::Result {
        self.0.write_str("sudo")?;
        if let Some(user) = &sudo.user {
            write!(self.0, ":{}", Quoted(user, ":=,/"))?;
        }
        self.pair("password-file", &sudo.password_file)?;
        self.flag("login", sudo.login)?;
        self.flag("set-home", sudo.set_home)?;
        self.flag("preserve-env", sudo.preserve_env)?;
        self.pair("role", &sudo.role)?;
        self.pair("type", &sudo.selinux_type)?;
        self.pair("timeout", &sudo.timeout)
    }

    fn local(&mut self, local: &Local) -> fmt::Result {
        self.0.write_str("local")?;
        match &local.shell {
            None => {}
            Some(Shell::Posix(shell)) => self.pair("shell", &Some(shell))?,
            Some(Shell::Login(shell)) => self.pair("login-shell", &Some(shell))?,
        }
        self.pair("timeout", &local.timeout)
    }

    fn pair(&mut self, key: &str, value: &Option<impl ToString>) -> fmt::Result {
        match value {
            Some(value) => write!(self.0, ",{key}={}", Quoted(&value.to_string(), ",/")),
            None => Ok(()),
        }
    }

    fn flag(&mut self, key: &str, value: Option<bool>) -> fmt::Result {
        self.pair(key, &value.map(|value| if value { "yes" } else { "no" }))
    }
}

/// A text, quoted where it has a character of the second or one that quotes.
struct Quoted<'a>(&'a str, &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let special = |c: char| self.1.contains(c) || "[]%".contains(c);
        match (self.0.contains(special), self.0.contains(']')) {
            (false, _) => f.write_str(self.0),
            (true, false) => write!(f, "[{}]", self.0),
            (true, true) => self.0.chars().try_for_each(|c| match special(c) {
                true => write!(f, "%{:02X}", u32::from(c)),
                false => write!(f, "{c}"),
            }),
        }
    }
}
