//! The request to detach a program or a context.

use crate::error::Error;
use crate::error::Result;
use crate::id::Handle;
use alloc::format;
use alloc::string::String;
use serde::Deserialize;
use serde::Serialize;

/// Request to the detach service.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DetachRequest {
    /// Flow of the program; [`Handle::NONE`] for the context itself.
    pub program: Handle,
    /// Name under which the program or context continues.
    pub name: String,
}

impl DetachRequest {
    /// Creates the request to detach a program of `context`, or `context` itself.
    ///
    /// # Errors
    /// Returns an error if the name is empty.
    pub fn new(context: &str, program: Handle, name: String) -> Result<Self> {
        if name.contains('\0') {
            let action = format!("detaching {context}");
            return Err(Error::system(
                action,
                format!("the name {name:?} has a NUL byte"),
            ));
        }
        Ok(Self { program, name })
    }
}
