//! The root of a tree as a program holds it.

use crate::images;
use offshoot_agent::{Context, Result, Root};
use std::ops::Deref;
use std::path::PathBuf;

/// The root of a tree: the context of this program, from which all others are reached. Dropping it ends all of them
/// and waits for that, with a bound.
pub struct Router(Root);

impl Router {
    /// A tree whose agents' images are found in the folder that [`FOLDER_VARIABLE`](crate::FOLDER_VARIABLE) names, in
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

    /// Opens a path between two contexts that are not each other's ancestors, in both directions: each may call the
    /// other's functions that are for anyone (`#[remote(anyone)]`), by [`Context::by_id`]. Without this they are cut off
    /// from each other. It takes effect before anything that is sent after it, and ends with either of them.
    pub fn open_path(&self, one: &Context, other: &Context) {
        self.0.pair(one, other, true);
    }

    /// Closes a path that [`Router::open_path`] has opened. What is under way between the two ends with
    /// [`Reason::Isolated`](crate::Reason::Isolated).
    pub fn close_path(&self, one: &Context, other: &Context) {
        self.0.pair(one, other, false);
    }

    /// How many bytes were sent over the links of this process, images included.
    #[must_use]
    pub fn bytes_sent(&self) -> u64 {
        self.0.bytes_sent()
    }
}

impl Deref for Router {
    type Target = Context;
    fn deref(&self) -> &Context {
        self.0.context()
    }
}

/// The settings of a tree.
#[derive(Clone, Debug, Default)]
pub struct Builder {
    agents: Option<PathBuf>,
    package: Option<String>,
    log_level: u8,
}

impl Builder {
    /// The folder of the agents' images, laid out as `cargo xtask build-agent` leaves it.
    #[must_use]
    pub fn agents(mut self, folder: impl Into<PathBuf>) -> Builder {
        self.agents = Some(folder.into());
        self
    }

    /// The package whose agent is sent, where it is not the stock one: what `cargo xtask build-agent --package` was
    /// given. Its functions are those that can be called.
    #[must_use]
    pub fn package(mut self, package: impl Into<String>) -> Builder {
        self.package = Some(package.into());
        self
    }

    /// The most detailed log level that contexts send: 0 none (the default), 1 error, 2 warn, 3 info, 4 debug, 5 trace.
    #[must_use]
    pub fn log_level(mut self, level: u8) -> Builder {
        self.log_level = level;
        self
    }

    /// Starts the tree.
    ///
    /// # Errors
    /// When the system gives no descriptors or threads.
    pub fn start(self) -> Result<Router> {
        let (agents, package) = (self.agents, self.package);
        let find = move |platform| {
            images::find(agents.as_deref(), package.as_deref().unwrap_or(images::STOCK), platform)
        };
        let root = Root::start(Box::new(find))?;
        root.set_log_level(self.log_level);
        Ok(Router(root))
    }
}

/// Runs `work` with a new tree and ends the tree after it, whatever happened.
///
/// # Errors
/// Those of `work`, and of [`Router::new`].
pub fn run<T>(work: impl FnOnce(&Router) -> Result<T>) -> Result<T> {
    let router = Router::new()?;
    work(&router)
}
