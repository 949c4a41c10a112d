//! What a breaker did for one key, and why, as data: the words for it are the host's.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use super::{Breaker, State};
use crate::effect::Use;
use crate::sync::Mutex;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Opened(Cause),
    /// The cooldown is over and the first call has come: of those that come, so many are let through.
    HalfOpen {
        probes: u32,
    },
    /// So many probes have succeeded: all that there were.
    Closed {
        probes: u32,
    },
    /// To that state, whatever its calls have come to.
    ByHand(State),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    InARow {
        failures: u32,
    },
    /// In the window.
    Rate {
        failures: u32,
        calls: u32,
    },
    /// In the window, so many took longer than that.
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

/// A change, with whose it is.
pub struct Told {
    pub name: Option<Arc<str>>,
    /// `None`: the breaker has one state for all.
    pub key: Option<Use>,
    pub change: Change,
}

/// How the call ended that brought a change about.
pub enum Ended<'a> {
    /// No call did, or one that is no failure.
    Well,
    OutOfTime,
    /// With that fault of the leaf's.
    Failed(&'a dyn Any),
}

/// Hears of changes; the breaker is not locked meanwhile.
pub type Ear = fn(Told, Ended<'_>);

/// Tell the ear of `breaker`, if it has one.
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
