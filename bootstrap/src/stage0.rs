//! Stage 0: the shell text that makes the loader executable.
//!
//! The text passes unchanged through all common login shells (POSIX-like ones, fish, tcsh, rc),
//! because it is one single-quoted string without single quotes, newlines, `!` and pairs of
//! backslashes. It must work in every POSIX shell, must not read stdin, and must leave no file
//! behind.

use std::fmt::Write;

use crate::{
    exit,
    image::Image,
    param::{Mode, Nonce, Param, param},
    platform::{PLATFORM_NOTICE, Platform},
};

/// Maximum length in bytes of [`Stage0::command`]: within the limits of dropbear and tinyssh, with
/// room for prefixes.
pub const MAX_COMMAND: usize = 4096;
/// Maximum length in bytes of a prelude in a line for a login shell: [`MAX_COMMAND`] and it are
/// within the limit of dropbear, which is 9000 bytes.
pub const MAX_PRELUDE: usize = 4800;
/// Maximum length of a title in bytes.
pub const MAX_TITLE: usize = 80;

/// Directories that are tried, in this order, as words of a shell: memory first.
pub const PLACES: &str = r#""${TMPDIR:-/dev/shm}" /dev/shm /tmp /run /var/tmp "$HOME" /dev ."#;

/// Those among them in which only root can rename files, as a pattern of a shell. Files in the
/// others are not addressed by name.
pub const SYSTEM_PLACES: &str = "/dev|/dev/shm|/run|/tmp|/var/tmp";

/// The shell variables of stage 0 itself.
pub const VARIABLES: [&str; 9] = ["b", "d", "f", "l", "m", "p", "t", "u", "w"];

/// The shell text that starts one agent on a machine with a POSIX shell.
#[derive(Clone, Debug)]
pub struct Stage0 {
    prelude: String,
    hosts: Platform,
    loader: String,
    param: Param,
    title: String,
}

impl Stage0 {
    /// Creates the text that starts the agent in `image`. `ps` shows `title`; see [`clean_title`].
    pub fn new(image: &Image, nonce: &Nonce, mode: Mode, title: &str) -> Self {
        Self {
            prelude: String::new(),
            hosts: image.hosts(),
            loader: escape(image.loader()),
            param: param(image, nonce, mode),
            title: clean_title(title),
        }
    }

    /// Adds shell text that runs first, each command of it with a semicolon behind it. It must not
    /// contain a single quote, newline, `!` or double backslash.
    #[must_use]
    pub fn with_prelude(mut self, prelude: &str) -> Self {
        self.prelude.push_str(prelude);
        self
    }

    /// Returns the argument for `sh -c`. It contains no single quote, newline, `!` or double
    /// backslash.
    pub fn script(&self) -> String {
        let machines = self.hosts.machines().join("|");
        let memfd = self.hosts.memfd_create();
        let Self {
            prelude,
            loader,
            param,
            title,
            ..
        } = self;
        let (probe, no_place, platform, interpreter) = (
            exit::PROBE,
            exit::NO_PLACE,
            exit::PLATFORM,
            exit::INTERPRETER,
        );
        [
            // Resets the shell's options, because the caller's could end the script early. Nothing
            // is written to /dev/null, which may be missing and would be created. On another
            // platform, says which one on both streams, because some transports merge or drop one.
            format!(
                r#"set +aefuC;{prelude}m=$(uname -m 2>&-);case $m in {machines}|"");;*)m={PLATFORM_NOTICE}$m:;echo $m;echo $m>&2;exit {platform};;esac;"#
            ),
            // Signals that would end the shell and leave files behind are ignored until the loader
            // restores them. `rm` is tried before anything is created that it must remove, with as
            // many redirections as are needed later: with too few descriptors for them, busybox
            // exits at once. No subshells from here on: ksh93 runs them without a process and
            // handles signals in them. Uses umask because some versions of `mkdir -m` create the
            // directory first and restrict it later.
            format!(
                r#"u=$(umask);umask 77;trap "" 1 2 3 15 25;l="{loader}";p={param};t="{title}";w=$PWD;b=.;{{ {{ rm -f "";}} >&2;}} >&2&&for d in {PLACES};do f=;"#
            ),
            // Names that others could redirect are not used: outside the system's directories the
            // shell changes to the directory, and accepts it only if it belongs to this user. It
            // then addresses the directory through /proc, because bash would put its idea of the
            // working directory in front of a relative name in `exec`.
            format!(
                r#"{{ case $d in {SYSTEM_PLACES});;*)cd "$w"&&b=$w&&cd "$d"&&[ -O . ]&&d=/proc/self/cwd;;esac&&mkdir "$d/.o$$"&&f=$d/.o$$&&trap "exec rm -rf \"\$f\"" 0&&"#
            ),
            format!(
                r#"printf "$l">"$f/l"&&chmod 700 "$f/l"&&"$f/l"<&-;}} 2>&-;[ $? = {probe} ]&&PWD=$w&&umask "$u"&&exec "$f/l" "$t" "$p" "$d" "$f" "$b";[ "$f" ]&&rm -rf "$f";trap - 0;done;umask "$u";cd "$b";"#
            ),
            format!(
                r#"m=$(command -v perl)&&exec perl -e "for(17,1){{\$f=syscall({memfd},\$n=q(o),\$_);last if\$f>=0}}open O,qq(>&=\$f);syswrite(O,\"$l\")&&exec{{qq(/proc/\$\$/fd/\$f)}}q(/),@ARGV;exit {interpreter}" "$t" "$p" "";"#
            ),
            format!(
                r#"m=$(command -v python3)&&exec python3 -c "import os;b=b\"$l\";n=\"/proc/self/fd/%d\";v=[\"/\",\"$t\",\"$p\",\"\"];exec(\"try:\n try:f=os.memfd_create(n,17)\n except OSError:f=os.memfd_create(n,1)\n os.write(f,b);os.execv(n%f,v)\nexcept Exception:os._exit({interpreter})\")";"#
            ),
            format!(r#"echo "offshoot: no place to start from">&2;exit {no_place}"#),
        ]
        .concat()
    }

    /// Returns [`Stage0::script`] without dollar signs, for programs that have a shell expand
    /// variables, such as `sudo -i`.
    pub fn guarded_script(&self) -> String {
        let mut text = "eval \"`printf '".to_owned();
        for c in self.script().chars() {
            if matches!(c, '"' | '$' | '`' | '\\' | '%') {
                // Writing to a String cannot fail.
                let _ = write!(text, "\\{:03o}", u32::from(c));
            } else {
                text.push(c);
            }
        }
        text + "'`\""
    }

    /// Returns the command for a login shell, for example over ssh. `shell` is the POSIX shell that
    /// runs the script, as in `sh -c`; with that and no prelude it has at most [`MAX_COMMAND`]
    /// bytes.
    pub fn command(&self, shell: &str) -> String {
        format!("exec {shell} '{}'", self.script())
    }

    /// Returns the parameter, 35 characters.
    pub fn param(&self) -> String {
        self.param.to_string()
    }
}

/// Returns a valid process title: printable ASCII without quotes, backslash, `!`, `$` and
/// backquote, at most [`MAX_TITLE`] bytes. Other characters become `_`.
pub fn clean_title(title: &str) -> String {
    let allowed = |c: char| matches!(c, ' '..='~') && !r#"'"\!$`"#.contains(c);
    title
        .chars()
        .take(MAX_TITLE)
        .map(|c| if allowed(c) { c } else { '_' })
        .collect()
}

/// Escapes `bytes` for `printf` inside double quotes: printable characters as they are, others as
/// the shortest octal escapes. The text is also a string literal of perl and python3; `@` is
/// escaped for perl.
pub fn escape(bytes: &[u8]) -> String {
    let mut text = String::new();
    // True if a following octal digit would extend the last escape. Shells disagree on `\0` with
    // three more digits, so the digit is escaped as well instead of padding with zeros.
    let mut open = false;
    for &byte in bytes {
        // printf would read a hyphen at the beginning as an option.
        let plain = matches!(byte, b' '..=b'~')
            && !br#"%'"\!$`@"#.contains(&byte)
            && !(byte == b'-' && text.is_empty());
        if plain && !(open && matches!(byte, b'0'..=b'7')) {
            text.push(byte as char);
            open = false;
        } else {
            // Writing to a String cannot fail.
            let _ = write!(text, "\\{byte:o}");
            open = byte < 0o100;
        }
    }
    text
}
