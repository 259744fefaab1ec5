//! The user of one end of a flow: bytes received, bytes sent, and whether it has ended.

use super::ledger::Lane;
use super::plan::Reader;

/// The user of one end of a flow.
#[derive(Clone)]
pub(crate) struct End {
    pub request: u32,
    pub opener: bool,
    /// True for the flow of the request, false for its stream.
    pub main: bool,
    pub incoming: Lane,
    pub outgoing: Lane,
    /// Number of bytes received, whether they are complete, and their expected number.
    pub got: u64,
    pub got_end: bool,
    pub expects: u64,
    /// Number of bytes sent, and their total; none while there is nothing to send.
    pub sent: u64,
    pub says: Option<u64>,
    pub sent_end: bool,
    pub reader: Reader,
    pub read: u64,
    pub unread: u64,
    /// True if neither direction continues.
    pub over: bool,
    /// True if this side has cancelled the flow.
    pub by_us: bool,
}

impl End {
    pub(crate) fn new(request: u32, opener: bool, main: bool, reader: Reader) -> Self {
        let lane = |number| Lane { request, number };
        let (outgoing, incoming) = match (main, opener) {
            (true, true) => (lane(0), lane(1)),
            (true, false) => (lane(1), lane(0)),
            _ => (lane(2), lane(2)),
        };
        Self {
            request,
            opener,
            main,
            incoming,
            outgoing,
            got: 0,
            got_end: false,
            expects: 0,
            sent: 0,
            says: None,
            sent_end: false,
            reader,
            read: 0,
            unread: 0,
            over: false,
            by_us: false,
        }
    }
}
