//! Typed functions and programs behind any nesting of ssh and sudo, with nothing installed on the
//! way.
//!
//! One static agent is piped through the stdin of ssh and sudo and runs from memory. Agents start
//! further agents. When the controller ends, all of them end.
//!
//! ```no_run
//! use offshoot::prelude::*;
//!
//! #[offshoot::remote]
//! fn length(path: String) -> std::io::Result<u64> {
//!     std::fs::metadata(path).map(|found| found.len())
//! }
//!
//! fn main() -> Result<(), offshoot::Report> {
//!     // Does not return on a host, where this program is the agent.
//!     offshoot::init();
//!     Router::builder().own_image().run(|router| {
//!         let root = router.ssh("web1").connect()?.sudo().connect()?;
//!         println!("{} bytes", root.call(length { path: "/etc/shadow".into() })?);
//!         let output = root.command("systemctl").args(["is-active", "nginx"]).output()?;
//!         println!("{}", String::from_utf8_lossy(&output.stdout));
//!         Ok(())
//!     })?;
//!     Ok(())
//! }
//! ```
//!
//! A function of your own runs in an agent that was built with it. That agent is either this
//! program, if it is static and sent as its own image ([`Builder::own_image`]), or one that
//! `offshoot build-agent --manifest-path YOURS/Cargo.toml` builds ([`Builder::package`]).
//! Running programs and the functions of [`stock`] needs neither: [`run`] sends the stock agent. A
//! panic in a function of your own is an error of its call, with message and place. The stock agent
//! is built for size and ends on a panic.
//!
//! The [`guide`] begins with the first hop.

#![forbid(unsafe_code)]

#[cfg(not(target_os = "linux"))]
compile_error!("offshoot runs on Linux only, as controller and as target");

mod images;
#[cfg(feature = "log")]
mod log;
mod report;
mod run;
mod signals;
pub mod target;
#[cfg(feature = "testing")]
mod testing;

pub use images::{FOLDER_VARIABLE, StockImage, stock_images};
#[cfg(feature = "log")]
pub use log::{log_to_file, log_to_stderr, log_to_stderr_by, log_to_writer_by};
#[cfg(feature = "json")]
pub use offshoot_agent::Json;
pub use offshoot_agent::method as methods;
pub use offshoot_agent::{
    AnyPath, BUILD, Blob, Builder, CallError, Chain, Command, ConnectError, ConnectErrorKind,
    Connecting, Context, ContextId, DisconnectReason, Disconnection, Dump, Elapsed, Error,
    ErrorText, Exec, ExitStatus, Filter, FilterError, Handle, Hop, IntoSource, Key, LOG_VARIABLE,
    Listener, Mapped, MessageOrigin, Messages, Output, Pause, Plan, Policy, Process, Prompt,
    PromptKind, Reader, Reason, Receiver, RecvError, Registration, Remote, Reply, Result, Router,
    Secret, Select, Sender, Signaller, Source, Writer, agent_main, harmless, init, stock,
};
pub use offshoot_agent::{filter_from_env, join, remote};
pub use report::Report;
pub use run::run;
pub use signals::{Signals, ctrl_c};

#[doc(hidden)]
pub use offshoot_agent::macro_support;

// Its programs are tested in their own way.
#[cfg(all(doc, not(doctest)))]
include!(concat!(env!("OUT_DIR"), "/guide.rs"));

/// The types and macros that most programs use.
pub mod prelude {
    pub use crate::methods::HostKeys;
    pub use crate::target::TargetExt;
    pub use crate::{
        Blob, CallError, Context, Error, IntoSource, Reader, Receiver, Router, Secret, Select,
        Sender, Writer, remote,
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Does not compile if a type cannot be shared between threads.
    fn shared<T: Send + Sync>() {}

    #[test]
    fn every_value_of_a_tree_can_be_shared_between_threads() {
        shared::<Router>();
        shared::<Context>();
        shared::<Connecting>();
        shared::<Reply<stock::ping>>();
        shared::<Chain>();
        shared::<Process>();
        shared::<Reader>();
        shared::<Writer>();
        shared::<Sender<u8>>();
        shared::<Receiver<u8>>();
        shared::<Select<u8>>();
        shared::<Disconnection>();
        shared::<Registration>();
        shared::<Listener>();
        shared::<Pause>();
        shared::<Signals>();
        shared::<Report>();
    }
}
