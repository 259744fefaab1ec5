//! Explains why a program did not start, from the system's error, the step that failed, and what
//! the agent saw of the file.
//!
//! The caller does this, so that no agent contains these texts. The report of an agent is data:
//! whatever it contains, the result is a sentence.

use offshoot_proto::Error;
use offshoot_proto::message::outcome::Outcome;
use offshoot_proto::text::harmless;
use offshoot_sys::execute::NotStarted;
use std::io;

/// Words that are builtins of shells, and usually not programs.
const WORDS_OF_SHELLS: [&str; 45] = [
    ".", ":", "[[", "alias", "bg", "bind", "break", "builtin", "case", "cd", "command", "continue",
    "declare", "dirs", "eval", "exec", "exit", "export", "fg", "for", "function", "getopts",
    "hash", "history", "if", "jobs", "let", "local", "popd", "pushd", "read", "readonly", "return",
    "set", "shift", "shopt", "source", "times", "trap", "type", "typeset", "ulimit", "umask",
    "until", "while",
];

/// A program as it was requested.
pub(crate) struct Asked {
    /// The program's name.
    pub program: String,
    /// True if it has no arguments.
    pub alone: bool,
    /// The directory, if one was set.
    pub directory: Option<String>,
}

impl Asked {
    /// Returns the error in a reply of `context`, if the reply says that the program did not start.
    pub(crate) fn refusal(&self, context: &str, reply: &[u8]) -> Option<Error> {
        let (tag, report) = reply.split_first()?;
        if *tag != Outcome::Error as u8 {
            return None;
        }
        let (errno, detail) = self.explain(report);
        Some(Error::Spawn {
            context: context.into(),
            program: self.program.clone(),
            errno,
            detail,
        })
    }

    fn explain(&self, report: &[u8]) -> (i32, String) {
        let Some((start, head)) = report.split_first_chunk::<{ NotStarted::START }>() else {
            return (0, "the context gave no reason".into());
        };
        let [a, b, c, d, tried, there] = *start;
        let errno = i32::from_le_bytes([a, b, c, d]);
        let system = reason(errno);
        let detail = match (tried, &self.directory) {
            (NotStarted::WORDS, _) => {
                "an argument, or a variable of its environment, cannot be passed to a program"
                    .into()
            }
            (NotStarted::DIRECTORY, Some(directory)) => {
                format!("it cannot start in the folder {directory}: {system}")
            }
            (NotStarted::DIRECTORY, None) => {
                format!("it cannot start in the folder of its caller: {system}")
            }
            (NotStarted::PROGRAM, _) => self.file(errno, there, head).unwrap_or(system),
            _ => system,
        };
        (errno, detail)
    }

    /// Returns the problem of the program's file; none if the system's own text says it.
    fn file(&self, errno: i32, there: u8, head: &[u8]) -> Option<String> {
        let is = |flag: u8| there & flag != 0;
        let script = interpreter(head);
        Some(match errno {
            offshoot_sys::errno::ENOENT if is(NotStarted::FILE) => match script {
                Some((name, true)) => format!(
                    "its first line ends in a carriage return, as on Windows, and so names the interpreter \"{name}\\r\"; \
                     remove them (sed -i 's/\\r$//' FILE)"
                ),
                Some((name, false)) => format!("its interpreter {name} does not exist"),
                None => "the file exists, but the loader that it names does not: it was built for another system".into(),
            },
            offshoot_sys::errno::ENOENT => return self.missing(),
            offshoot_sys::errno::EACCES if is(NotStarted::FOLDER) => "it is a folder".into(),
            offshoot_sys::errno::EACCES if !is(NotStarted::FILE) && there == 0 => {
                "this user may not enter a folder on the way to it".into()
            }
            offshoot_sys::errno::EACCES if is(NotStarted::NOEXEC) => {
                "it is on a file system that is mounted noexec".into()
            }
            offshoot_sys::errno::EACCES if !is(NotStarted::EXECUTABLE) => "it is not executable (chmod +x FILE)".into(),
            offshoot_sys::errno::EACCES => match script {
                Some((name, _)) => format!("this user may not execute it, or its interpreter {name}"),
                None => "this user may not execute it".into(),
            },
            offshoot_sys::errno::ENOTDIR => "a part of its path is not a folder".into(),
            offshoot_sys::errno::ENOEXEC => match machine(head) {
                Some(machine) => {
                    format!("it is a program for {machine}, unlike this machine, or it is damaged")
                }
                None => "it is neither a program nor a script that names its interpreter (#!/bin/sh) in its first \
                         line"
                    .into(),
            },
            _ => return None,
        })
    }

    /// Returns a hint for a program that does not exist.
    fn missing(&self) -> Option<String> {
        let program = self.program.as_str();
        let assigned = program.split_once('=').map(|(name, _)| name);
        let named = |name: &str| {
            name.bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        };
        Some(if WORDS_OF_SHELLS.contains(&program) {
            format!("{program} is a shell builtin and not a program; use a shell: sh -c '...'")
        } else if assigned.is_some_and(|name| !name.is_empty() && named(name)) {
            format!("a shell sets variables like this; use env: env {program} ...")
        } else if self.alone && program.contains([' ', ';', '|', '&', '$', '>', '<', '*', '`']) {
            "no shell splits it into words; use one: sh -c '...'".into()
        } else if program.starts_with('~') || program.contains('$') {
            "no shell expands ~ and $ in it; use one: sh -c '...'".into()
        } else if !program.contains('/') {
            "not found in PATH on the target; give an absolute path".into()
        } else {
            return None;
        })
    }
}

/// Returns the operating system's text without its number.
fn reason(errno: i32) -> String {
    let text = io::Error::from_raw_os_error(errno).to_string();
    text.rsplit_once('(')
        .map_or(text.as_str(), |(text, _)| text.trim_end())
        .to_owned()
}

/// Returns the interpreter that a script names, and true if a carriage return is part of its name;
/// none if the file is not a script.
fn interpreter(head: &[u8]) -> Option<(String, bool)> {
    let line = head
        .strip_prefix(b"#!")?
        .split(|byte| *byte == b'\n')
        .next()?;
    let line = String::from_utf8_lossy(line);
    let line = line.trim_start_matches([' ', '\t']);
    let name = line.split([' ', '\t', '\0']).next().unwrap_or_default();
    let whole = name.strip_suffix('\r');
    Some((harmless(whole.unwrap_or(name)), whole.is_some()))
}

/// Returns the machine that an ELF program is for; none if the file is not an ELF program.
fn machine(head: &[u8]) -> Option<&'static str> {
    head.strip_prefix(b"\x7fELF")?;
    let number = head
        .get(18..20)
        .map_or([0; 2], |bytes| [bytes[0], bytes[1]]);
    let big_endian = head.get(5) == Some(&2);
    Some(
        match if big_endian {
            u16::from_be_bytes(number)
        } else {
            u16::from_le_bytes(number)
        } {
            3 => "x86",
            8 => "mips",
            20 | 21 => "powerpc",
            22 => "s390x",
            40 => "arm",
            62 => "x86_64",
            183 => "aarch64",
            243 => "riscv",
            258 => "loongarch",
            _ => "another kind of machine",
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(program: &str, tried: u8, errno: i32, there: u8, head: &[u8]) -> String {
        let asked = Asked {
            program: program.into(),
            alone: false,
            directory: Some("/srv/none".into()),
        };
        let report = [&errno.to_le_bytes()[..], &[tried, there], head].concat();
        let reply = [&[Outcome::Error as u8][..], &report].concat();
        let Some(Error::Spawn {
            errno: number,
            detail,
            ..
        }) = asked.refusal("web1", &reply)
        else {
            panic!("a refusal is one")
        };
        assert_eq!(number, errno);
        detail
    }

    #[test]
    fn a_failed_start_is_explained_by_the_step_and_the_file() {
        use NotStarted as N;
        let runs = N::FILE | N::EXECUTABLE;
        let elf = |machine: u16| {
            [
                b"\x7fELF\x02\x01\x01".as_slice(),
                &[0; 11],
                &machine.to_le_bytes(),
            ]
            .concat()
        };
        for (tried, errno, there, head, expected) in [
            (
                N::DIRECTORY,
                offshoot_sys::errno::ENOENT,
                0,
                vec![],
                "folder /srv/none: No such file or directory",
            ),
            (
                N::DIRECTORY,
                offshoot_sys::errno::EACCES,
                0,
                vec![],
                "folder /srv/none: Permission denied",
            ),
            (
                N::PROGRAM,
                offshoot_sys::errno::ENOENT,
                0,
                vec![],
                "not found in PATH",
            ),
            (
                N::PROGRAM,
                offshoot_sys::errno::ENOENT,
                runs,
                b"#!/no/such -x\n".to_vec(),
                "its interpreter /no/such does not exist",
            ),
            (
                N::PROGRAM,
                offshoot_sys::errno::ENOENT,
                runs,
                b"#! /bin/sh\r\nx".to_vec(),
                "carriage return",
            ),
            (
                N::PROGRAM,
                offshoot_sys::errno::ENOENT,
                runs,
                elf(62),
                "the loader that it names",
            ),
            (
                N::PROGRAM,
                offshoot_sys::errno::EACCES,
                N::FOLDER | N::EXECUTABLE,
                vec![],
                "it is a folder",
            ),
            (
                N::PROGRAM,
                offshoot_sys::errno::EACCES,
                0,
                vec![],
                "on the way to it",
            ),
            (
                N::PROGRAM,
                offshoot_sys::errno::EACCES,
                N::FILE,
                vec![],
                "chmod +x",
            ),
            (
                N::PROGRAM,
                offshoot_sys::errno::EACCES,
                runs | N::NOEXEC,
                vec![],
                "noexec",
            ),
            (
                N::PROGRAM,
                offshoot_sys::errno::EACCES,
                runs,
                b"#!/root/sh\n".to_vec(),
                "its interpreter /root/sh",
            ),
            (
                N::PROGRAM,
                offshoot_sys::errno::EACCES,
                runs,
                vec![],
                "this user may not execute it",
            ),
            (
                N::PROGRAM,
                offshoot_sys::errno::ENOTDIR,
                0,
                vec![],
                "not a folder",
            ),
            (
                N::PROGRAM,
                offshoot_sys::errno::ENOEXEC,
                runs,
                b"echo hi\n".to_vec(),
                "#!/bin/sh",
            ),
            (
                N::PROGRAM,
                offshoot_sys::errno::ENOEXEC,
                runs,
                vec![],
                "#!/bin/sh",
            ),
            (
                N::PROGRAM,
                offshoot_sys::errno::ENOEXEC,
                runs,
                elf(183),
                "aarch64",
            ),
            (
                N::PROGRAM,
                offshoot_sys::errno::ENOEXEC,
                runs,
                elf(62),
                "x86_64",
            ),
            (
                N::PROGRAM,
                offshoot_sys::errno::ENOEXEC,
                runs,
                elf(62)[..4].to_vec(),
                "another kind of machine",
            ),
            (
                N::PROGRAM,
                offshoot_sys::errno::E2BIG,
                runs,
                vec![],
                "Argument list too long",
            ),
            (
                N::AGENT,
                offshoot_sys::errno::EMFILE,
                0,
                vec![],
                "Too many open files",
            ),
            (
                N::WORDS,
                offshoot_sys::errno::EINVAL,
                0,
                vec![],
                "cannot be passed",
            ),
            (9, 12345, 255, vec![0xff; 300], "12345"),
        ] {
            let detail = told("tool", tried, errno, there, &head);
            assert!(detail.contains(expected), "{expected}: {detail}");
        }
    }

    #[test]
    fn a_missing_program_that_is_shell_syntax_gets_a_hint() {
        for (program, expected) in [
            ("cd", "cd is a shell builtin"),
            ("ulimit", "sh -c '...'"),
            ("export", "sh -c '...'"),
            ("source", "sh -c '...'"),
            ("FOO=1", "env FOO=1 ..."),
            ("_x2=a b", "env _x2=a b ..."),
            ("=x", "not found in PATH"),
            ("~/bin/x", "expands ~"),
            ("$HOME/bin/x", "expands ~ and $"),
            ("/no/such", "No such file or directory"),
        ] {
            let detail = told(
                program,
                NotStarted::PROGRAM,
                offshoot_sys::errno::ENOENT,
                0,
                &[],
            );
            assert!(detail.contains(expected), "{program}: {detail}");
        }
        let asked = Asked {
            program: "ls -l /tmp".into(),
            alone: true,
            directory: None,
        };
        let (_, detail) = asked.explain(&[2, 0, 0, 0, NotStarted::PROGRAM, 0]);
        assert!(detail.contains("no shell splits it"), "{detail}");
    }

    #[test]
    fn any_short_or_damaged_report_is_explained() {
        let asked = Asked {
            program: "x".into(),
            alone: true,
            directory: None,
        };
        for length in 0..NotStarted::START {
            assert!(
                asked
                    .refusal("web1", &[&[1][..], &vec![255; length]].concat())
                    .is_some()
            );
        }
        assert!(asked.refusal("web1", &[]).is_none() && asked.refusal("web1", &[0, 1]).is_none());
        for errno in [
            offshoot_sys::errno::ENOENT,
            offshoot_sys::errno::EACCES,
            offshoot_sys::errno::ENOEXEC,
        ] {
            for there in 0..=255 {
                for head in [
                    &b"#!"[..],
                    b"#!\r",
                    b"\x7fELF",
                    b"#",
                    b"#! \t",
                    b"#!/\x1b]0;x\x07\r\r",
                ] {
                    let told = told("tool", NotStarted::PROGRAM, errno, there, head);
                    assert!(
                        !told.is_empty() && !told.contains(char::is_control),
                        "{told:?}"
                    );
                }
            }
        }
    }
}
