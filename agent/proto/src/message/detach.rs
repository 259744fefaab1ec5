use crate::error::Error;
use crate::error::Result;
use crate::id::Handle;
use alloc::format;
use alloc::string::String;
use serde::Deserialize;
use serde::Serialize;

/// The request to the service that lets go.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DetachRequest {
    /// The flow of the program; [`Handle::NONE`] for the context itself.
    pub program: Handle,
    pub name: String,
}

impl DetachRequest {
    /// The order to let a program of `context` go, or that itself.
    pub fn new(context: &str, program: Handle, name: String) -> Result<DetachRequest> {
        if name.contains('\0') {
            let action = format!("letting go of {context}");
            return Err(Error::system(action, format!("the name {name:?} has a NUL byte")));
        }
        Ok(DetachRequest { program, name })
    }
}
