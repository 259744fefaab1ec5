use crate::wire::Kind;

/// Who gives an order or has news that concerns the link itself.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Giver {
    /// The parent alone.
    Parent,
    /// A child alone.
    Child,
    /// Either end of the link.
    Either,
}

/// Of whom a frame of this kind is taken; none where it is no matter of the link.
pub fn giver_of(kind: Kind) -> Option<Giver> {
    Some(match kind {
        Kind::Boot | Kind::Shutdown | Kind::Pair | Kind::Expel | Kind::Grant | Kind::Filter => Giver::Parent,
        Kind::Hello | Kind::Route => Giver::Child,
        Kind::Ping | Kind::Pong | Kind::Choke | Kind::Free => Giver::Either,
        Kind::Open | Kind::Data | Kind::Credit | Kind::Reset | Kind::Dead | Kind::Log => return None,
    })
}
