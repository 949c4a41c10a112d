//! The state of a policy at one moment, as metrics and the page read it.

use std::time::Duration;

use crate::observe::Summary;
use crate::policy::cache::Counts;
use crate::policy::chaos;
use crate::policy::hedge;
use crate::policy::retry;

/// The present state of a policy, over all its keys. Of a limit, `capacity` is that of each key, `fullest` the most
/// that one key has in use, and `keys` the number of keys with calls at work, `None` for a limit without keys.
pub enum Reading {
    Limit {
        capacity: u32,
        in_flight: u32,
        fullest: u32,
        keys: Option<usize>,
        waiting: [u32; 3],
        waits: Summary,
    },
    Rate {
        n: f64,
        per: f64,
        waiting: usize,
        waits: Summary,
    },
    Breaker {
        states: [u64; 4],
        opens: u64,
    },
    Cache {
        counts: Counts,
        size: usize,
        max_size: usize,
    },
    Budget(retry::Counts),
    /// `delay`: the longest of any key, `None` while none is known.
    Hedge {
        counts: hedge::Counts,
        delay: Option<Duration>,
    },
    /// `faults`: since it was made.
    Chaos {
        on: bool,
        faults: chaos::Figures,
    },
    /// Of items that grow, not of a policy: how many are done, and how many are left.
    Work {
        done: u64,
        left: u64,
    },
}
