//! The figures of pools of workers, in a scrape.

use std::fmt;
use std::sync::atomic::Ordering;

use prometheus_client::encoding::DescriptorEncoder;

use super::Series;
use crate::observe::Count;
use crate::telemetry::{Telemetry, catalogue as is};

pub(super) fn pools(telemetry: &Telemetry, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let pools = telemetry.pools.all();
    for (metric, at) in [(&is::POOL_WORKERS, 0), (&is::POOL_RUNNING, 1), (&is::POOL_WAITING, 2)] {
        let mut series = Series::of(encoder, metric)?;
        pools.iter().try_for_each(|(name, pool)| series.gauge(&[("pool", name)], pool.now()[at]))?;
    }
    let mut series = Series::of(encoder, &is::POOL_LOST)?;
    pools.iter().try_for_each(|(name, pool)| series.counter(&[("pool", name)], pool.lost.load(Ordering::Relaxed)))?;
    let mut series = Series::of(encoder, &is::POOL_RESTARTED)?;
    pools.iter().try_for_each(|(name, pool)| series.counter(&[("pool", name)], pool.restarted.load(Ordering::Relaxed)))?;
    let mut series = Series::of(encoder, &is::POOL_CALLS)?;
    for (name, pool) in &pools {
        pool.ended().try_for_each(|(outcome, n)| series.counter(&[("pool", name), ("outcome", outcome)], n))?;
    }
    let effects: Vec<_> = pools
        .iter()
        .flat_map(|(pool, tally)| tally.effects().into_iter().map(move |(name, tally)| (pool, name, tally)))
        .collect();
    let mut series = Series::of(encoder, &is::WORKER_STARTED)?;
    for (pool, effect, tally) in &effects {
        series.counter(&[("pool", pool), ("effect", effect)], tally.total(Count::Started))?;
    }
    let mut series = Series::of(encoder, &is::WORKER_ENDED)?;
    for (pool, effect, tally) in &effects {
        for (outcome, count) in [
            ("succeeded", Count::Succeeded),
            ("failed", Count::Failed),
            ("timed_out", Count::TimedOut),
            ("cancelled", Count::Cancelled),
            ("rejected", Count::Rejected),
        ] {
            series.counter(&[("pool", pool), ("effect", effect), ("outcome", outcome)], tally.total(count))?;
        }
    }
    let mut series = Series::of(encoder, &is::WORKER_RETRIED)?;
    for (pool, effect, tally) in &effects {
        series.counter(&[("pool", pool), ("effect", effect)], tally.total(Count::Retried))?;
    }
    let mut series = Series::of(encoder, &is::WORKER_SECONDS)?;
    for (pool, effect, tally) in &effects {
        series.histogram(&[("pool", pool), ("effect", effect)], &tally.times())?;
    }
    Ok(())
}
