//! The policies that hold state, as the page shows them.

use std::time::Duration;

use mountain_core::policy::breaker;
use mountain_core::telemetry::{Policies, Reading};
use mountain_core::time::Instant;
use serde_json::{Map, Value, json};

/// Adds them to the state, by kind. Those with keys have an empty `by_key`, which the board fills once it has the keys:
/// the page lets each open from the moment that it shows it.
pub(crate) fn show(policies: &Policies, now: Instant, state: &mut Value) {
    let (mut limits, mut rates, mut breakers, mut caches) = (Map::new(), Map::new(), Map::new(), Map::new());
    let (mut hedges, mut chaos, mut work) = (Map::new(), Map::new(), Map::new());
    for (name, reading) in policies.all(now) {
        let (wait_p50, wait_p99) = match &reading {
            Reading::Limit { waits, .. } | Reading::Rate { waits, .. } => (waits.quantile(0.5), waits.quantile(0.99)),
            _ => (None, None),
        };
        match reading {
            Reading::Limit { capacity, in_flight, fullest, keys, waiting: [low, normal, high], .. } => limits.insert(
                name,
                json!({
                    "capacity": capacity,
                    "in_flight": in_flight,
                    "fullest": fullest,
                    "keys": keys,
                    "waiting": {"low": low, "normal": normal, "high": high},
                    "wait_p50": wait_p50,
                    "wait_p99": wait_p99,
                }),
            ),
            Reading::Rate { n, per, waiting, .. } => {
                rates.insert(name, json!({"n": n, "per": per, "waiting": waiting, "wait_p50": wait_p50, "wait_p99": wait_p99}))
            }
            Reading::Breaker { states, opens } => {
                let keys: Map<_, _> =
                    breaker::State::NAMES.into_iter().zip(states).map(|(state, n)| (state.to_owned(), json!(n))).collect();
                breakers.insert(name, json!({"opens": opens, "keys": keys}))
            }
            Reading::Cache { counts, size, max_size } => caches.insert(
                name,
                json!({
                    "hits": counts.hits,
                    "misses": counts.misses,
                    "stale_hits": counts.stale_hits,
                    "evicted": counts.evicted,
                    "size": size,
                    "max_size": max_size,
                }),
            ),
            Reading::Hedge { counts, delay } => hedges.insert(
                name,
                json!({
                    "hedged": counts.hedged,
                    "won": counts.won,
                    "refused": counts.refused,
                    // An endless one is no number of JSON's.
                    "delay": delay.filter(|delay| *delay < Duration::MAX).map(|delay| delay.as_secs_f64()),
                }),
            ),
            Reading::Chaos { on, faults } => chaos.insert(
                name,
                json!({
                    "on": on,
                    "calls": faults.calls,
                    "failed": faults.failed,
                    "delayed": faults.delayed,
                    "hung": faults.hung,
                }),
            ),
            Reading::Work { done, left } => work.insert(name, json!({"done": done, "left": left})),
            // The calls that a budget refuses are shown as the failures of their effects.
            Reading::Budget(_) => None,
        };
    }
    state["limits"] = Value::Object(limits);
    state["rates"] = Value::Object(rates);
    state["breakers"] = Value::Object(breakers);
    state["caches"] = Value::Object(caches);
    state["hedges"] = Value::Object(hedges);
    state["chaos"] = Value::Object(chaos);
    state["work"] = Value::Object(work);
    for (kind, name) in policies.keyed() {
        if let Some(policy) = state[kind].get_mut(name) {
            policy["by_key"] = json!({});
        }
    }
}
