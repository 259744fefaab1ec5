//! Panics of functions as errors.

use offshoot_proto::Error;
use offshoot_proto::message::outcome::failed;

/// Returns the reply of `work`, or an error reply if it panicked in the context called `name`.
pub(crate) fn contained(name: &str, work: impl FnOnce() -> Vec<u8>) -> Vec<u8> {
    crate::runtime::panics::catch(work).unwrap_or_else(|message| {
        failed(&Error::Panicked {
            context: name.into(),
            message,
        })
    })
}
