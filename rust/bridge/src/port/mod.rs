//! From native threads to an event loop: its queue of messages, the bell that wakes it, and the end of a flight, which is such a message.

pub(crate) mod bell;
pub(crate) mod flight_guard;
mod port;

pub(crate) use port::*;
