//! All exported metrics, in one table. `docs/reference/metrics.md` is the same table for readers; a test compares the
//! two.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
    Histogram,
}

#[derive(Debug)]
pub struct Metric {
    /// Without a suffix of the format's, such as `_total`.
    pub name: &'static str,
    pub kind: Kind,
    pub labels: &'static [&'static str],
    pub help: &'static str,
}

const fn metric(name: &'static str, kind: Kind, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric { name, kind, labels, help }
}

use Kind::{Counter, Gauge, Histogram};

pub(super) const STARTED: Metric = metric("mountain_effect_started", Counter, &["effect"], "Runs that began");
pub(super) const SUCCEEDED: Metric = metric("mountain_effect_succeeded", Counter, &["effect"], "Runs that ended with a value");
pub(super) const FAILED: Metric =
    metric("mountain_effect_failed", Counter, &["effect", "error"], "Runs that ended with an error, by its type");
pub(super) const TIMED_OUT: Metric = metric("mountain_effect_timed_out", Counter, &["effect"], "Runs that ended with TimedOut");
pub(super) const CANCELLED: Metric = metric("mountain_effect_cancelled", Counter, &["effect"], "Runs that were cancelled");
pub(super) const REJECTED: Metric =
    metric("mountain_effect_rejected", Counter, &["effect"], "Runs that a policy did not let begin");
pub(super) const RETRIED: Metric = metric("mountain_effect_retried", Counter, &["effect"], "Attempts beyond the first");
pub(super) const DEGRADED: Metric = metric(
    "mountain_effect_degraded",
    Counter,
    &["effect", "fallback"],
    "Runs that ended with a value of a fallback, by its name",
);
pub(super) const SECONDS: Metric =
    metric("mountain_effect_seconds", Histogram, &["effect"], "How long runs took, waits included");
pub(super) const STREAMS_OPEN: Metric =
    metric("mountain_streams_open", Gauge, &["stream"], "Streams that have begun and not ended");
pub(super) const STREAM_ITEMS: Metric = metric("mountain_stream_items", Counter, &["stream"], "Items that came out of streams");
pub(super) const STREAM_FIRST_ITEM: Metric =
    metric("mountain_stream_first_item_seconds", Histogram, &["stream"], "How long the first item took, from the first pull");
pub(super) const BATCH_ITEMS: Metric = metric("mountain_batch_items", Histogram, &["batch"], "How many items batches began with");
pub(super) const BATCH_WAIT: Metric =
    metric("mountain_batch_wait_seconds", Histogram, &["batch"], "How long batches waited for items, from their first one");
pub(super) const LIMIT_CAPACITY: Metric =
    metric("mountain_limit_capacity", Gauge, &["limit"], "Places of a concurrency limit, for each key");
pub(super) const LIMIT_IN_FLIGHT: Metric =
    metric("mountain_limit_in_flight", Gauge, &["limit"], "Places that are taken, over all keys");
pub(super) const LIMIT_FULLEST: Metric =
    metric("mountain_limit_fullest", Gauge, &["limit"], "Places that are taken of the key that has most of them taken");
pub(super) const LIMIT_WAITING: Metric =
    metric("mountain_limit_waiting", Gauge, &["limit", "priority"], "Calls that wait for a place");
pub(super) const LIMIT_WAIT: Metric =
    metric("mountain_limit_wait_seconds", Histogram, &["limit"], "How long calls waited for a place that had to");
pub(super) const RATE_WAITING: Metric =
    metric("mountain_rate_waiting", Gauge, &["rate"], "Calls that wait for their turn at a rate limit");
pub(super) const RATE_WAIT: Metric =
    metric("mountain_rate_wait_seconds", Histogram, &["rate"], "How long calls waited for their turn that had to");
pub(super) const BREAKER_KEYS: Metric =
    metric("mountain_breaker_keys", Gauge, &["breaker", "state"], "Keys of a circuit breaker in each state");
pub(super) const BREAKER_OPENS: Metric = metric("mountain_breaker_opens", Counter, &["breaker"], "How often a key has opened");
pub(super) const CACHE_HITS: Metric = metric("mountain_cache_hits", Counter, &["cache"], "Calls that found a fresh value");
pub(super) const CACHE_STALE: Metric = metric("mountain_cache_stale_hits", Counter, &["cache"], "Calls that found a stale value");
pub(super) const CACHE_MISSES: Metric = metric("mountain_cache_misses", Counter, &["cache"], "Calls that found none");
pub(super) const CACHE_EVICTED: Metric =
    metric("mountain_cache_evicted", Counter, &["cache"], "Values that went for want of room");
pub(super) const CACHE_SIZE: Metric = metric("mountain_cache_size", Gauge, &["cache"], "Values that are there");
pub(super) const BUDGET_GRANTED: Metric =
    metric("mountain_budget_granted", Counter, &["budget"], "Retries that a budget allowed");
pub(super) const BUDGET_REFUSED: Metric =
    metric("mountain_budget_refused", Counter, &["budget"], "Retries for which nothing was left of a budget");
pub(super) const HEDGE_HEDGED: Metric =
    metric("mountain_hedge_hedged", Counter, &["hedge"], "Attempts that a hedge began beside a slow one");
pub(super) const HEDGE_WON: Metric =
    metric("mountain_hedge_won", Counter, &["hedge"], "Calls whose value was given by such an attempt");
pub(super) const HEDGE_REFUSED: Metric =
    metric("mountain_hedge_refused", Counter, &["hedge"], "Attempts for which nothing was left of the budget");
pub(super) const HEDGE_DELAY: Metric =
    metric("mountain_hedge_delay_seconds", Gauge, &["hedge"], "After how long an attempt begins, by the slowest key");
pub(super) const CHAOS_ON: Metric = metric("mountain_chaos_on", Gauge, &["chaos"], "1 while a chaos is on, else 0");
pub(super) const CHAOS_FAULTS: Metric =
    metric("mountain_chaos_faults", Counter, &["chaos", "fault"], "Calls that a chaos gave a fault");
pub(super) const WORK_DONE: Metric = metric("mountain_work_done", Counter, &["work"], "Items of a Work whose results were taken");
pub(super) const WORK_LEFT: Metric =
    metric("mountain_work_left", Gauge, &["work"], "Items of a Work that were added and are not done");
pub(super) const HTTP_ANSWERS: Metric =
    metric("mountain_http_answers", Counter, &["host", "status"], "Answers to HTTP requests, and requests without one");
pub(super) const HTTP_CONNECTIONS: Metric = metric("mountain_http_connections", Gauge, &["state"], "Open connections of HTTP");
pub(super) const POOL_WORKERS: Metric =
    metric("mountain_pool_workers", Gauge, &["pool"], "Workers of a pool, those that start among them");
pub(super) const POOL_RUNNING: Metric = metric("mountain_pool_running", Gauge, &["pool"], "Calls that workers have");
pub(super) const POOL_WAITING: Metric = metric("mountain_pool_waiting", Gauge, &["pool"], "Calls that wait for a worker");
pub(super) const POOL_LOST: Metric =
    metric("mountain_pool_lost", Counter, &["pool"], "Workers that ended unasked, or had to be ended");
pub(super) const POOL_RESTARTED: Metric =
    metric("mountain_pool_restarted", Counter, &["pool"], "Workers that were started in place of another");
pub(super) const POOL_CALLS: Metric =
    metric("mountain_pool_calls", Counter, &["pool", "outcome"], "Calls of a pool that have ended");
pub(super) const WORKER_STARTED: Metric =
    metric("mountain_worker_effect_started", Counter, &["pool", "effect"], "Runs that began in workers");
pub(super) const WORKER_ENDED: Metric =
    metric("mountain_worker_effect_ended", Counter, &["pool", "effect", "outcome"], "Runs that ended in workers");
pub(super) const WORKER_RETRIED: Metric =
    metric("mountain_worker_effect_retried", Counter, &["pool", "effect"], "Attempts in workers beyond the first");
pub(super) const WORKER_SECONDS: Metric =
    metric("mountain_worker_effect_seconds", Histogram, &["pool", "effect"], "How long runs in workers took");
pub(super) const RPC_CALLERS: Metric = metric("mountain_rpc_callers", Gauge, &["router"], "Connections of a router's callers");
pub(super) const RPC_RUNNING: Metric =
    metric("mountain_rpc_running", Gauge, &["router", "command"], "Requests that have come and not ended");
pub(super) const RPC_REQUESTS: Metric =
    metric("mountain_rpc_requests", Counter, &["router", "command", "outcome"], "Requests and notifications that have ended");
pub(super) const RPC_SECONDS: Metric =
    metric("mountain_rpc_seconds", Histogram, &["router", "command"], "How long requests took, from when they came");
pub(super) const RPC_RECORD_LOST: Metric =
    metric("mountain_rpc_record_lost", Counter, &[], "Requests and outcomes that were to be recorded and are not");
pub(super) const RUNNING: Metric =
    metric("mountain_effects_running", Gauge, &[], "Effects that have begun, waited once and not ended");
pub(super) const WAITING: Metric =
    metric("mountain_effects_waiting", Gauge, &[], "Effects that wait to be let in, or for another attempt");
pub(super) const THREADS_BUSY: Metric = metric("mountain_threads_busy", Gauge, &[], "Threads in a blocking function");
pub(super) const THREADS_ABANDONED: Metric =
    metric("mountain_threads_abandoned", Gauge, &[], "Threads whose callers were released, and which are still in their call");
pub(super) const LOOP_LAG: Metric =
    metric("mountain_loop_lag_seconds", Histogram, &[], "How long what was ready for an event loop lay there");
pub(super) const LOOP_LETTERS: Metric =
    metric("mountain_loop_drain_letters", Histogram, &[], "Completions that a loop took in one go");
pub(super) const FOLDED: Metric = metric("mountain_names_folded", Counter, &["metric"], "How often a name found no room");
pub(super) const SPANS_DROPPED: Metric = metric("mountain_spans_dropped", Counter, &[], "Spans that no exporter was given");

pub const CATALOGUE: &[&Metric] = &[
    &STARTED,
    &SUCCEEDED,
    &TIMED_OUT,
    &CANCELLED,
    &REJECTED,
    &RETRIED,
    &FAILED,
    &DEGRADED,
    &SECONDS,
    &STREAMS_OPEN,
    &STREAM_ITEMS,
    &STREAM_FIRST_ITEM,
    &BATCH_ITEMS,
    &BATCH_WAIT,
    &LIMIT_CAPACITY,
    &LIMIT_IN_FLIGHT,
    &LIMIT_FULLEST,
    &LIMIT_WAITING,
    &LIMIT_WAIT,
    &RATE_WAITING,
    &RATE_WAIT,
    &BREAKER_KEYS,
    &BREAKER_OPENS,
    &CACHE_HITS,
    &CACHE_STALE,
    &CACHE_MISSES,
    &CACHE_EVICTED,
    &CACHE_SIZE,
    &BUDGET_GRANTED,
    &BUDGET_REFUSED,
    &HEDGE_HEDGED,
    &HEDGE_WON,
    &HEDGE_REFUSED,
    &HEDGE_DELAY,
    &CHAOS_ON,
    &CHAOS_FAULTS,
    &WORK_DONE,
    &WORK_LEFT,
    &HTTP_ANSWERS,
    &HTTP_CONNECTIONS,
    &POOL_WORKERS,
    &POOL_RUNNING,
    &POOL_WAITING,
    &POOL_LOST,
    &POOL_RESTARTED,
    &POOL_CALLS,
    &WORKER_STARTED,
    &WORKER_ENDED,
    &WORKER_RETRIED,
    &WORKER_SECONDS,
    &RPC_CALLERS,
    &RPC_RUNNING,
    &RPC_REQUESTS,
    &RPC_SECONDS,
    &RPC_RECORD_LOST,
    &RUNNING,
    &WAITING,
    &THREADS_BUSY,
    &THREADS_ABANDONED,
    &LOOP_LAG,
    &LOOP_LETTERS,
    &FOLDED,
    &SPANS_DROPPED,
];
