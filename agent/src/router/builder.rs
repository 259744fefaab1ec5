//! The settings of a tree that is not started yet.

use crate::call::signatures::signatures;
use crate::router::Router;
use crate::router::join::join_with;
use crate::runtime::image_store::AgentSource;
use crate::runtime::image_store::Find;
use offshoot_bootstrap::Image;
use offshoot_bootstrap::ImageError;
use offshoot_proto::Error;
use offshoot_proto::Result;
use offshoot_proto::log::Filter;
use std::path::Path;
use std::path::PathBuf;

/// The places where images are searched, in addition to the usual ones.
#[doc(hidden)]
#[derive(Clone, Debug, Default)]
pub struct Search {
    /// The folder.
    pub folder: Option<PathBuf>,
    /// The package whose agent is sent.
    pub package: Option<String>,
    /// The images that the program contains; if there are any, no others are used.
    pub given: Vec<Image>,
    /// True if the program itself is one of the images.
    pub own: bool,
}

offshoot_sys::distributed_slice! {
    /// The way in which a program finds images, added by the crate `offshoot`. An agent has none
    /// and needs none.
    #[doc(hidden)]
    pub static FINDERS: [fn(Search) -> Result<Find>]
}

/// The settings of a tree.
#[derive(Clone, Debug, Default)]
pub struct Builder {
    search: Search,
    /// The error of an image that was given.
    damage: Option<ImageError>,
    log_filter: Option<Filter>,
}

impl Router {
    /// Starts a tree with the usual settings. The images of its agents are searched in the folder
    /// that the variable `OFFSHOOT_AGENTS` names, in this program, and in the `target/agents` of
    /// the workspace that it was built in.
    ///
    /// # Errors
    /// Returns an error if the system has no descriptors or threads left.
    pub fn new() -> Result<Self> {
        Self::builder().start()
    }

    /// Returns the settings of a tree, to be changed before it is started.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::default()
    }
}

impl Builder {
    /// Sets the folder of the agents' images, with the layout of `offshoot build-agent`.
    #[must_use]
    pub fn agents(mut self, folder: impl Into<PathBuf>) -> Self {
        self.search.folder = Some(folder.into());
        self
    }

    /// Sets the package whose agent is sent instead of the stock agent: the one that `offshoot
    /// build-agent --manifest-path` built. Its functions are those that can be called.
    #[must_use]
    pub fn package(mut self, package: impl Into<String>) -> Self {
        self.search.package = Some(package.into());
        self
    }

    /// Adds an image that the program contains, one for each platform. Targets of other platforms
    /// are an error then, because the stock agent does not have the program's functions. The bytes
    /// are a file that `offshoot build-agent` writes to `target/agents`; [`Builder::start`]
    /// returns an error if they are not.
    ///
    /// ```no_run
    /// # use offshoot_agent as offshoot;
    /// # const IMAGE: [u8; 1] = [0];
    /// # macro_rules! include_bytes { ($path:literal) => { &IMAGE } }
    /// let router = offshoot::Router::builder()
    ///     .image(include_bytes!("../target/agents/x86_64-unknown-linux-musl/my-agent.image"))
    ///     .start()?;
    /// # Ok::<(), offshoot::Error>(())
    /// ```
    #[must_use]
    pub fn image(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        match Image::parse(bytes.into()) {
            Ok(image) => self.search.given.push(image),
            Err(error) => self.damage = Some(error),
        }
        self
    }

    /// Sends this program itself to targets of its own platform, so that all its functions are
    /// there without a separate agent. The program has to be static (`--target
    /// x86_64-unknown-linux-musl`), and its `main` has to begin with
    /// [`init`](crate::lifecycle::init), which turns the copy into an agent. [`Builder::start`]
    /// packs the program, once in a process: this takes about a third of a second for a release
    /// build of 1.5 MB, and several seconds for one that is not optimised. The code that starts it
    /// on a target comes from a stock image, which is searched as usual. Targets of another
    /// platform are an error unless [`Builder::image`] adds an image for it.
    ///
    /// ```no_run
    /// # use offshoot_agent as offshoot;
    /// #[offshoot::remote(crate = offshoot_agent)]
    /// fn load() -> std::io::Result<String> {
    ///     std::fs::read_to_string("/proc/loadavg")
    /// }
    ///
    /// fn main() -> Result<(), Box<dyn std::error::Error>> {
    ///     offshoot::init();
    ///     let router = offshoot::Router::builder().own_image().start()?;
    ///     println!("{}", router.ssh("web1").connect()?.call(load {})?);
    ///     Ok(())
    /// }
    /// ```
    #[must_use]
    pub fn own_image(mut self) -> Self {
        self.search.own = true;
        self
    }

    /// Sets the log records that contexts send to this program, whose `tracing` subscriber gets
    /// them as events. Without it the variable `OFFSHOOT_LOG` decides; if that is not set, contexts
    /// send the warnings, errors and lines printed by functions that this program's subscriber
    /// accepts when the tree is started. Without a subscriber they send printed lines alone, which
    /// are written to stderr. [`Router::set_log_filter`] changes the filter later.
    #[must_use]
    pub fn log_filter(mut self, filter: Filter) -> Self {
        self.log_filter = Some(filter);
        self
    }

    /// Sets the log filter to one level and all more important ones: 0 none, 1 error, 2 warn, 3
    /// info, 4 debug, 5 trace.
    #[must_use]
    pub fn log_level(self, level: u8) -> Self {
        self.log_filter(Filter::up_to(level))
    }

    /// Starts the tree.
    ///
    /// # Errors
    /// Returns an error if the system has no descriptors or threads left, if an image of the
    /// program is not valid, or if `OFFSHOOT_LOG` applies and is not a filter.
    pub fn start(self) -> Result<Router> {
        // The types of users are looked at here, and not on the broker's thread.
        signatures();
        let (sent, find) = self.settled()?;
        let filter = match self.log_filter {
            Some(filter) => filter,
            None => crate::log::root::filter_from_env()?.unwrap_or_else(unsaid),
        };
        Router::start(find, &filter, sent)
    }

    /// Runs `work` with the tree and shuts the tree down afterwards in any case: after an error,
    /// after a panic, and while another thread holds a clone of a context.
    ///
    /// ```no_run
    /// # use offshoot_agent as offshoot;
    /// #[offshoot::remote(crate = offshoot_agent)]
    /// fn length(path: String) -> std::io::Result<u64> {
    ///     std::fs::metadata(path).map(|found| found.len())
    /// }
    ///
    /// fn main() -> offshoot::Result<()> {
    ///     offshoot::init();
    ///     offshoot::Router::builder().own_image().run(|router| {
    ///         let web = router.ssh("web1").connect()?;
    ///         println!("{}", web.call(length { path: "/etc/passwd".into() })?);
    ///         Ok(())
    ///     })
    /// }
    /// ```
    ///
    /// # Errors
    /// Returns the errors of `work` and of [`Builder::start`].
    pub fn run<T>(self, work: impl FnOnce(&Router) -> Result<T>) -> Result<T> {
        let router = self.start()?;
        work(&router)
    }

    /// Joins the tree of the process that listens at `path`, with these settings for contexts that
    /// are started from here: see [`join`](crate::join). The log filter is that of the
    /// tree.
    ///
    /// # Errors
    /// Returns an error as [`join`](crate::join) and [`Builder::start`] do.
    pub fn join(self, path: impl AsRef<Path>) -> Result<Router> {
        let (sent, find) = self.settled()?;
        join_with(path.as_ref(), find, sent)
    }

    /// Returns whose agents are sent, and the way to find them.
    fn settled(&self) -> Result<(AgentSource, Find)> {
        if let Some(error) = &self.damage {
            return Err(Error::Image(format!(
                "an image of the program is not valid: {error}; it has to be an .image file of `offshoot build-agent`"
            )));
        }
        let Search {
            package,
            given,
            own,
            ..
        } = &self.search;
        let sent = if *own || !given.is_empty() || package.is_some() {
            AgentSource::Own
        } else {
            AgentSource::Stock
        };
        let find: Find = match FINDERS.first() {
            Some(finder) => finder(self.search.clone())?,
            None => Box::new(|platform| {
                Err(Error::Image(format!(
                    "no agent for {platform}: this program was built without the crate offshoot, which finds agents"
                )))
            }),
        };
        Ok((sent, find))
    }
}

/// Returns the filter of a tree without one: warnings, errors and printed lines, if the subscriber
/// accepts them, and printed lines alone without a subscriber.
fn unsaid() -> Filter {
    let heard = tracing::level_filters::LevelFilter::current();
    let level = if heard >= tracing::Level::WARN {
        2
    } else {
        u8::from(heard >= tracing::Level::ERROR)
    };
    match heard >= tracing::Level::INFO || !tracing::dispatcher::has_been_set() {
        true => Filter::with_prints(level),
        false => Filter::up_to(level),
    }
}
