//! Reports of the engine: counters that stay on, and an observer of one call. They decide nothing; figures, spans and
//! pages are made above, in `telemetry` or further up.

mod batches;
mod now;
mod progress;
mod shard;
mod streams;
mod tally;
mod times;

pub use batches::Batched;
pub use now::{Doing, Now};
pub use progress::Progress;
pub use shard::Sharded;
pub use streams::{Open, Streamed};
pub use tally::{Count, Tally};
pub use times::{Summary, Times};

use std::time::Duration;

use crate::time::Instant;

/// Observes one call. Called on whatever thread polls the call, in the order in which things happen.
pub trait Observer: Send + Sync {
    fn told(&self, event: Event, now: Instant);
}

/// Layers are places in the call's stack, outermost first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The call is queued by the policy at that layer,
    Waits(usize),
    /// and has been admitted or refused.
    Waited(usize),
    /// The leaf begins for the n-th time.
    Attempt(u32),
    /// The attempt has failed, and another begins at that time.
    BacksOff(usize, Instant),
    /// The policy at that layer did not let the call begin.
    Refused(usize),
    Cache(usize, Found),
    /// The fallback at that layer stands in.
    Degraded(usize),
    /// The retry at that layer does not accept the value of the attempt.
    NotAccepted(usize),
    /// The first item of a stream is out.
    FirstItem,
    /// A stream has ended after so many items.
    Items(u64),
    /// The consumer of a stream leaves it before its end.
    Left,
    /// The chaos at that layer gives the call a fault. After a delay or a hang comes [`Event::Waited`].
    Chaos(usize, Injected),
    /// An attempt begins beside a slow one, the n-th of the call.
    Hedged(usize, u32),
    /// Of several attempts of the hedge at that layer the n-th gives the value.
    Won(usize, u32),
}

/// The fault that chaos gives a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Injected {
    /// It fails, and does not begin.
    Failure,
    /// It begins so much later.
    Delay(Duration),
    /// It does not begin before the chaos is turned off.
    Hang,
}

/// The result of looking a call up in a cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    Hit,
    /// Out of date, and still given out while a flight fetches another.
    Stale,
    /// The call fetches the value itself,
    Missing,
    /// or waits for a flight that does.
    Flying,
}
