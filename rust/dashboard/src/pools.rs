//! Pools of workers, as the page shows them.

use std::sync::atomic::Ordering;

use mountain_core::telemetry::{Names, PoolTally};
use serde_json::{Map, Value, json};

/// Adds them to the state, by name. `by_key` of a pool with workers is empty until the board has them: the page lets
/// each pool open from the moment that it shows it.
pub(crate) fn show(pools: &Names<PoolTally>, state: &mut Value) {
    let shown = pools.all().into_iter().map(|(name, pool)| {
        let [workers, running, waiting] = pool.now();
        let calls: Map<_, _> = pool.ended().map(|(outcome, n)| (outcome.to_owned(), json!(n))).collect();
        let figures = json!({
            "workers": workers,
            "running": running,
            "waiting": waiting,
            "lost": pool.lost.load(Ordering::Relaxed),
            "restarted": pool.restarted.load(Ordering::Relaxed),
            "calls": calls,
            "by_key": if workers == 0 { json!({"keys": [], "others": 0}) } else { json!({}) },
        });
        (name, figures)
    });
    state["pools"] = Value::Object(shown.collect());
}
