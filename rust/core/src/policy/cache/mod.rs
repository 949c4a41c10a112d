//! Cache: values by key for a time, and one flight for all callers that miss the same one. What is kept is decided
//! here, by `now` alone.

mod layer;
mod store;

pub use layer::cached;
pub use store::{Cache, Counts};

use std::time::Duration;

#[derive(Clone, Copy, Debug)]
pub struct Settings {
    pub ttl: Duration,
    /// After `ttl`, a value is given out for so long while it is fetched anew.
    pub stale: Duration,
    pub max_size: usize,
}
