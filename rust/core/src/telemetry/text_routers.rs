//! The figures of routers and their commands, in a scrape.

use std::fmt;
use std::sync::atomic::Ordering;

use prometheus_client::encoding::DescriptorEncoder;

use super::Series;
use crate::telemetry::{ENDS, Telemetry, catalogue as is};

pub(super) fn routers(telemetry: &Telemetry, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let routers = telemetry.routers.all();
    let mut series = Series::of(encoder, &is::RPC_CALLERS)?;
    routers.iter().try_for_each(|(name, router)| series.gauge(&[("router", name)], router.callers() as u64))?;
    let commands: Vec<_> = routers
        .iter()
        .flat_map(|(router, tally)| tally.commands().into_iter().map(move |(name, tally)| (router, name, tally)))
        .collect();
    let mut series = Series::of(encoder, &is::RPC_RUNNING)?;
    for (router, command, tally) in &commands {
        series.gauge(&[("router", router), ("command", command)], tally.running())?;
    }
    let mut series = Series::of(encoder, &is::RPC_REQUESTS)?;
    for (router, command, tally) in &commands {
        // One that has succeeded so far has no series of errors: most have none.
        let ends = ENDS.into_iter().zip(tally.ended());
        for (outcome, n) in ends.filter(|(outcome, n)| *n > 0 || *outcome == ENDS[0]) {
            series.counter(&[("router", router), ("command", command), ("outcome", outcome)], n)?;
        }
    }
    let mut series = Series::of(encoder, &is::RPC_SECONDS)?;
    for (router, command, tally) in &commands {
        series.histogram(&[("router", router), ("command", command)], &tally.times())?;
    }
    Series::of(encoder, &is::RPC_RECORD_LOST)?.counter(&[], telemetry.record_lost.load(Ordering::Relaxed))
}
