//! Stage 0: the shell text that puts the loader where it can be executed.
//!
//! The text passes unharmed through the login shells that people have (sh-like ones, fish, tcsh, rc) because it
//! stands in one pair of single quotes and holds no single quote, newline, `!` or pair of backslashes. It must work
//! in every POSIX shell, must not read stdin, and must leave no file behind.

use std::fmt::Write;

use crate::{
    exit,
    image::Image,
    param::{Mode, Nonce, Param, param},
    platform::{PLATFORM_NOTICE, Platform},
};

/// The longest command that [`Stage0::command`] may give: within what dropbear and tinyssh take, with room for
/// prefixes.
pub const MAX_COMMAND: usize = 4096;
/// The longest title, in bytes.
pub const MAX_TITLE: usize = 80;

/// The directories that are tried, in this order: memory first.
const PLACES: &str = r#""${TMPDIR:-/dev/shm}" /dev/shm /tmp /run /var/tmp "$HOME" /dev ."#;

/// Those of them where only root decides what a name means, so that they can be used by their names.
const SYSTEM: &str = "/dev|/dev/shm|/run|/tmp|/var/tmp";

/// The text that starts one agent on a machine with a POSIX shell.
#[derive(Clone, Debug)]
pub struct Stage0 {
    platform: Platform,
    loader: String,
    param: Param,
    title: String,
}

impl Stage0 {
    /// The text that starts the agent in `image`. `title` is what `ps` shows; see [`clean_title`].
    pub fn new(image: &Image, nonce: &Nonce, mode: Mode, title: &str) -> Stage0 {
        Stage0 {
            platform: image.platform(),
            loader: escape(image.loader()),
            param: param(image, nonce, mode),
            title: clean_title(title),
        }
    }

    /// What to give `sh -c` as its argument. It contains no single quote, newline, `!` or double backslash.
    pub fn script(&self) -> String {
        let [machine, other_name] = self.platform.machines();
        let memfd = self.platform.memfd_create();
        let Stage0 { loader, param, title, .. } = self;
        let (probe, no_place, platform, interpreter) =
            (exit::PROBE, exit::NO_PLACE, exit::PLATFORM, exit::INTERPRETER);
        [
            // A known state first: no option of the caller's may end the shell half way. Nothing goes to /dev/null, which
            // may be missing, and would then be made.
            // Another platform: say which, on both streams because some transports merge or drop one.
            format!(
                r#"set +aefuC;m=$(uname -m 2>&-);case $m in {machine}|{other_name}|"");;*)m={PLATFORM_NOTICE}$m:;echo $m;echo $m>&2;exit {platform};;esac;"#
            ),
            // Until the loader runs, signals that would end the shell and leave something behind are ignored; the
            // loader puts them back. `rm` is tried before anything is made that it would have
            // to remove, between as many redirections as are needed from there on: with too few descriptors for them
            // busybox ends at once. No subshell from here: ksh93 makes them without a process, and takes signals in them.
            // The umask, not `mkdir -m`, which here and there makes the folder first and closes it then.
            format!(
                r#"u=$(umask);umask 77;trap "" 1 2 3 15 25;l="{loader}";p={param};t="{title}";w=$PWD;b=.;{{ {{ rm -f "";}} >&2;}} >&2&&for d in {PLACES};do f=;"#
            ),
            // A name that others could give another meaning is never used: to a place that is not the system's the shell
            // goes first, and takes it only if it is this user's own. From there it names it by way of /proc, for bash
            // would put its idea of the working directory before a relative name that it is to `exec`.
            format!(
                r#"{{ case $d in {SYSTEM});;*)cd "$w"&&b=$w&&cd "$d"&&[ -O . ]&&d=/proc/self/cwd;;esac&&mkdir "$d/.o$$"&&f=$d/.o$$&&trap "exec rm -rf \"\$f\"" 0&&"#
            ),
            format!(
                r#"printf "$l">"$f/l"&&chmod 700 "$f/l"&&"$f/l"<&-;}} 2>&-;[ $? = {probe} ]&&PWD=$w&&umask $u&&exec "$f/l" "$t" $p "$d" "$f" "$b";[ "$f" ]&&rm -rf "$f";trap - 0;done;umask $u;cd "$b";"#
            ),
            format!(
                r#"m=$(command -v perl)&&exec perl -e "for(17,1){{\$f=syscall({memfd},\$n=q(o),\$_);last if\$f>=0}}open O,qq(>&=\$f);syswrite O,\"$l\";exec{{qq(/proc/\$\$/fd/\$f)}}q(/),@ARGV;exit {interpreter}" "$t" $p "";"#
            ),
            format!(
                r#"m=$(command -v python3)&&exec python3 -c "import os;b=b\"$l\";n=\"/proc/self/fd/%d\";v=[\"/\",\"$t\",\"$p\",\"\"];exec(\"try:\n try:f=os.memfd_create(n,17)\n except OSError:f=os.memfd_create(n,1)\n os.write(f,b);os.execv(n%f,v)\nexcept Exception:os._exit({interpreter})\")";"#
            ),
            format!(r#"echo "offshoot: no place to start from">&2;exit {no_place}"#),
        ]
        .concat()
    }

    /// As [`Stage0::script`], without a dollar sign: for programs that have a shell expand what looks like a variable on
    /// the way, as `sudo -i` does.
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

    /// What to give a login shell, over ssh for example: at most [`MAX_COMMAND`] bytes.
    pub fn command(&self) -> String {
        format!("exec sh -c '{}'", self.script())
    }

    /// The parameter inside, 35 characters.
    pub fn param(&self) -> String {
        self.param.to_string()
    }
}

/// What may stand in a process title: printable ASCII without quotes, backslash, `!`, `$` and backquote, at most
/// [`MAX_TITLE`] bytes. Other characters become `_`.
pub fn clean_title(title: &str) -> String {
    let allowed = |c: char| matches!(c, ' '..='~') && !r#"'"\!$`"#.contains(c);
    title.chars().take(MAX_TITLE).map(|c| if allowed(c) { c } else { '_' }).collect()
}

/// `bytes` for `printf` inside double quotes: what is printable as it is, the rest as the shortest octal escapes.
/// The same text is a string literal of perl and python3, which is why `@` is escaped as well.
fn escape(bytes: &[u8]) -> String {
    let mut text = String::new();
    // Whether the last escape would go on with a further octal digit. Shells differ on `\0` and three more digits,
    // so the digit is escaped as well instead of filling up with zeros.
    let mut open = false;
    for &byte in bytes {
        let plain = matches!(byte, b' '..=b'~') && !br#"%'"\!$`@"#.contains(&byte);
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
