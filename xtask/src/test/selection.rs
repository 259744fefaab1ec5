//! Which tests run: the words of the command line, and what they select.

/// The words of `cargo xtask test`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Request {
    /// True if agents and programs are used as they were built before.
    pub skip_build: bool,
    /// How many programs run at a time; none leaves the choice to the scheduler.
    pub jobs: Option<usize>,
    /// True if only the tests of what differs from the main branch run.
    pub changed: bool,
    /// Names of suites, or parts of names.
    pub words: Vec<String>,
}

/// The packages whose unit tests run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Packages {
    /// Every package but `offshoot-tests`.
    All,
    /// These.
    Only(Vec<String>),
}

/// The tests of one run.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Selection {
    /// The packages whose unit, property and documentation tests run, if any do.
    pub packages: Option<Packages>,
    /// The suites that are built.
    pub suites: Suites,
    /// Parts of names: only tests with one of them run, except in suites with one in their own
    /// name.
    pub filters: Vec<String>,
}

/// The suites of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Suites {
    /// Every suite, and the unit tests of the package `offshoot-tests` itself.
    All,
    /// These.
    Only(Vec<String>),
}

impl Request {
    /// Reads the words.
    ///
    /// # Errors
    /// Returns an error if a flag is unknown or has no value, or if `--changed` comes with names.
    pub(super) fn parse(words: &[String]) -> Result<Self, String> {
        let mut request = Self {
            skip_build: false,
            jobs: None,
            changed: false,
            words: Vec::new(),
        };
        let mut rest = words.iter();
        while let Some(word) = rest.next() {
            match word.as_str() {
                "--skip-build" => request.skip_build = true,
                "--changed" => request.changed = true,
                "--jobs" | "-j" => {
                    let number = rest
                        .next()
                        .and_then(|text| text.parse().ok())
                        .filter(|&number| number > 0);
                    request.jobs = Some(number.ok_or("--jobs needs a number above 0")?);
                }
                flag if flag.starts_with('-') => {
                    return Err(format!(
                        "test does not know {flag}; `cargo xtask help` lists its flags"
                    ));
                }
                name => request.words.push(name.to_owned()),
            }
        }
        if request.changed && !request.words.is_empty() {
            return Err("--changed chooses the tests itself: give no names".into());
        }
        Ok(request)
    }
}

impl Selection {
    /// Returns what a request selects; `known` has the names of all suites.
    pub(super) fn of(request: &Request, known: &[String]) -> Self {
        let is_suite = |word: &String| known.contains(word);
        if !request.words.is_empty() && request.words.iter().all(is_suite) {
            // Nothing else is compiled when only suites are named.
            let suites = Suites::Only(request.words.clone());
            return Self {
                packages: None,
                suites,
                filters: Vec::new(),
            };
        }
        let filters = request.words.clone();
        Self {
            packages: Some(Packages::All),
            suites: Suites::All,
            filters,
        }
    }

    /// Returns true if the unit tests of a package are selected.
    pub(super) fn has_package(&self, name: &str) -> bool {
        match &self.packages {
            Some(Packages::All) => true,
            Some(Packages::Only(names)) => names.iter().any(|known| known == name),
            None => false,
        }
    }

    /// Returns true if a suite is selected.
    pub(super) fn has_suite(&self, name: &str) -> bool {
        match &self.suites {
            Suites::All => true,
            Suites::Only(names) => names.iter().any(|known| known == name),
        }
    }

    /// Returns the filters for the tests of one suite: none if a filter names the suite, which then
    /// runs whole.
    pub(super) fn filters_of(&self, suite: &str) -> &[String] {
        let named = self
            .filters
            .iter()
            .any(|filter| suite.contains(filter.as_str()));
        if named { &[] } else { &self.filters }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    fn selected(line: &str) -> Selection {
        Selection::of(
            &Request::parse(&words(line)).unwrap(),
            &words("ssh ssh_many sudo"),
        )
    }

    #[test]
    fn flags_are_distinguished_from_names() {
        let request = Request::parse(&words("ssh --jobs 3 --skip-build")).unwrap();
        let wanted = Request {
            skip_build: true,
            jobs: Some(3),
            changed: false,
            words: words("ssh"),
        };
        assert_eq!(request, wanted);
        assert!(
            Request::parse(&words("--skip-bild"))
                .unwrap_err()
                .contains("--skip-bild")
        );
        assert!(
            Request::parse(&words("--jobs 0"))
                .unwrap_err()
                .contains("above 0")
        );
        assert!(
            Request::parse(&words("--changed ssh"))
                .unwrap_err()
                .contains("no names")
        );
    }

    #[test]
    fn only_the_named_suites_are_built() {
        let selection = selected("ssh sudo");
        assert_eq!(selection.suites, Suites::Only(words("ssh sudo")));
        assert_eq!((selection.packages, selection.filters), (None, Vec::new()));
    }

    #[test]
    fn a_word_that_names_no_suite_is_a_filter() {
        let selection = selected("ssh fla");
        assert_eq!(
            (&selection.packages, &selection.suites),
            (&Some(Packages::All), &Suites::All)
        );
        // A suite that a filter names runs whole.
        assert_eq!(selection.filters_of("ssh_many"), &words("")[..]);
        assert_eq!(selection.filters_of("sudo"), &words("ssh fla")[..]);
    }
}
