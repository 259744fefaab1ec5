//! The `Debug` form of public types: the context that a value is about, and no content.

use crate::call::chain::Chain;
use crate::call::function::Remote;
use crate::call::reply::Reply;
use crate::channel::pipe::Reader;
use crate::channel::pipe::Writer;
use crate::context::disconnect::Disconnection;
use crate::hop::Hop;
use crate::hop::connecting::Connecting;
use crate::program::command::Command;
use crate::program::process::Process;
use crate::program::process::Signaller;
use crate::router::listener::Listener;
use crate::select::Select;
use std::fmt;

/// Implements `Debug` for types, with a text in brackets.
macro_rules! shown {
    ($($name:ident $(<$type:ident $(: $bound:ident)?>)?: $about:expr;)*) => {$(
        impl$(<$type $(: $bound)?>)? fmt::Debug for $name$(<$type>)? {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let about: fn(&Self) -> String = $about;
                write!(f, concat!(stringify!($name), "({})"), about(self))
            }
        }
    )*};
}

shown! {
    Reply<F: Remote>: |reply| format!("{} of {}", F::NAME, reply.context());
    Chain: |chain| chain.context().to_string();
    Connecting: |connecting| connecting.context().to_string();
    Disconnection: |disconnected| disconnected.context().to_string();
    Hop<M>: |hop| format!("from {}", hop.parent);
    Listener: |listener| listener.path().display().to_string();
    Command: |command| format!("in {}", command.context);
    Process: |process| format!("in {}", process.context);
    Signaller: |_| "..".into();
    Select<T>: |select| format!("over {}", select.len());
    Reader: |_| "..".into();
    Writer: |_| "..".into();
}
