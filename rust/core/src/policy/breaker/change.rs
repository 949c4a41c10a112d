//! A breaker's change of state for one key, with its cause, as data: the host words it.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use super::{Breaker, State};
use crate::effect::Use;
use crate::sync::Mutex;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Opened(Cause),
    /// The cooldown is over and the first call has come: up to `probes` calls are let through.
    HalfOpen {
        probes: u32,
    },
    /// All probes have succeeded.
    Closed {
        probes: u32,
    },
    /// Set by hand, whatever the calls have come to.
    ByHand(State),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    InARow {
        failures: u32,
    },
    /// The failure rate in the window.
    Rate {
        failures: u32,
        calls: u32,
    },
    /// The rate of calls in the window that took longer than `limit`.
    Slow {
        slow: u32,
        calls: u32,
        limit: Duration,
    },
    ProbeFailed {
        probes: u32,
    },
    ProbesSlow {
        slow: u32,
        probes: u32,
        limit: Duration,
    },
}

/// A change, with the breaker and the key that it concerns.
pub struct Told {
    pub name: Option<Arc<str>>,
    /// `None`: the breaker has one state for all.
    pub key: Option<Use>,
    pub change: Change,
}

/// The end of the call that caused a change.
pub enum Ended<'a> {
    /// No call caused it, or one that is no failure.
    Well,
    OutOfTime,
    /// The call failed with this fault of the leaf's.
    Failed(&'a dyn Any),
}

/// Receives changes. The breaker is not locked meanwhile.
pub type Ear = fn(Told, Ended<'_>);

/// Passes a change to the breaker's ear, if it has one.
#[cold]
pub fn tell(breaker: &Mutex<Breaker>, key: Option<Use>, change: Change, ended: Ended<'_>) {
    let (name, ear) = {
        let breaker = breaker.lock();
        (breaker.name.clone(), breaker.ear)
    };
    if let Some(ear) = ear {
        ear(Told { name, key, change }, ended);
    }
}
