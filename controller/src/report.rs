//! The error of a `main` function.

use std::error::Error;
use std::fmt;

/// The error that `main` returns, to be printed for a person.
///
/// When `main` returns an error, Rust prints it with `{:?}`. For [`offshoot::Error`](crate::Error),
/// as for most errors, that is the value with its fields. `?` turns every error into a `Report`,
/// whose `{:?}` is the sentence, followed by the causes that the sentence does not contain.
///
/// ```no_run
/// fn main() -> Result<(), offshoot::Report> {
///     offshoot::run(|router| {
///         let web = router.ssh("web1").connect()?;
///         println!("{}", web.call(offshoot::stock::facts {})?.kernel);
///         Ok(())
///     })?;
///     Ok(())
/// }
/// ```
pub struct Report(String);

impl<E: Error> From<E> for Report {
    fn from(error: E) -> Self {
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            let sentence = error.to_string();
            if !text.contains(&sentence) {
                text.push_str(": ");
                text.push_str(&sentence);
            }
            cause = error.source();
        }
        Self(text)
    }
}

impl fmt::Debug for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Outer(&'static str, crate::Error);

    impl fmt::Display for Outer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl Error for Outer {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(&self.1)
        }
    }

    fn printed(work: impl FnOnce() -> Result<(), Report>) -> String {
        format!("{:?}", work().unwrap_err())
    }

    #[test]
    fn a_report_is_the_sentence_and_the_causes_it_lacks() {
        let error = crate::Error::Cancelled {
            context: "ssh.web1".into(),
        };
        let sentence = "ssh.web1: cancelled";
        assert_eq!(printed(|| Err(error.clone())?), sentence);
        let call: crate::CallError = error.clone().into();
        assert_eq!(printed(|| Err(call)?), sentence);
        assert_eq!(
            printed(|| Err(Outer("no rollout", error.clone()))?),
            "no rollout: ssh.web1: cancelled"
        );
        assert_eq!(
            printed(|| Err(Outer("no rollout: ssh.web1: cancelled", error))?),
            "no rollout: ssh.web1: cancelled"
        );
    }
}
