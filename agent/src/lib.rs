//! What every node of an offshoot tree is made of, as a library; and the stock agent.
//!
//! A parent is an agent with children, so the controller is built from the same parts. The parts that decide are pure:
//! [`wire`], [`router`], [`flow`] and [`node`] take bytes and events and return what to do. One broker thread
//! moves bytes; everything else talks to it through the node.
//!
//! Most programs use the crate `offshoot`; this one is for agents with functions of their own:
//!
//! ```no_run
//! use offshoot_agent::remote;
//!
//! #[remote(crate = offshoot_agent)]
//! fn disk_free(path: String) -> std::io::Result<u64> {
//!     std::fs::metadata(path).map(|found| found.len())
//! }
//!
//! fn main() {
//!     offshoot_agent::agent_main()
//! }
//! ```

pub mod codec;
pub mod connect;
pub mod error;
pub mod flow;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
pub mod grants;
pub mod id;
pub mod images;
pub mod log;
pub mod lost;
pub mod node;
pub mod router;
pub mod stock;
pub mod wire;

mod agree;
mod alone;
mod below;
mod blob;
mod bound;
mod broker;
mod builder;
mod chain;
mod channel;
mod connecting;
mod contain;
mod context;
mod dump;
mod end;
mod error_form;
mod filter;
mod forward;
mod guard;
mod handler;
mod hop;
mod hub;
mod invoke;
mod join;
mod latch;
mod listener;
mod map;
mod message;
mod not_started;
mod outflow;
mod partials;
mod parting;
mod pause;
mod process;
mod program;
mod remote;
mod reply;
mod runtime;
mod scope;
mod secret;
mod select;
mod shared;
mod shown;
mod sink;
mod span;
mod state;
mod steps;
mod stream;
mod sys;
mod table;
mod text;
mod told;
mod travel;
mod tree;
mod workers;

#[doc(hidden)]
pub use alone::initialised;
pub use blob::Blob;
pub use builder::Builder;
#[doc(hidden)]
pub use builder::{FINDERS, Search};
pub use chain::Chain;
pub use channel::{Messages, Receiver, RecvError, Sender};
pub use connecting::Connecting;
pub use context::Context;
pub use dump::Dump;
pub use error::{CallError, ConnectError, ConnectErrorKind, Error, Reason, Result};
pub use error_form::Flattened;
pub use filter::{Filter, FilterError, LOG_VARIABLE};
pub use handler::{Registration, Sent};
pub use hop::Hop;
pub use id::{ContextId, Handle};
pub use join::join;
pub use listener::Listener;
pub use offshoot_macros::remote;
pub use parting::{Departure, Disconnected};
pub use pause::Pause;
pub use process::{Output, Process, Signaller};
pub use program::{Command, ExitStatus};
pub use remote::Remote;
pub use reply::Reply;
pub use router::Policy;
#[doc(hidden)]
pub use runtime::stock_main;
pub use runtime::{agent_main, init};
pub use secret::Secret;
pub use select::{IntoSource, Key, Late, Mapped, Select, Source};
pub use stream::{Reader, Writer};
pub use text::harmless;
pub use tree::Router;

/// What the attribute's expansion refers to; not for use by hand.
#[doc(hidden)]
pub mod macro_support {
    pub use crate::codec::CodecError;
    pub use crate::error_form::{
        AsIoError, AsItself, CannotTravel, ErrorForm, Flat, FlatBox, FlatError, FlatLocalBox, FlatText,
        Flattened, HasNoText, HasText,
    };
    pub use crate::invoke::{block_on, concurrent, quick, serial, shared};
    pub use crate::remote::{FUNCTIONS, Function, run_encoded, run_encoded_locked, signature};
    pub use crate::router::Policy;
    pub use crate::told::Origin;
    pub use linkme;
    pub use serde;

    /// What a function gives that is answered before it runs.
    #[diagnostic::on_unimplemented(
        message = "a function that is answered before it runs cannot give `{Self}`",
        label = "its callers have no use for a value",
        note = "let it return nothing, or a Result<(), _> whose error is logged; or leave `no_reply` out"
    )]
    pub trait Nothing {}
    impl Nothing for () {}

    /// Reads the two types of a `Result` under whatever alias it is written.
    pub trait ResultTypes {
        /// Of `Ok`.
        type Value;
        /// Of `Err`.
        type Error;
    }
    impl<T, E> ResultTypes for Result<T, E> {
        type Value = T;
        type Error = E;
    }

    /// Finds out whether a type is a `Result`, or is bound to a place in the tree, by a name that does not show it.
    pub struct Probe<T>(std::marker::PhantomData<T>);
    impl<T, E> Probe<Result<T, E>> {
        /// Comes before the trait's.
        pub const IS_RESULT: bool = true;
    }

    macro_rules! bound {
        ($($of:ty $(: $message:ident)?),*) => {
            $(impl$(<$message>)? Probe<$of> {
                /// Comes before the trait's.
                pub const IS_BOUND: bool = true;
            })*
        };
    }
    bound!(crate::Context, crate::Reader, crate::Writer, crate::Sender<T>: T, crate::Receiver<T>: T);

    /// What is said of all other types.
    pub trait IsNotBound {
        /// Whether it arrives and leaves by the node.
        const IS_BOUND: bool = false;
    }
    impl<T> IsNotBound for Probe<T> {}

    /// What is said of all other types.
    pub trait IsNoResult {
        /// Whether it is one.
        const IS_RESULT: bool = false;
    }
    impl<T> IsNoResult for Probe<T> {}
}
