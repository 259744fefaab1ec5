pub(crate) mod command;
pub(crate) mod detach;
pub(crate) mod home;
pub(crate) mod leftovers;
pub(crate) mod process;
pub(crate) mod service;
pub(crate) mod start;
pub(crate) mod start_error;

use offshoot_proto::message::exec::ExitStatus;
use offshoot_sys::wait_status::WaitStatus;

/// Returns the status of a process as it is sent to other nodes.
pub(crate) fn exit_status(status: WaitStatus) -> ExitStatus {
    ExitStatus { code: status.code, signal: status.signal }
}
