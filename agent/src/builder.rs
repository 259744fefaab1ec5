//! The settings of a tree, before it is started.

use crate::agree::Sent;
use crate::error::{Error, Result};
use crate::filter::Filter;
use crate::images::Find;
use crate::join::join_with;
use crate::tree::Router;
use std::path::{Path, PathBuf};

/// Where images are looked for, other than in the usual places.
#[doc(hidden)]
#[derive(Clone, Debug, Default)]
pub struct Search {
    /// The folder.
    pub folder: Option<PathBuf>,
    /// The package whose agent is wanted.
    pub package: Option<String>,
}

/// How a program finds images: the crate `offshoot` puts its way in here when it is linked. An agent has none, and needs none.
#[doc(hidden)]
#[linkme::distributed_slice]
pub static FINDERS: [fn(Search) -> Find];

/// The settings of a tree.
#[derive(Clone, Debug, Default)]
pub struct Builder {
    search: Search,
    log_filter: Option<Filter>,
}

impl Builder {
    /// The folder of the agents' images, laid out as `cargo xtask build-agent` leaves it.
    #[must_use]
    pub fn agents(mut self, folder: impl Into<PathBuf>) -> Builder {
        self.search.folder = Some(folder.into());
        self
    }

    /// The package whose agent is sent, where it is not the stock one: what `cargo xtask build-agent --package` was
    /// given. Its functions are those that can be called.
    #[must_use]
    pub fn package(mut self, package: impl Into<String>) -> Builder {
        self.search.package = Some(package.into());
        self
    }

    /// Which log records contexts send to this program, whose `tracing` subscriber gets them as events. Without this it is what
    /// the variable `OFFSHOOT_LOG` says, and none where that is not set. [`Router::set_log_filter`] changes it.
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
    /// When the system gives no descriptors or threads, or `OFFSHOOT_LOG` counts and cannot be read.
    pub fn start(self) -> Result<Router> {
        let sent = self.sent();
        let filter = match self.log_filter {
            Some(filter) => filter,
            None => Filter::of_environment()?.unwrap_or_default(),
        };
        Router::start(find(self.search), &filter, sent)
    }

    /// Joins the tree of the process that listens at `path`, with these settings for what is started from here: see
    /// [`join`](crate::join). The log filter is that of the tree.
    ///
    /// # Errors
    /// As [`join`](crate::join).
    pub fn join(self, path: impl AsRef<Path>) -> Result<Router> {
        let sent = self.sent();
        join_with(path.as_ref(), find(self.search), sent)
    }

    fn sent(&self) -> Sent {
        if self.search.package.is_some() { Sent::Own } else { Sent::Stock }
    }
}

fn find(search: Search) -> Find {
    match FINDERS.first() {
        Some(finder) => finder(search),
        None => Box::new(|platform| {
            Err(Error::Image(format!(
                "no agent for {platform}: this program is made without the crate offshoot, which finds them"
            )))
        }),
    }
}
