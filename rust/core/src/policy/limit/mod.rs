//! ConcurrencyLimit: at most `n` calls at a time, the others wait by priority. A permit is handed to the waiter whose
//! turn it is.

mod acquire;
mod layer;
mod machine;
#[cfg(all(test, loom))]
mod races;

pub use acquire::{Limit, Noted, Permit, Queue};
pub use layer::enter;

#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Permits of each key.
    pub n: u32,
    /// How many may wait for a permit of one key. `None`: any number.
    pub most_waiting: Option<u32>,
    pub overflow: Overflow,
}

/// The caller that is refused when too many wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overflow {
    /// The newcomer.
    Reject,
    /// The newest waiter of the lowest priority.
    Shed,
}
