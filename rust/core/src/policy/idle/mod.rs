//! Idle: the longest wait for the next item of a stream, the first one included. The time between two pulls, which is
//! the consumer's own, does not count.

mod layer;
mod machine;

pub use layer::watch;

use std::time::Duration;

#[derive(Clone, Copy, Debug)]
pub struct Settings {
    pub limit: Duration,
}
