//! CircuitBreaker (the pattern is Nygard's, "Release It!", 2007): when too many calls fail it refuses calls for a
//! while, and then a few probes find out whether the service is well again.

mod change;
mod layer;
mod machine;
#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;

pub use change::{Cause, Change, Ear, Ended, Told, tell};
pub use layer::{Inside, enter};
pub use machine::Breaker;

use std::time::Duration;

use super::backoff::Backoff;
use crate::time::Instant;

#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Failures in a row that open it. `None`: a rate does.
    pub failures: Option<u32>,
    /// The part of the calls in the window that may fail before it opens; above 1 it never does. Not judged when
    /// `failures` is given.
    pub failure_rate: f64,
    /// With fewer results in the window no rate is judged.
    pub minimum_calls: u32,
    /// A success that took longer is slow. `None`: none is.
    pub slow_call: Option<Duration>,
    /// The part of the calls in the window that may be slow before it opens.
    pub slow_rate: f64,
    /// How long a result counts, to a tenth of it: for nine tenths at least, and never for the whole.
    pub window: Duration,
    /// How long it stays open: the n-th opening in a row has the n-th wait. An endless one is left by `reset` only.
    pub cooldown: Backoff,
    /// How many calls are let through half-open; all must succeed for it to close. At least 1.
    pub probes: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Closed,
    Open,
    HalfOpen,
    /// Open by hand, until reset.
    Isolated,
}

impl State {
    /// The names of the states, in their order.
    pub const NAMES: [&str; 4] = ["closed", "open", "half_open", "isolated"];

    #[must_use]
    pub fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Success,
    Failure,
    /// Ignored: a caller's cancel, a rejection, an error that the breaker is to ignore.
    Nothing,
}

/// A call that was admitted. Exactly one [`Breaker::record`] must follow, whatever becomes of the call: a probe holds
/// its place until then.
#[must_use = "a probe holds its place until its pass is recorded"]
#[derive(Debug)]
pub struct Pass {
    key: u32,
    generation: u64,
    started: Instant,
    /// How many probes are let through from this one on, which has made it half-open; else 0.
    probes: u32,
}

impl Pass {
    /// The change that this admission caused.
    #[must_use]
    pub fn change(&self) -> Option<Change> {
        (self.probes > 0).then_some(Change::HalfOpen { probes: self.probes })
    }
}
