//! Fixtures of the tests of policies: the scripted leaf, its faults, and a stage that polls by hand.

mod act;
mod fail;
mod leaf;
mod stage;

pub(crate) use act::{Act, End, Reply};
pub(crate) use fail::Fail;
pub(crate) use leaf::{On, Scripted};
pub(crate) use stage::{Run, Stage, play};

use std::time::Duration;

use mountain_core::effect::Deadline;
use mountain_core::error::Owner;
use mountain_core::policy::retry::{Backoff, Jitter};
use mountain_core::policy::{Layer, retry, timeout};
use mountain_core::time::Instant;

pub(crate) const fn secs(s: u64) -> Duration {
    Duration::from_secs(s)
}

/// That many seconds after the clock was made.
pub(crate) const fn at(s: u64) -> Instant {
    Instant::from_nanos(s * 1_000_000_000)
}

pub(crate) fn limit(s: u64) -> Layer {
    Layer::Timeout(timeout::Settings { limit: secs(s) })
}

pub(crate) fn no_limit() -> Layer {
    Layer::Timeout(timeout::Settings { limit: Duration::MAX })
}

/// A retry that waits 1, 2, 4, ... seconds.
pub(crate) fn doubling(attempts: impl Into<Option<u32>>) -> Layer {
    waiting(attempts, 1.0, 2.0)
}

/// A retry that does not wait.
pub(crate) fn at_once(attempts: impl Into<Option<u32>>) -> Layer {
    waiting(attempts, 0.0, 1.0)
}

/// The same retry, which judges values, too.
pub(crate) fn until(layer: Layer) -> Layer {
    match layer {
        Layer::Retry(settings) => Layer::Retry(retry::Settings { until: true, ..settings }),
        other => other,
    }
}

/// The same retry, whose waits the leaf gives.
pub(crate) fn asking(layer: Layer) -> Layer {
    match layer {
        Layer::Retry(settings) => Layer::Retry(retry::Settings { backoff: None, ..settings }),
        other => other,
    }
}

fn waiting(attempts: impl Into<Option<u32>>, initial: f64, factor: f64) -> Layer {
    let backoff = Backoff { initial, factor, max: 3600.0, jitter: Jitter::None };
    Layer::Retry(retry::Settings {
        attempts: attempts.into(),
        backoff: Some(backoff),
        max_retry_after: secs(60),
        budget: None,
        until: false,
    })
}

pub(crate) fn inherited(s: u64) -> Deadline {
    Deadline { at: at(s), owner: Owner::Inherited }
}
