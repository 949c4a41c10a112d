//! What the engine tells of itself: counters that stay on, and an observer that hears of one call as it goes on. It decides nothing, and who
//! makes figures, spans or pages of it stands above, in `telemetry` or further up.

mod now;
mod shard;
mod tally;
mod times;

pub use now::{Doing, Now};
pub use shard::Sharded;
pub use tally::{Count, Tally};
pub use times::{Summary, Times};

use crate::time::Instant;

/// Hears what becomes of one call. Told on whatever thread polls the call, in the order in which things happen.
pub trait Observer: Send + Sync {
    fn told(&self, event: Event, now: Instant);
}

/// Layers are places in the call's stack, outermost first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// It stands in the queue of the policy at that layer,
    Waits(usize),
    /// and has been let in, or sent away.
    Waited(usize),
    /// The leaf begins for the n-th time.
    Attempt(u32),
    /// The attempt has failed, and another begins at that time.
    BacksOff(usize, Instant),
    /// The policy at that layer did not let it begin.
    Refused(usize),
    Cache(usize, Found),
    /// The fallback at that layer stands in.
    Degraded(usize),
}

/// What a call finds in a cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    Hit,
    /// Out of date, and good enough while another is fetched.
    Stale,
    /// It fetches the value itself,
    Missing,
    /// or waits for another who does.
    Flying,
}
