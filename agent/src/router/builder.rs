//! The settings of a tree, before it is started.

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

/// Where images are looked for, other than in the usual places.
#[doc(hidden)]
#[derive(Clone, Debug, Default)]
pub struct Search {
    /// The folder.
    pub folder: Option<PathBuf>,
    /// The package whose agent is wanted.
    pub package: Option<String>,
    /// What the program has brought along, which is all that counts then.
    pub given: Vec<Image>,
    /// Whether the program itself is one of them.
    pub own: bool,
}

offshoot_sys::distributed_slice! {
    /// How a program finds images: the crate `offshoot` puts its way in here when it is linked. An agent has none, and needs none.
    #[doc(hidden)]
    pub static FINDERS: [fn(Search) -> Result<Find>]
}

/// The settings of a tree.
#[derive(Clone, Debug, Default)]
pub struct Builder {
    search: Search,
    /// What is wrong with an image that was given.
    damage: Option<ImageError>,
    log_filter: Option<Filter>,
}

impl Router {
    /// A tree with the usual settings: its agents' images are found in the folder that the variable `OFFSHOOT_AGENTS` names, in
    /// this program, or in the `target/agents` of the workspace it was built in.
    ///
    /// # Errors
    /// When the system gives no descriptors or threads.
    pub fn new() -> Result<Router> {
        Router::builder().start()
    }

    /// A tree with other than the usual settings.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::default()
    }
}

impl Builder {
    /// The folder of the agents' images, laid out as `cargo xtask build-agent` leaves it.
    #[must_use]
    pub fn agents(mut self, folder: impl Into<PathBuf>) -> Builder {
        self.search.folder = Some(folder.into());
        self
    }

    /// The package whose agent is sent, where it is not the stock one: what `cargo xtask build-agent --manifest-path` (or
    /// `--package`, in offshoot's own workspace) was given. Its functions are those that can be called.
    #[must_use]
    pub fn package(mut self, package: impl Into<String>) -> Builder {
        self.search.package = Some(package.into());
        self
    }

    /// An image that the program has brought along, for the platform that it was built for: one for each platform may be
    /// given. Platforms without one are an error then, for the stock agent does not have the program's functions. The file is
    /// one of those that `cargo xtask build-agent` leaves in `target/agents`; [`Builder::start`] says when it is not.
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
    pub fn image(mut self, bytes: impl Into<Vec<u8>>) -> Builder {
        match Image::parse(bytes.into()) {
            Ok(image) => self.search.given.push(image),
            Err(error) => self.damage = Some(error),
        }
        self
    }

    /// This very program is what is sent to targets of its own platform, so that all its functions are there: no agent is built
    /// for it. It has to be static (`--target x86_64-unknown-linux-musl`), and its `main` has to begin with
    /// [`init`](crate::lifecycle::init), which turns its copy into an agent. [`Builder::start`] packs it, once in a process: about a third
    /// of a second for a release build of 1.5 MB, several for one that is not optimised. What starts it on the target comes from
    /// a stock image, which has to be found as always. Targets of another platform are an error unless they have their own by
    /// [`Builder::image`].
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
    pub fn own_image(mut self) -> Builder {
        self.search.own = true;
        self
    }

    /// Which log records contexts send to this program, whose `tracing` subscriber gets them as events. Without this it is what
    /// the variable `OFFSHOOT_LOG` says; where that is not set, warnings and errors as far as the subscriber of this program takes
    /// any when the tree is started, and none without one. [`Router::set_log_filter`] changes it.
    #[must_use]
    pub fn log_filter(mut self, filter: Filter) -> Builder {
        self.log_filter = Some(filter);
        self
    }

    /// The same by the most detailed level alone: 0 none, 1 error, 2 warn, 3 info, 4 debug, 5 trace.
    #[must_use]
    pub fn log_level(self, level: u8) -> Builder {
        self.log_filter(Filter::up_to(level))
    }

    /// Starts the tree.
    ///
    /// # Errors
    /// When the system gives no descriptors or threads, an image that the program brings along is of no use, or
    /// `OFFSHOOT_LOG` counts and cannot be read.
    pub fn start(self) -> Result<Router> {
        let (sent, find) = self.settled()?;
        let filter = match self.log_filter {
            Some(filter) => filter,
            None => crate::log::root::filter_from_env()?.unwrap_or_else(unsaid),
        };
        Router::start(find, &filter, sent)
    }

    /// Runs `work` with the tree and ends the tree after it, whatever happened: an error, a panic, a clone of a context that
    /// another thread still has.
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
    /// Those of `work`, and of [`Builder::start`].
    pub fn run<T>(self, work: impl FnOnce(&Router) -> Result<T>) -> Result<T> {
        let router = self.start()?;
        work(&router)
    }

    /// Joins the tree of the process that listens at `path`, with these settings for what is started from here: see
    /// [`join`](crate::router::join). The log filter is that of the tree.
    ///
    /// # Errors
    /// As [`join`](crate::router::join) and [`Builder::start`].
    pub fn join(self, path: impl AsRef<Path>) -> Result<Router> {
        let (sent, find) = self.settled()?;
        join_with(path.as_ref(), find, sent)
    }

    /// Whose agents are sent, and where they are found.
    fn settled(&self) -> Result<(AgentSource, Find)> {
        if let Some(error) = &self.damage {
            return Err(Error::Image(format!(
                "what the program gave as an image: {error}; it has to be an .image file of `cargo xtask build-agent`"
            )));
        }
        let Search { package, given, own, .. } = &self.search;
        let sent = if *own || !given.is_empty() || package.is_some() {
            AgentSource::Own
        } else {
            AgentSource::Stock
        };
        let find: Find = match FINDERS.first() {
            Some(finder) => finder(self.search.clone())?,
            None => Box::new(|platform| {
                Err(Error::Image(format!(
                    "no agent for {platform}: this program is made without the crate offshoot, which finds them"
                )))
            }),
        };
        Ok((sent, find))
    }
}

/// What contexts send where nobody has said it: what is wrong, if somebody is there to be told.
fn unsaid() -> Filter {
    let heard = tracing::level_filters::LevelFilter::current();
    Filter::up_to(if heard >= tracing::Level::WARN { 2 } else { u8::from(heard >= tracing::Level::ERROR) })
}
