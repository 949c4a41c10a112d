//! The figures as text: OpenMetrics as prometheus-client writes it, and the older format of Prometheus, made from that.

use std::fmt::{self, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use super::catalogue::{self as is, Kind, Metric};
use super::{Reading, Telemetry};
use crate::observe::{Count, Summary};
use crate::policy::breaker::State;

/// The length of the last text, for which the next one allocates.
static LENGTH: AtomicUsize = AtomicUsize::new(1 << 16);

/// `application/openmetrics-text; version=1.0.0`.
pub fn openmetrics(telemetry: &'static Telemetry) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Scrape(telemetry)));
    let mut text = String::with_capacity(LENGTH.load(Ordering::Relaxed));
    // Only running out of memory fails here.
    let _ = encode(&mut text, &registry);
    LENGTH.store(text.len() + 4096, Ordering::Relaxed);
    text
}

/// `text/plain; version=0.0.4`. It differs in its counters, whose descriptions end in `_total`, too, and in what it
/// leaves out.
pub fn prometheus(telemetry: &'static Telemetry) -> String {
    let text = openmetrics(telemetry);
    let mut out = String::with_capacity(text.len() + 4096);
    let mut done = 0;
    // Values are copied as they are; there are many of them.
    for (at, _) in text.match_indices('#').filter(|(at, _)| *at == 0 || text.as_bytes()[at - 1] == b'\n') {
        out.push_str(&text[done..at]);
        let line = text[at..].split_inclusive('\n').next().unwrap_or_default();
        done = at + line.len();
        if line.starts_with("# EOF") || line.starts_with("# UNIT") {
            continue;
        }
        let described = line.strip_prefix("# HELP ").or_else(|| line.strip_prefix("# TYPE "));
        match described.and_then(|rest| rest.split_once(' ')) {
            Some((name, rest)) if is::CATALOGUE.iter().any(|m| m.name == name && m.kind == Kind::Counter) => {
                let _ = write!(out, "{}{name}_total {rest}", &line[..7]);
            }
            _ => out.push_str(line),
        }
    }
    out.push_str(&text[done..]);
    out
}

/// One reading of all figures.
struct Scrape(&'static Telemetry);

impl fmt::Debug for Scrape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Scrape")
    }
}

/// One metric, and its values one after the other.
struct Series<'a>(MetricEncoder<'a>);

impl<'a> Series<'a> {
    fn of(encoder: &'a mut DescriptorEncoder<'_>, metric: &'static Metric) -> Result<Self, fmt::Error> {
        let kind = match metric.kind {
            Kind::Counter => MetricType::Counter,
            Kind::Gauge => MetricType::Gauge,
            Kind::Histogram => MetricType::Histogram,
        };
        // A full stop follows, as from a registry.
        encoder.encode_descriptor(metric.name, metric.help, None, kind).map(Series)
    }

    fn counter(&mut self, labels: &[(&str, &str)], n: u64) -> fmt::Result {
        if labels.is_empty() {
            return self.0.encode_counter::<NoLabelSet, _, u64>(&n, None);
        }
        self.0.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&n, None)
    }

    fn gauge(&mut self, labels: &[(&str, &str)], n: u64) -> fmt::Result {
        if labels.is_empty() {
            return self.0.encode_gauge(&n);
        }
        self.0.encode_family(&labels)?.encode_gauge(&n)
    }

    fn gauge_of_seconds(&mut self, labels: &[(&str, &str)], time: Duration) -> fmt::Result {
        let seconds = if time == Duration::MAX { f64::INFINITY } else { time.as_secs_f64() };
        self.0.encode_family(&labels)?.encode_gauge(&seconds)
    }

    fn histogram(&mut self, labels: &[(&str, &str)], times: &Summary) -> fmt::Result {
        let buckets: Vec<(f64, u64)> = times.octaves().collect();
        self.buckets(labels, times.seconds(), times.count(), &buckets)
    }

    fn buckets(&mut self, labels: &[(&str, &str)], sum: f64, count: u64, buckets: &[(f64, u64)]) -> fmt::Result {
        if labels.is_empty() {
            return self.0.encode_histogram::<NoLabelSet>(sum, count, buckets, None);
        }
        self.0.encode_family(&labels)?.encode_histogram::<NoLabelSet>(sum, count, buckets, None)
    }
}

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.effects(&mut encoder)?;
        self.policies(&mut encoder)?;
        self.http(&mut encoder)?;
        pools::pools(self.0, &mut encoder)?;
        routers::routers(self.0, &mut encoder)?;
        self.process(&mut encoder)
    }
}

impl Scrape {
    fn effects(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let effects = self.0.effects.all();
        for (metric, count) in [
            (&is::STARTED, Count::Started),
            (&is::SUCCEEDED, Count::Succeeded),
            (&is::TIMED_OUT, Count::TimedOut),
            (&is::CANCELLED, Count::Cancelled),
            (&is::REJECTED, Count::Rejected),
            (&is::RETRIED, Count::Retried),
        ] {
            let mut series = Series::of(encoder, metric)?;
            for (name, tally) in &effects {
                series.counter(&[("effect", name)], tally.total(count))?;
            }
        }
        let mut series = Series::of(encoder, &is::FAILED)?;
        for (name, tally) in &effects {
            for (error, n) in tally.errors() {
                series.counter(&[("effect", name), ("error", &error)], n)?;
            }
        }
        let mut series = Series::of(encoder, &is::DEGRADED)?;
        for (name, tally) in &effects {
            for (fallback, n) in tally.fallbacks() {
                series.counter(&[("effect", name), ("fallback", &fallback)], n)?;
            }
        }
        let mut series = Series::of(encoder, &is::SECONDS)?;
        for (name, tally) in &effects {
            series.histogram(&[("effect", name)], &tally.times())?;
        }
        let streams: Vec<_> = effects.iter().filter_map(|(name, tally)| Some((name, tally.streams()?))).collect();
        let mut series = Series::of(encoder, &is::STREAMS_OPEN)?;
        streams.iter().try_for_each(|(name, now)| series.gauge(&[("stream", name)], now.open))?;
        let mut series = Series::of(encoder, &is::STREAM_ITEMS)?;
        streams.iter().try_for_each(|(name, now)| series.counter(&[("stream", name)], now.items))?;
        let mut series = Series::of(encoder, &is::STREAM_FIRST_ITEM)?;
        streams.iter().try_for_each(|(name, now)| series.histogram(&[("stream", name)], &now.first))?;
        let batches: Vec<_> = effects.iter().filter_map(|(name, tally)| Some((name, tally.batches()?))).collect();
        let mut series = Series::of(encoder, &is::BATCH_ITEMS)?;
        for (name, now) in &batches {
            let buckets: Vec<(f64, u64)> = now.bounded().collect();
            series.buckets(&[("batch", name)], now.items as f64, now.count(), &buckets)?;
        }
        let mut series = Series::of(encoder, &is::BATCH_WAIT)?;
        batches.iter().try_for_each(|(name, now)| series.histogram(&[("batch", name)], &now.waits))
    }

    fn policies(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let all = self.0.policies.all(self.0.clock.now());
        let (mut limits, mut rates, mut breakers, mut caches) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let (mut budgets, mut hedges, mut chaos, mut works) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for (name, reading) in &all {
            match reading {
                Reading::Limit { capacity, in_flight, fullest, waiting, waits, .. } => {
                    limits.push((name, capacity, in_flight, fullest, waiting, waits));
                }
                Reading::Rate { waiting, waits, .. } => rates.push((name, waiting, waits)),
                Reading::Breaker { states, opens } => breakers.push((name, states, opens)),
                Reading::Cache { counts, size, .. } => caches.push((name, counts, size)),
                Reading::Budget(counts) => budgets.push((name, counts)),
                Reading::Hedge { counts, delay } => hedges.push((name, counts, delay)),
                Reading::Chaos { on, faults } => chaos.push((name, on, faults)),
                Reading::Work { done, left } => works.push((name, done, left)),
            }
        }
        let mut series = Series::of(encoder, &is::LIMIT_CAPACITY)?;
        limits.iter().try_for_each(|(name, n, ..)| series.gauge(&[("limit", name)], u64::from(**n)))?;
        let mut series = Series::of(encoder, &is::LIMIT_IN_FLIGHT)?;
        limits.iter().try_for_each(|(name, _, n, ..)| series.gauge(&[("limit", name)], u64::from(**n)))?;
        let mut series = Series::of(encoder, &is::LIMIT_FULLEST)?;
        limits.iter().try_for_each(|(name, _, _, n, ..)| series.gauge(&[("limit", name)], u64::from(**n)))?;
        let mut series = Series::of(encoder, &is::LIMIT_WAITING)?;
        for (name, _, _, _, waiting, _) in &limits {
            for (priority, n) in ["low", "normal", "high"].into_iter().zip(**waiting) {
                series.gauge(&[("limit", name), ("priority", priority)], u64::from(n))?;
            }
        }
        let mut series = Series::of(encoder, &is::LIMIT_WAIT)?;
        limits.iter().try_for_each(|(name, .., waits)| series.histogram(&[("limit", name)], waits))?;
        let mut series = Series::of(encoder, &is::RATE_WAITING)?;
        rates.iter().try_for_each(|(name, n, _)| series.gauge(&[("rate", name)], **n as u64))?;
        let mut series = Series::of(encoder, &is::RATE_WAIT)?;
        rates.iter().try_for_each(|(name, _, waits)| series.histogram(&[("rate", name)], waits))?;
        let mut series = Series::of(encoder, &is::BREAKER_KEYS)?;
        for (name, states, _) in &breakers {
            for (state, n) in State::NAMES.into_iter().zip(**states) {
                series.gauge(&[("breaker", name), ("state", state)], n)?;
            }
        }
        let mut series = Series::of(encoder, &is::BREAKER_OPENS)?;
        breakers.iter().try_for_each(|(name, _, n)| series.counter(&[("breaker", name)], **n))?;
        for (metric, of) in [
            (&is::CACHE_HITS, (|c| c.hits) as fn(&crate::policy::cache::Counts) -> u64),
            (&is::CACHE_STALE, |c| c.stale_hits),
            (&is::CACHE_MISSES, |c| c.misses),
            (&is::CACHE_EVICTED, |c| c.evicted),
        ] {
            let mut series = Series::of(encoder, metric)?;
            caches.iter().try_for_each(|(name, counts, _)| series.counter(&[("cache", name)], of(counts)))?;
        }
        let mut series = Series::of(encoder, &is::CACHE_SIZE)?;
        caches.iter().try_for_each(|(name, _, n)| series.gauge(&[("cache", name)], **n as u64))?;
        let mut series = Series::of(encoder, &is::BUDGET_GRANTED)?;
        budgets.iter().try_for_each(|(name, counts)| series.counter(&[("budget", name)], counts.granted))?;
        let mut series = Series::of(encoder, &is::BUDGET_REFUSED)?;
        budgets.iter().try_for_each(|(name, counts)| series.counter(&[("budget", name)], counts.refused))?;
        for (metric, of) in [
            (&is::HEDGE_HEDGED, (|c| c.hedged) as fn(&crate::policy::hedge::Counts) -> u64),
            (&is::HEDGE_WON, |c| c.won),
            (&is::HEDGE_REFUSED, |c| c.refused),
        ] {
            let mut series = Series::of(encoder, metric)?;
            hedges.iter().try_for_each(|(name, counts, _)| series.counter(&[("hedge", name)], of(counts)))?;
        }
        let mut series = Series::of(encoder, &is::HEDGE_DELAY)?;
        let known = hedges.iter().filter_map(|(name, _, delay)| Some((name, (**delay)?)));
        known.into_iter().try_for_each(|(name, delay)| series.gauge_of_seconds(&[("hedge", name)], delay))?;
        let mut series = Series::of(encoder, &is::CHAOS_ON)?;
        chaos.iter().try_for_each(|(name, on, _)| series.gauge(&[("chaos", name)], u64::from(**on)))?;
        let mut series = Series::of(encoder, &is::CHAOS_FAULTS)?;
        for (name, _, faults) in &chaos {
            for (fault, n) in [("failure", faults.failed), ("delay", faults.delayed), ("hang", faults.hung)] {
                series.counter(&[("chaos", name), ("fault", fault)], n)?;
            }
        }
        let mut series = Series::of(encoder, &is::WORK_DONE)?;
        works.iter().try_for_each(|(name, done, _)| series.counter(&[("work", name)], **done))?;
        let mut series = Series::of(encoder, &is::WORK_LEFT)?;
        works.iter().try_for_each(|(name, _, left)| series.gauge(&[("work", name)], **left))
    }

    fn http(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut series = Series::of(encoder, &is::HTTP_ANSWERS)?;
        for (host, tally) in self.0.hosts.all() {
            tally.all().try_for_each(|(status, n)| series.counter(&[("host", &host), ("status", status)], n))?;
        }
        let gauges = self.0.gauges();
        let mut series = Series::of(encoder, &is::HTTP_CONNECTIONS)?;
        series.gauge(&[("state", "busy")], gauges.connections_busy)?;
        series.gauge(&[("state", "idle")], gauges.connections_idle)
    }

    fn process(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let gauges = self.0.gauges();
        for (metric, n) in [
            (&is::RUNNING, gauges.running),
            (&is::WAITING, gauges.waiting),
            (&is::THREADS_BUSY, gauges.threads_busy),
            (&is::THREADS_ABANDONED, gauges.threads_abandoned),
        ] {
            Series::of(encoder, metric)?.gauge(&[], n)?;
        }
        Series::of(encoder, &is::LOOP_LAG)?.histogram(&[], &self.0.pulse.lag.summary())?;
        let messages = self.0.pulse.messages.summary();
        let buckets: Vec<(f64, u64)> = messages.powers(10).collect();
        Series::of(encoder, &is::LOOP_LETTERS)?.buckets(&[], messages.nanos as f64, messages.count(), &buckets)?;
        let mut series = Series::of(encoder, &is::FOLDED)?;
        self.0.folded().into_iter().try_for_each(|(metric, folded)| series.counter(&[("metric", metric)], folded))?;
        Series::of(encoder, &is::SPANS_DROPPED)?.counter(&[], self.0.spans_dropped.load(Ordering::Relaxed))
    }
}

#[path = "text_pools.rs"]
mod pools;
#[path = "text_routers.rs"]
mod routers;

#[cfg(test)]
#[path = "text_tests.rs"]
mod tests;
