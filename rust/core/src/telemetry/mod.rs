//! Figures of the whole process, for whoever looks at them: what is counted by name, what stateful policies say of themselves, what is under way.
//! It is read from any thread without stopping anybody, and is bounded whatever the program names.

mod by_key;
mod catalogue;
mod live;
mod names;
mod policies;
mod pulse;
mod record;
mod text;

pub use by_key::{ByKey, KEYS, KeyReading};
pub use catalogue::{CATALOGUE, Kind, Metric};
pub use live::{Entry, Listed, Live};
pub use names::{Names, shortened};
pub use policies::{Policies, Reading};
pub use pulse::Pulse;
pub use record::{All, Labels, Record};
pub use text::{openmetrics, prometheus};

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::observe::{Count, Tally};
use crate::time::Clock;

/// Names a metric, before the rest goes by the name of `other`.
pub const SERIES: usize = 1000;
/// What stands for all the names beyond the bound.
pub const OTHER: &str = "other";

/// What the process does now, which others count.
#[derive(Clone, Copy, Debug, Default)]
pub struct Gauges {
    pub running: u64,
    pub waiting: u64,
    pub threads_busy: u64,
    pub threads_abandoned: u64,
}

pub struct Telemetry {
    pub clock: Arc<Clock>,
    pub effects: Names<Tally>,
    pub policies: Policies,
    pub live: Live,
    pub pulse: Pulse,
    /// Spans that no exporter will see.
    pub spans_dropped: AtomicU64,
    gauges: Box<dyn Fn() -> Gauges + Send + Sync>,
    /// Pairs of an effect and an error that may still be told apart.
    errors_left: AtomicUsize,
}

impl Telemetry {
    pub fn new(clock: Arc<Clock>, series: usize, gauges: impl Fn() -> Gauges + Send + Sync + 'static) -> Self {
        Telemetry {
            clock,
            effects: Names::new(series),
            policies: Policies::new(series),
            live: Live::default(),
            pulse: Pulse::default(),
            spans_dropped: AtomicU64::new(0),
            gauges: Box::new(gauges),
            errors_left: AtomicUsize::new(series),
        }
    }

    /// In the child of a fork: the effects and policies of its parent are its own, and so are what they have counted. What another thread
    /// was changing at that moment is left.
    pub fn inherit(&self, parent: &Telemetry) {
        self.effects.inherit(&parent.effects);
        self.policies.inherit(&parent.policies);
    }

    pub fn gauges(&self) -> Gauges {
        (self.gauges)()
    }

    /// A run of `tally`'s has failed with an error of that type.
    pub fn failed(&self, tally: &Tally, error: &str) {
        tally.count(Count::Failed);
        let more = || self.errors_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1)).is_ok();
        if !tally.failed_with(&shortened(error), more) {
            self.effects.of(OTHER).failed_with(OTHER, || true);
        }
    }
}
