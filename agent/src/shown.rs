//! What a program holds, as `{:?}` shows it: by the context that it is about, and by nothing that travels.

use crate::chain::Chain;
use crate::connecting::Connecting;
use crate::hop::Hop;
use crate::listener::Listener;
use crate::parting::Disconnected;
use crate::process::{Process, Signaller};
use crate::program::Command;
use crate::remote::Remote;
use crate::reply::Reply;
use crate::select::Select;
use crate::stream::{Reader, Writer};
use std::fmt;

/// Types with what is in their brackets.
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
    Disconnected: |disconnected| disconnected.context().to_string();
    Hop<M>: |hop| format!("from {}", hop.parent);
    Listener: |listener| listener.path().display().to_string();
    Command: |command| format!("in {}", command.context);
    Process: |process| format!("in {}", process.context);
    Signaller: |_| "..".into();
    Select<T>: |select| format!("over {}", select.len());
    Reader: |_| "..".into();
    Writer: |_| "..".into();
}
