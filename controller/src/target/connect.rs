//! From a target to a context.

use super::hop::{Hop, Target};
use super::parse::TargetError;
use offshoot_agent::{Connecting, Context, Error, Result, Secret};
use std::fs::File;
use std::io::{self, Read};

/// The longest password, in bytes.
const LONGEST: usize = 1024;

/// Hops from a context along a target.
pub trait TargetExt {
    /// Returns the path to a target, which begins at this context.
    ///
    /// ```no_run
    /// use offshoot::target::TargetExt;
    ///
    /// # fn example(router: &offshoot::Router) -> offshoot::Result<()> {
    /// let root = router.target("deploy@web1:2222/sudo")?.connect()?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Returns an error that shows the place in the text, if it is not a target.
    fn target(&self, text: &str) -> Result<Path, TargetError>;
}

impl TargetExt for Context {
    fn target(&self, text: &str) -> Result<Path, TargetError> {
        Ok(Path {
            from: self.clone(),
            target: text.parse()?,
        })
    }
}

/// A target with the context where its first hop begins.
#[derive(Clone, Debug)]
pub struct Path {
    from: Context,
    target: Target,
}

impl Path {
    /// Makes all hops and waits until the last context is connected.
    ///
    /// # Errors
    /// Returns an error as [`start`](Path::start) does, and the error of the hop that failed.
    pub fn connect(self) -> Result<Context> {
        self.start()?.wait()
    }

    /// Starts all hops and returns at once. The hops before the last one have no one who waits for
    /// them: if one fails, the last one fails with its reason.
    ///
    /// # Errors
    /// Returns an error if a password file cannot be read, or if a request cannot be sent.
    pub fn start(self) -> Result<Connecting> {
        // All files are read first: nothing has started if one cannot be read.
        let passwords: Vec<Option<Secret>> = self
            .target
            .hops
            .iter()
            .map(|hop| {
                hop.password_file()
                    .map(|file| password(&self.target, file))
                    .transpose()
            })
            .collect::<Result<_>>()?;
        let mut above = self.from;
        let mut last = None;
        for (hop, password) in self.target.hops.iter().zip(passwords) {
            let connecting = start(hop, &above, password)?;
            above = connecting.context();
            last = Some(connecting);
        }
        last.ok_or_else(|| Error::system("reading a target", "it has no hops"))
    }
}

fn start(hop: &Hop, above: &Context, password: Option<Secret>) -> Result<Connecting> {
    let mut next = hop
        .build()
        .and_then(|method| hop.finish(above.hop(method)))
        .map_err(|error| Error::system(format!("describing a hop by {}", hop.method()), error))?;
    if let Some(password) = password {
        next = next.password(password);
    }
    next.start()
}

/// Reads a password from the first line of a file. Only the command line can read one from its
/// stdin, which it names `-`.
fn password(target: &Target, path: &str) -> Result<Secret> {
    let line = match path {
        "-" => Err(io::Error::other(
            "only the command line reads one from stdin",
        )),
        path => File::open(path)
            .and_then(|mut file| password_line(&mut file))
            .and_then(|line| line.ok_or_else(|| io::Error::other("the file is empty"))),
    };
    line.map_err(|error| {
        let detail =
            format!("{error}; the password is read from the first line of a file on this machine");
        Error::system(format!("{target}: password-file={path}"), detail)
    })
}

/// Reads a line byte by byte, so that the input after it stays unread. Returns `None` at end of
/// file.
///
/// # Errors
/// Returns an error if the source cannot be read, and if the line is too long or not UTF-8.
#[doc(hidden)]
pub fn password_line(source: &mut impl Read) -> io::Result<Option<Secret>> {
    // The buffer never grows, so no copy of the password stays behind in freed memory.
    let mut line = Vec::with_capacity(LONGEST);
    let mut byte = [0];
    let ended = loop {
        match source.read(&mut byte) {
            Ok(0) => break true,
            Ok(_) if byte[0] == b'\n' => break false,
            Ok(_) if line.len() == LONGEST => {
                return Err(io::Error::other("the password is too long"));
            }
            Ok(_) => line.push(byte[0]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    };
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    if ended && line.is_empty() {
        return Ok(None);
    }
    String::from_utf8(line)
        .map(|line| Some(Secret::new(line)))
        .map_err(|_| io::Error::other("the password is not UTF-8"))
}
