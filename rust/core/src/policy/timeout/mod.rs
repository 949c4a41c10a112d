//! Timeout: a deadline on the time of everything inside it. When it passes, the leaf is asked to stop and polled until
//! it has ended.

mod layer;

pub use layer::hold_to;

use std::time::Duration;

#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// `Duration::MAX` is no deadline; zero allows one poll.
    pub limit: Duration,
}
