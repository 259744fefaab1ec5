//! What the user of one end of a flow knows: what has come, what has gone, and whether it is over.

use super::ledger::Lane;
use super::plan::Reader;

/// The user of one end of a flow.
#[derive(Clone)]
pub struct End {
    pub request: u32,
    pub opener: bool,
    /// Whether the flow is the request's own and not a stream of it.
    pub main: bool,
    pub incoming: Lane,
    pub outgoing: Lane,
    /// How many bytes came, whether they were all, and how many there are to be.
    pub got: u64,
    pub got_end: bool,
    pub expects: u64,
    /// How many bytes went, of how many; none as long as there is nothing to say.
    pub sent: u64,
    pub says: Option<u64>,
    pub sent_end: bool,
    pub reader: Reader,
    pub read: u64,
    pub unread: u64,
    /// Nothing is to come or to go any more.
    pub over: bool,
    /// Because this side gave it up.
    pub by_us: bool,
}

impl End {
    pub fn new(request: u32, opener: bool, main: bool, reader: Reader) -> End {
        let lane = |number| Lane { request, number };
        let (outgoing, incoming) = match (main, opener) {
            (true, true) => (lane(0), lane(1)),
            (true, false) => (lane(1), lane(0)),
            _ => (lane(2), lane(2)),
        };
        End {
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
