//! What goes wrong on demand, and for which calls.

use protocol::outcome::Outcome;

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The connection breaks before the request is carried out.
    DropBefore,
    /// The connection breaks after the request was carried out, before its answer.
    DropAfter,
    /// The request, or each of its entries, is refused.
    Refuse(Outcome),
}

/// Which calls a fault is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Call {
    /// Appends.
    Produce,
    /// Reads.
    Fetch,
    /// Searches for positions.
    FindPositions,
    /// Requests for an identity.
    InitProducer,
    /// Everything about topics and the broker.
    Admin,
}
