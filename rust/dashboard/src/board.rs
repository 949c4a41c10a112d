//! State that only the face knows, and sets here for the page: services, the shutdown, the last failures, whether the
//! program takes work.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use mountain_core::policy::breaker::State;
use mountain_core::sync::Mutex;
use mountain_core::telemetry::KeyReading;
use mountain_core::time::Instant;
use serde_json::{Value, json};

/// Failures that are kept, and changes of policies.
const FAILURES: usize = 50;
const CHANGES: usize = 50;
/// The bytes of a change that are kept, at most.
const LONGEST: usize = 1000;
/// A loop that has not run for this long is stuck, and `/livez` fails so that the process is restarted.
const STUCK: Duration = Duration::from_mins(1);

/// A service: its state, and why it is not simply up.
pub type Service = (String, Option<String>);

pub struct Failure {
    pub effect: String,
    pub kind: String,
    pub message: String,
    pub traceback: String,
    /// Seconds since 1970.
    pub at: f64,
}

/// The busiest keys of a policy, as its host writes them.
pub struct Keys {
    /// The kind, as the page calls it: `limits`, say.
    pub kind: &'static str,
    pub name: String,
    pub keys: Vec<(String, KeyReading)>,
    pub others: u64,
    pub other: KeyReading,
}

/// A change of a policy in words: which breaker opened, say, for which key, and why.
struct Change {
    text: String,
    /// Seconds since 1970.
    at: f64,
}

#[derive(Default)]
pub struct Board {
    keys: Mutex<Vec<Keys>>,
    /// By pool: its workers, as JSON that the page understands.
    workers: Mutex<Value>,
    services: Mutex<BTreeMap<String, Service>>,
    shutdown: Mutex<Value>,
    failures: Mutex<(u64, VecDeque<Failure>)>,
    changes: Mutex<(u64, VecDeque<Change>)>,
    ready: AtomicBool,
    /// When the loop last ran, in nanoseconds of the clock; 0 before it first did.
    heard: AtomicU64,
}

impl Board {
    pub fn set_services(&self, services: BTreeMap<String, Service>) {
        *self.services.lock() = services;
    }

    /// Sets the shutdown, as JSON that the page understands.
    pub fn set_shutdown(&self, shutdown: Value) {
        *self.shutdown.lock() = shutdown;
    }

    pub fn set_keys(&self, keys: Vec<Keys>) {
        *self.keys.lock() = keys;
    }

    /// Sets the workers of each pool: an object with their rows by the pool's name.
    pub fn set_workers(&self, workers: Value) {
        *self.workers.lock() = workers;
    }

    /// Forgets keys and workers, which are looked at only while a page is open: the next page that opens is shown none
    /// that are gone.
    pub fn forget_keys(&self) {
        self.keys.lock().clear();
        *self.workers.lock() = Value::Null;
    }

    pub fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::Relaxed);
    }

    pub fn ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }

    /// Notes that the loop runs.
    pub fn heard(&self, now: Instant) {
        self.heard.store(now.nanos().max(1), Ordering::Relaxed);
    }

    pub fn live(&self, now: Instant) -> bool {
        let heard = self.heard.load(Ordering::Relaxed);
        heard == 0 || now.since(Instant::from_nanos(heard)) < STUCK
    }

    pub fn fail(&self, failure: Failure) {
        let mut failures = self.failures.lock();
        failures.0 += 1;
        failures.1.push_back(failure);
        if failures.1.len() > FAILURES {
            failures.1.pop_front();
        }
    }

    /// Adds a change of a policy, at a time of day in seconds.
    pub fn change(&self, text: &str, at: f64) {
        let mut changes = self.changes.lock();
        changes.0 += 1;
        let text =
            if text.len() <= LONGEST { text.to_owned() } else { format!("{}…", &text[..text.floor_char_boundary(LONGEST)]) };
        changes.1.push_back(Change { text, at });
        if changes.1.len() > CHANGES {
            changes.1.pop_front();
        }
    }

    pub(crate) fn services(&self) -> Value {
        let services = self.services.lock();
        services.iter().map(|(name, (state, reason))| (name.clone(), json!({"state": state, "reason": reason}))).collect()
    }

    /// Adds the keys to the policies in `state`, and the workers to the pools, where these are there.
    pub(crate) fn add_keys(&self, state: &mut Value) {
        let shown = |r: &KeyReading| json!({"in_flight": r.in_flight, "waiting": r.waiting, "state": r.state.map(State::name)});
        for each in self.keys.lock().iter() {
            let Some(policy) = state[each.kind].get_mut(&each.name) else { continue };
            let keys = each.keys.iter().map(|(key, reading)| {
                let mut row = shown(reading);
                row["key"] = json!(key);
                row
            });
            policy["by_key"] = json!({"keys": keys.collect::<Vec<_>>(), "others": each.others, "other": shown(&each.other)});
        }
        for (name, rows) in self.workers.lock().as_object().into_iter().flatten() {
            if let Some(pool) = state["pools"].get_mut(name) {
                pool["by_key"] = rows.clone();
            }
        }
    }

    pub(crate) fn shutdown(&self) -> Value {
        self.shutdown.lock().clone()
    }

    pub(crate) fn failures(&self) -> Value {
        let shown =
            |f: &Failure| json!({"at": f.at, "effect": f.effect, "type": f.kind, "message": f.message, "traceback": f.traceback});
        numbered(&self.failures, shown)
    }

    pub(crate) fn changes(&self) -> Value {
        numbered(&self.changes, |change| json!({"at": change.at, "text": change.text}))
    }
}

/// The last entries, each with its number.
fn numbered<T>(all: &Mutex<(u64, VecDeque<T>)>, shown: impl Fn(&T) -> Value) -> Value {
    let all = all.lock();
    let first = all.0 - all.1.len() as u64 + 1;
    (first..).zip(&all.1).map(|(n, each)| (n.to_string(), shown(each))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_failures_are_kept_with_their_numbers() {
        let board = Board::default();
        assert_eq!(board.failures(), json!({}));
        for n in 0..1000 {
            let text = |what: &str| format!("{what} {n}");
            let (effect, kind, message, traceback) = (text("effect"), text("kind"), text("message"), text("traceback"));
            board.fail(Failure { effect, kind, message, traceback, at: f64::from(n) });
        }
        let failures = board.failures();
        assert_eq!(failures.as_object().map(serde_json::Map::len), Some(FAILURES));
        assert_eq!(failures["1000"]["effect"], "effect 999");
        assert_eq!(failures["951"]["message"], "message 950");
    }

    #[test]
    fn the_last_changes_are_kept_and_cut() {
        let board = Board::default();
        (0..200).for_each(|n| board.change(&format!("change {n}"), f64::from(n)));
        board.change(&"é".repeat(1000), 200.0);
        let changes = board.changes();
        assert_eq!(changes.as_object().map(serde_json::Map::len), Some(CHANGES));
        assert_eq!(changes["200"], json!({"at": 199.0, "text": "change 199"}));
        assert_eq!(changes["201"]["text"], "é".repeat(LONGEST / 2) + "…");
    }

    #[test]
    fn a_loop_that_is_not_heard_of_is_not_live() {
        let board = Board::default();
        let at = |secs| Instant::from_nanos(1).after(Duration::from_secs(secs));
        assert!(board.live(at(1000)), "it was never heard of yet");
        board.heard(at(1000));
        assert!(board.live(at(1059)) && !board.live(at(1061)));
    }
}
