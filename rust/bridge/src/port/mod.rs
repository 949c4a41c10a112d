//! From native threads to an event loop: the loop's queue of messages, the bell that wakes it, the table of ports, and
//! the end of a flight, which is such a message.

pub(crate) mod bell;
pub(crate) mod flight_guard;
pub(crate) mod owned;
mod port;
pub(crate) mod queue;
pub(crate) mod registry;

pub(crate) use port::*;
