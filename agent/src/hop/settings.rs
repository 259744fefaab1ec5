//! The settings that hops of every method have: the surroundings of the agent, as shell text that
//! runs before the bootstrap.
//!
//! The text is made here, where the hop is described, so no agent carries any of this.

use offshoot_bootstrap::{MAX_PRELUDE, VARIABLES, escape};
use offshoot_proto::connect::dialogue::{Rule, When};
use offshoot_proto::connect::recipe::{Attach, Recipe};
use offshoot_proto::{ConnectError, ConnectErrorKind as Kind};
use std::fmt::Write as _;

/// Maximum length in bytes of the text where it does not go through a login shell. `sudo -i`
/// quadruples it at worst, and Linux takes 128 KiB in a word.
const LONGEST: usize = 24 * 1024;

/// Variables that a shell sets itself, or reads in a way of its own.
const OF_SHELL: [&str; 12] = [
    "BASHOPTS",
    "BASH_VERSINFO",
    "EUID",
    "IFS",
    "LINENO",
    "OLDPWD",
    "OPTIND",
    "PPID",
    "PWD",
    "SHELLOPTS",
    "UID",
    "_",
];

/// Makes stage 0 skip its directories, so that an interpreter executes memory.
const IN_MEMORY: &str = "mkdir(){ false;};";

/// Makes stage 0 find no interpreter. The kernel refuses a memfd with a name of over 249 bytes, and
/// it is named after the title, so the stages fall back on files.
const IN_FILE: &str =
    r#"command(){ false;};chmod(){ [ ${#t} -gt 99 ]||t="$t$(printf %250s)";env chmod "$@";};"#;

/// The line that stage 0 prints if it finds no way to start an agent.
const NO_PLACE: &str = "offshoot: no place to start from";

/// Where an agent is while it is started.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum Exec {
    /// The loader in a file, if a directory there takes one, and the agent in memory, if the kernel
    /// executes that.
    #[default]
    Auto,
    /// Everything in memory, so that no file is made there. That needs perl or python3.
    Memory,
    /// Everything in files, which have no names by the time they are executed. For hosts where
    /// execution from memory is forbidden or reported.
    File,
}

/// Settings of a hop by any method.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    /// Names and values of variables.
    pub env: Vec<(Vec<u8>, Vec<u8>)>,
    /// The working directory.
    pub directory: Option<Vec<u8>>,
    /// The umask.
    pub umask: Option<u32>,
    /// The POSIX shell that runs the bootstrap.
    pub shell: Option<String>,
    /// True if that shell is a login shell.
    pub login: bool,
    /// Where the agent is while it is started.
    pub exec: Exec,
}

impl Settings {
    /// Adds the settings to a recipe. `nonce` is a text that no other program prints.
    ///
    /// # Errors
    /// Returns an error without names if a setting cannot be made.
    pub(crate) fn apply(&self, recipe: &mut Recipe, nonce: &str) -> Result<(), Box<ConnectError>> {
        self.choose_shell(recipe)?;
        let mut prelude = std::mem::take(&mut recipe.prelude);
        let own = prelude.len();
        if self.exec == Exec::File {
            prelude.push_str(IN_FILE);
            recipe.rules.push(no_place(
                "no directory there is both writable and executable, as exec=file needs",
                "set TMPDIR to one that is, as in env=TMPDIR=[/srv/x], or use exec=auto",
            ));
        }
        if let Some(directory) = &self.directory {
            enter(&mut prelude, directory, recipe, nonce)?;
        }
        if let Some(umask) = self.umask {
            if umask > 0o777 {
                return wrong(format!("{umask:o} is no umask"), "it is at most 777, octal");
            }
            // Writing to a String cannot fail.
            let _ = write!(prelude, "umask {umask:o};");
        }
        for (name, value) in &self.env {
            export(&mut prelude, name, value)?;
        }
        let longest = match recipe.attach {
            Attach::Line => MAX_PRELUDE,
            _ => LONGEST,
        };
        // The text of the method itself is short.
        let over = (prelude.len() - own).saturating_sub(longest);
        if over > 0 {
            return wrong(
                format!(
                    "its variables and its directory are {over} bytes too long for the way there"
                ),
                "give the values to programs (Command::env) or to a function as arguments",
            );
        }
        if !prelude.is_empty() && recipe.attach == Attach::Direct {
            recipe.attach = Attach::Words;
        }
        // An agent that is executed directly is in memory anyway.
        if self.exec == Exec::Memory && recipe.attach != Attach::Direct {
            prelude.insert_str(0, IN_MEMORY);
            recipe.rules.push(no_place(
                "there is neither perl nor python3, one of which exec=memfd needs",
                "install one of them, or use exec=auto",
            ));
        }
        recipe.prelude = prelude;
        Ok(())
    }

    fn choose_shell(&self, recipe: &mut Recipe) -> Result<(), Box<ConnectError>> {
        if self.shell.is_none() && !self.login {
            return Ok(());
        }
        if recipe.attach == Attach::Script {
            return wrong(
                "its words end in a shell already, so it takes neither a shell nor a login",
                "name the shell in the words",
            );
        }
        if recipe.attach == Attach::Direct {
            recipe.attach = Attach::Words;
        }
        let shell = self.shell.as_deref().unwrap_or("sh");
        // A login shell of any kind reads it, and a name with a NUL byte has an error of its own.
        let plain = |c: char| c.is_ascii_alphanumeric() || "/._+-\0".contains(c);
        if shell.is_empty() || shell.starts_with('-') || !shell.chars().all(plain) {
            return wrong(
                format!("{shell:?} cannot be its shell"),
                "a shell is a path of letters, digits and / . _ + -",
            );
        }
        recipe.shell = vec![shell.into(), "-c".into()];
        if self.login {
            recipe.shell.insert(1, "-l".into());
        }
        if let Some(shell) = &self.shell {
            recipe.key = format!("{} {shell}", recipe.key);
        }
        Ok(())
    }
}

/// Adds the command that enters the working directory, and rules for its failure.
fn enter(
    prelude: &mut String,
    directory: &[u8],
    recipe: &mut Recipe,
    nonce: &str,
) -> Result<(), Box<ConnectError>> {
    let shown = String::from_utf8_lossy(directory);
    if directory.is_empty() || directory.contains(&0) {
        return wrong(
            format!("{shown:?} cannot be its directory"),
            "name one, as in /srv; a name is not empty and has no NUL byte",
        );
    }
    // A relative name as it stands would be looked for in CDPATH, and `-` is the last directory.
    let before: &[u8] = if directory[0] == b'/' { b"" } else { b"./" };
    assign(prelude, "d", &[before, directory].concat());
    let tell = |what: &str| format!("echo \"[offshoot {nonce}] directory {what}\">&2");
    let (closed, file, none) = (tell("closed"), tell("file"), tell("none"));
    let _ = write!(
        prelude,
        "cd \"$d\"||{{ if [ -d \"$d\" ];then {closed};elif [ -e \"$d\" ];then {file};else {none};fi;exit 1;}};"
    );
    let rule = |what: &str, why: &str, hint: &str| {
        let text = format!("[offshoot {nonce}] directory {what}");
        let detail = format!("its directory {shown} cannot be entered there: {why}");
        Rule::explain(When::ALWAYS, &[&text], Kind::Start, &detail, hint)
    };
    // In front, because the first rule that matches applies.
    recipe.rules.splice(
        0..0,
        [
            rule(
                "closed",
                "this user may not",
                "the user behind the hop needs the right x for it",
            ),
            rule("file", "it is no directory", "check the path"),
            rule(
                "none",
                "there is none, or one on the way to it is closed to this user",
                "check the path; one without / at the beginning starts where the hop arrives",
            ),
        ],
    );
    Ok(())
}

/// Adds the commands that export a variable.
fn export(prelude: &mut String, name: &[u8], value: &[u8]) -> Result<(), Box<ConnectError>> {
    let shown = String::from_utf8_lossy(name);
    let Some(name) = variable(name) else {
        return wrong(
            format!("{shown:?} is no name of a variable that a shell can set"),
            "a name has letters, digits and _, and does not begin with a digit",
        );
    };
    if VARIABLES.contains(&name) || OF_SHELL.contains(&name) {
        return wrong(
            format!("the variable {name} belongs to the shell that starts the agent"),
            "set it for a program instead (Command::env)",
        );
    }
    if value.contains(&0) {
        return wrong(
            format!("the value of the variable {name} has a NUL byte"),
            "no program can be given one: leave it out",
        );
    }
    assign(prelude, name, value);
    let _ = write!(prelude, "export {name};");
    Ok(())
}

/// Returns the name of a variable as text, or `None` if a shell could not set it.
pub(crate) fn variable(name: &[u8]) -> Option<&str> {
    let name = std::str::from_utf8(name).ok()?;
    let letter = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let begins = name.starts_with(|c: char| letter(c) && !c.is_ascii_digit());
    (begins && name.chars().all(letter)).then_some(name)
}

/// Returns true if the shell that starts the agent passes this variable on from its environment.
pub(crate) fn is_passed_on(name: &str) -> bool {
    variable(name.as_bytes()).is_some() && !VARIABLES.contains(&name) && !OF_SHELL.contains(&name)
}

/// Adds the assignment of a value to a variable of the shell.
fn assign(prelude: &mut String, name: &str, value: &[u8]) {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._,:+@=-".contains(byte);
    let _ = match (value.iter().all(plain), value.ends_with(b"\n")) {
        (true, _) => write!(prelude, "{name}={};", String::from_utf8_lossy(value)),
        (false, false) => write!(prelude, "{name}=$(printf \"{}\");", escape(value)),
        // The shell would cut the line ends off.
        (false, true) => write!(
            prelude,
            "{name}=$(printf \"{}.\");{name}=${{{name}%.}};",
            escape(value)
        ),
    };
}

fn no_place(detail: &str, hint: &str) -> Rule {
    Rule::explain(When::ALWAYS, &[NO_PLACE], Kind::Bootstrap, detail, hint)
}

fn wrong<T>(detail: impl Into<String>, hint: &str) -> Result<T, Box<ConnectError>> {
    let mut error = ConnectError::new(Kind::Start, detail);
    error.hint = hint.into();
    Err(Box::new(error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStringExt as _;
    use std::process::Command;

    fn with_variables(env: &[(&str, &[u8])]) -> Settings {
        let env = env
            .iter()
            .map(|(name, value)| (name.as_bytes().to_vec(), value.to_vec()));
        Settings {
            env: env.collect(),
            ..Settings::default()
        }
    }

    fn prelude(common: &Settings, attach: Attach) -> Result<Recipe, Box<ConnectError>> {
        let mut recipe = Recipe::new("x", vec!["x".into()], attach);
        common.apply(&mut recipe, "5f").map(|()| recipe)
    }

    /// Returns the value that a child of this shell gets.
    #[expect(clippy::disallowed_methods, reason = "a test runs a shell")]
    fn passed(shell: &str, name: &str, value: &[u8]) -> Vec<u8> {
        let recipe =
            prelude(&with_variables(&[(name, value)]), Attach::Words).expect("it is valid");
        let script = format!("{}exec env -0", recipe.prelude);
        let output = Command::new(shell)
            .args(["-c", &script])
            .output()
            .expect("it is installed");
        let begins = [name.as_bytes(), b"="].concat();
        let mut found = output.stdout.split(|byte| *byte == 0);
        let found = found.find_map(|pair| pair.strip_prefix(&begins[..]));
        found.map(<[u8]>::to_vec).unwrap_or_else(|| {
            panic!(
                "{script}\n{}",
                std::ffi::OsString::from_vec(output.stderr).display()
            )
        })
    }

    #[test]
    fn a_value_of_any_bytes_arrives_as_it_is() {
        let all: Vec<u8> = (1..=255).collect();
        for value in [
            &all[..],
            b"",
            b"-n",
            b"--",
            b"plain",
            b"two words",
            b"'\"$HOME`id`\\\\!%s%%",
            b"line\n",
            b"\n\n\n",
            b"~",
            b"a:~b",
            b"-\x017",
            b"\xe2\x82\n",
            b"a=b",
            b"x.",
        ] {
            assert_eq!(passed("sh", "MARK", value), value);
        }
    }

    #[test]
    fn the_text_passes_through_any_login_shell() {
        let all: Vec<u8> = (1..=255).collect();
        let mut common = with_variables(&[("A", &all), ("B", b"\\\\'\n!")]);
        common.directory = Some(b"a'b\n!\\\\".to_vec());
        common.umask = Some(0o27);
        let text = prelude(&common, Attach::Line).expect("it is valid").prelude;
        for forbidden in ["'", "\n", "!", "\\\\"] {
            assert!(!text.contains(forbidden), "{forbidden:?} in {text}");
        }
        assert!(
            text.contains("umask 27;") && text.contains("cd \"$d\""),
            "{text}"
        );
    }

    #[test]
    fn what_cannot_be_set_is_refused_with_a_reason() {
        for (name, value, part) in [
            ("", &b"x"[..], "no name of a variable"),
            ("1A", b"x", "no name of a variable"),
            ("A-B", b"x", "no name of a variable"),
            ("A B", b"x", "no name of a variable"),
            ("\u{e9}", b"x", "no name of a variable"),
            ("m", b"x", "belongs to the shell"),
            ("IFS", b"x", "belongs to the shell"),
            ("A", b"a\0b", "NUL byte"),
        ] {
            let error = prelude(&with_variables(&[(name, value)]), Attach::Words).expect_err(name);
            assert!(
                error.detail.contains(part) && !error.hint.is_empty(),
                "{name}: {error}"
            );
        }
        let with = |change: fn(&mut Settings)| {
            let mut common = Settings::default();
            change(&mut common);
            common
        };
        for (common, attach, part) in [
            (
                with(|c| c.umask = Some(0o1000)),
                Attach::Words,
                "1000 is no umask",
            ),
            (
                with(|c| c.directory = Some(Vec::new())),
                Attach::Words,
                "cannot be its directory",
            ),
            (
                with(|c| c.directory = Some(b"a\0".to_vec())),
                Attach::Words,
                "cannot be its directory",
            ),
            (
                with(|c| c.shell = Some("a b".into())),
                Attach::Line,
                "cannot be its shell",
            ),
            (
                with(|c| c.shell = Some("-i".into())),
                Attach::Line,
                "cannot be its shell",
            ),
            (
                with(|c| c.shell = Some("sh".into())),
                Attach::Script,
                "end in a shell already",
            ),
            (
                with(|c| c.login = true),
                Attach::Script,
                "end in a shell already",
            ),
        ] {
            let error = prelude(&common, attach).expect_err(part);
            assert!(
                error.detail.contains(part) && !error.hint.is_empty(),
                "{error}"
            );
        }
    }

    #[test]
    fn the_length_is_limited_by_the_way_there() {
        let value = |length: usize| vec![b'x'; length];
        let frame = "A=;export A;".len();
        for (attach, longest) in [(Attach::Line, MAX_PRELUDE), (Attach::Words, LONGEST)] {
            let fits = value(longest - frame);
            assert!(prelude(&with_variables(&[("A", &fits)]), attach).is_ok());
            let error = prelude(
                &with_variables(&[("A", &value(longest - frame + 7))]),
                attach,
            );
            let error = error.expect_err("it is too long");
            assert!(error.detail.contains("7 bytes too long"), "{error}");
        }
    }

    #[test]
    fn shell_and_login_choose_the_words_before_the_script() {
        let with = |shell: Option<&str>, login| Settings {
            shell: shell.map(str::to_owned),
            login,
            ..Settings::default()
        };
        for (common, words) in [
            (with(None, false), &["sh", "-c"][..]),
            (with(Some("/bin/dash"), false), &["/bin/dash", "-c"]),
            (with(None, true), &["sh", "-l", "-c"]),
            (with(Some("bash"), true), &["bash", "-l", "-c"]),
        ] {
            assert_eq!(
                prelude(&common, Attach::Line).expect("it is valid").shell,
                words
            );
        }
        let direct = |common: &Settings| prelude(common, Attach::Direct).expect("valid").attach;
        assert_eq!(direct(&with(None, false)), Attach::Direct);
        assert_eq!(direct(&with(None, true)), Attach::Words);
        assert_eq!(direct(&with_variables(&[("A", b"")])), Attach::Words);
    }
}
