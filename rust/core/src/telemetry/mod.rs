//! Figures of the whole process: counts by name, readings of stateful policies, calls under way. Any thread may read
//! them without stopping another, and their size is bounded whatever the program names.

mod by_key;
mod catalogue;
mod hosts;
mod live;
mod names;
mod policies;
mod pools;
mod pulse;
mod reading;
mod record;
mod routers;
mod text;

pub use by_key::{ByKey, KEYS, KeyReading};
pub use catalogue::{CATALOGUE, Kind, Metric};
pub use hosts::HostTally;
pub use live::{Entry, Listed, Live};
pub use names::{Names, shortened};
pub use policies::Policies;
pub use pools::{OUTCOMES, PoolNow, PoolTally};
pub use pulse::Pulse;
pub use reading::Reading;
pub use record::{All, Labels, Record};
pub use routers::{CallerTally, CommandTally, ENDS, RouterTally};
pub use text::{openmetrics, prometheus};

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::observe::{Count, Tally};
use crate::time::Clock;

/// Names a metric may have before further ones go by the name of `other`.
pub const SERIES: usize = 1000;
/// The name for all names beyond the bound.
pub const OTHER: &str = "other";

/// Gauges of the process, counted elsewhere.
#[derive(Clone, Copy, Debug, Default)]
pub struct Gauges {
    pub running: u64,
    pub waiting: u64,
    pub threads_busy: u64,
    pub threads_abandoned: u64,
    /// Connections of HTTP that serve a request, and those that are idle.
    pub connections_busy: u64,
    pub connections_idle: u64,
}

pub struct Telemetry {
    pub clock: Arc<Clock>,
    pub effects: Names<Tally>,
    pub policies: Policies,
    /// By host, and by its port where that is not the scheme's.
    pub hosts: Names<HostTally>,
    /// Pools of workers.
    pub pools: Names<PoolTally>,
    pub routers: Names<RouterTally>,
    pub live: Live,
    pub pulse: Pulse,
    /// Spans that reach no exporter.
    pub spans_dropped: AtomicU64,
    /// Lines of recorded requests that were not written.
    pub record_lost: AtomicU64,
    gauges: Box<dyn Fn() -> Gauges + Send + Sync>,
    /// Pairs of an effect and an error that may still get a series of their own.
    errors_left: AtomicUsize,
    /// The same of an effect and a fallback.
    fallbacks_left: AtomicUsize,
    /// The same of a pool and an effect of its workers.
    workers_left: AtomicUsize,
    /// The same of a router and a command.
    commands_left: AtomicUsize,
}

/// Takes one of those that are left.
fn take(left: &AtomicUsize) -> bool {
    left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1)).is_ok()
}

impl Telemetry {
    pub fn new(clock: Arc<Clock>, series: usize, gauges: impl Fn() -> Gauges + Send + Sync + 'static) -> Self {
        Telemetry {
            clock,
            effects: Names::new(series),
            policies: Policies::new(series),
            hosts: Names::new(series),
            pools: Names::new(series),
            routers: Names::new(series),
            live: Live::default(),
            pulse: Pulse::default(),
            spans_dropped: AtomicU64::new(0),
            record_lost: AtomicU64::new(0),
            gauges: Box::new(gauges),
            errors_left: AtomicUsize::new(series),
            fallbacks_left: AtomicUsize::new(series),
            workers_left: AtomicUsize::new(series),
            commands_left: AtomicUsize::new(series),
        }
    }

    /// In the child of a fork: the parent's effects and policies are its own, with their counts. Tables that another
    /// thread was changing at that moment are not taken over.
    pub fn inherit(&self, parent: &Telemetry) {
        self.effects.inherit(&parent.effects);
        self.effects.all().iter().for_each(|(_, tally)| tally.forget_open());
        self.policies.inherit(&parent.policies);
        self.hosts.inherit(&parent.hosts);
        self.pools.inherit(&parent.pools);
        self.pools.all().iter().for_each(|(_, pool)| pool.forget_open());
        self.routers.inherit(&parent.routers);
        self.routers.all().iter().for_each(|(_, router)| router.forget_callers());
    }

    /// How often a name found no room, by what it was a name of.
    pub fn folded(&self) -> [(&'static str, u64); 5] {
        [
            ("effect", self.effects.folded()),
            ("policy", self.policies.folded()),
            ("host", self.hosts.folded()),
            ("pool", self.pools.folded()),
            ("router", self.routers.folded()),
        ]
    }

    pub fn gauges(&self) -> Gauges {
        (self.gauges)()
    }

    /// Counts a failure of a run of `tally`'s with an error of that type.
    pub fn failed(&self, tally: &Tally, error: &str) {
        tally.count(Count::Failed);
        if !tally.failed_with(&shortened(error), || take(&self.errors_left)) {
            self.effects.of(OTHER).failed_with(OTHER, || true);
        }
    }

    /// The figures of an effect in the workers of a pool.
    pub fn of_worker(&self, pool: &PoolTally, effect: &str) -> Arc<Tally> {
        pool.effect(effect, || take(&self.workers_left))
    }

    /// The figures of a command of a router.
    pub fn of_command(&self, router: &RouterTally, command: &str) -> Arc<CommandTally> {
        router.command(command, || take(&self.commands_left))
    }

    /// Counts a run of `tally`'s that ended with a value of the fallback of that name, which is [`shortened`].
    pub fn degraded(&self, tally: &Tally, fallback: &str) {
        tally.count(Count::Degraded);
        if !tally.stood_in(fallback, || take(&self.fallbacks_left)) {
            self.effects.of(OTHER).stood_in(OTHER, || true);
        }
    }
}
