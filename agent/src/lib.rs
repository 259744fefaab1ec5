//! The parts of every node of an offshoot tree, as a library; and the stock agent.
//!
//! A parent is an agent with children, so the controller is built from the same parts. The parts
//! that decide are pure and are in the crate `offshoot-proto`. One broker thread moves bytes; all
//! other threads reach it through the node.
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

#![forbid(unsafe_code)]
#![warn(clippy::print_stdout)]

mod broker;
mod call;
mod channel;
mod context;
mod debug;
pub(crate) mod hop;
mod inspect;
#[cfg(feature = "json")]
mod json;
mod lifecycle;
mod log;
mod program;
mod router;
mod runtime;
mod select;
pub mod stock;
#[cfg(feature = "testing")]
#[doc(hidden)]
pub mod testing;

pub use call::chain::Chain;
pub use call::error_form::ErrorText;
pub use call::function::Remote;
pub use call::handler::{MessageOrigin, Registration};
pub use call::reply::Reply;
pub use channel::pipe::{Reader, Writer};
pub use channel::{Messages, Receiver, Sender};
pub use context::Context;
pub use context::disconnect::{DisconnectReason, Disconnection, ShuttingDown};
pub use context::timer::Timer;
pub use hop::Hop;
pub use hop::connecting::Connecting;
pub use hop::method;
pub use hop::plan::Plan;
pub use hop::prompts::Prompt;
pub use hop::settings::Exec;
pub use inspect::Dump;
#[cfg(feature = "json")]
pub use json::Json;
#[doc(hidden)]
pub use lifecycle::threads::initialised;
pub use lifecycle::{agent_main, init};
#[doc(hidden)]
pub use lifecycle::{init_with, stock_main};
pub use log::root::filter_from_env;
pub use offshoot_codec::{AnyPath, Blob, Secret};
pub use offshoot_macros::remote;
pub use offshoot_proto::log::{Filter, FilterError, LOG_VARIABLE};
pub use offshoot_proto::message::channel::RecvError;
pub use offshoot_proto::message::exec::ExitStatus;
pub use offshoot_proto::message::prompt::PromptKind;
pub use offshoot_proto::routing::Policy;
pub use offshoot_proto::text::harmless;
pub use offshoot_proto::{
    CallError, ConnectError, ConnectErrorKind, ContextId, Error, Handle, Reason, Result,
};
#[doc(hidden)]
pub use offshoot_sys::before_main;
pub use program::command::Command;
pub use program::process::{Output, Process, Signaller};
pub use router::Router;
pub use router::builder::Builder;
#[doc(hidden)]
pub use router::builder::{FINDERS, Search};
pub use router::join::join;
pub use router::listener::Listener;
pub use router::pause::Pause;
pub use runtime::build::BUILD;
pub use runtime::image_store as images;
pub use select::{Elapsed, IntoSource, Key, Mapped, Select, Source, WithEnd};

/// System calls for the command line, which has no unsafe code; not a part of the API.
#[doc(hidden)]
pub mod command_line {
    pub use offshoot_sys::hide_memory;
    pub use offshoot_sys::limits::leave_no_core;
    pub use offshoot_sys::terminal::columns;
}

/// The items that the expansion of the attribute refers to; not a part of the API.
#[doc(hidden)]
pub mod macro_support {
    pub use crate::call::decode::{run_encoded, run_encoded_locked, run_own};
    pub use crate::call::error_form::{
        AsIoError, AsItself, CannotTravel, ErrorForm, ErrorText, ErrorTravels, Flat, FlatBox,
        FlatError, FlatLocalBox, FlatText, HasNoText, HasText,
    };
    pub use crate::call::function::{FUNCTIONS, Function};
    pub use crate::call::mode::{block_on, coalesced, concurrent, quick, serial};
    pub use crate::call::shape::{Described, IsSeen, IsUnseen, LazyShape, OfType};
    pub use crate::call::signature::signature;
    pub use offshoot_codec::{CodecError, Shape};
    pub use offshoot_proto::routing::Origin;
    pub use offshoot_proto::routing::Policy;
    pub use offshoot_sys::linkme;
    pub use serde;

    /// The value of a function that is answered before it runs.
    #[diagnostic::on_unimplemented(
        message = "a function with `no_reply` cannot return `{Self}`",
        label = "its callers are answered before it runs",
        note = "return nothing, or a Result<(), _> whose error is logged; or remove `no_reply`"
    )]
    pub trait Nothing {}
    impl Nothing for () {}

    /// The two types of a `Result`, under any alias.
    pub trait ResultTypes {
        /// The type of `Ok`.
        type Value;
        /// The type of `Err`.
        type Error;
    }
    impl<T, E> ResultTypes for Result<T, E> {
        type Value = T;
        type Error = E;
    }

    /// Tells whether a type is a `Result`, or bound to a process of the tree, under any name.
    pub struct Probe<T>(std::marker::PhantomData<T>);
    impl<T, E> Probe<Result<T, E>> {
        /// Takes precedence over the constant of the trait.
        pub const IS_RESULT: bool = true;
    }

    macro_rules! bound {
        ($($of:ty $(: $message:ident)?),*) => {
            $(impl$(<$message>)? Probe<$of> {
                /// Takes precedence over the constant of the trait.
                pub const IS_BOUND: bool = true;
            })*
        };
    }
    bound!(crate::Context, crate::Reader, crate::Writer, crate::Sender<T>: T, crate::Receiver<T>: T);

    /// The default for all other types.
    pub trait IsNotBound {
        /// True if encoding and decoding it needs the node.
        const IS_BOUND: bool = false;
    }
    impl<T> IsNotBound for Probe<T> {}

    /// The default for all other types.
    pub trait IsNoResult {
        /// True if it is a `Result`.
        const IS_RESULT: bool = false;
    }
    impl<T> IsNoResult for Probe<T> {}
}
