//! ConcurrencyLimit: at most so many calls at a time, the others wait by priority. A permit is handed over to whoever's turn it is.

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
    /// How many may wait for a permit of one key. `None` is without bound.
    pub most_waiting: Option<u32>,
    pub overflow: Overflow,
}

/// Who is refused when too many wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overflow {
    /// Who comes last.
    Reject,
    /// The newest of the lowest priority.
    Shed,
}
