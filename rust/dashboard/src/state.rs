//! All that the page shows, as one JSON value: the core's figures and the board's state. It is made at each tick,
//! once a second, while a page is open; the figures of the last seconds are kept up all the time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{SystemTime, UNIX_EPOCH};

use mountain_core::observe::{Count, Doing, Tally};
use mountain_core::telemetry::{Entry, Telemetry};
use mountain_core::time::Instant;
use serde_json::{Map, Value, json};

use crate::board::Board;
use crate::history::{Counted, Gauged, History};
use crate::recent::Recent;
use crate::routers::Routers;
use crate::{policies, pools};

/// Calls that are listed: the oldest ones, which include those that are stuck.
const RUNNING: usize = 300;

/// Makes states; it keeps earlier figures, for those of the last seconds and minutes.
pub(crate) struct Maker {
    telemetry: &'static Telemetry,
    program: String,
    began: Instant,
    lag: Recent,
    messages: Recent,
    effects: BTreeMap<String, Recent>,
    routers: Routers,
    history: History,
}

fn counted(tally: &Tally) -> Counted {
    let wrong = tally.total(Count::Failed) + tally.total(Count::TimedOut);
    Counted { started: tally.total(Count::Started), wrong }
}

impl Maker {
    pub(crate) fn new(telemetry: &'static Telemetry, program: String) -> Self {
        let all = telemetry.effects.all();
        let history = History::new(all.iter().map(|(name, tally)| (name.as_str(), counted(tally))));
        let effects = all.into_iter().map(|(name, tally)| (name, Recent::since(tally.times()))).collect();
        let [lag, messages] = [&telemetry.pulse.lag, &telemetry.pulse.messages].map(|times| Recent::since(times.summary()));
        let routers = Routers::new(&telemetry.routers);
        Maker { telemetry, program, began: telemetry.clock.now(), lag, messages, effects, routers, history }
    }

    /// Called at each tick, `seconds` after the last time: moves the last seconds and minutes on.
    pub(crate) fn tick(&mut self, seconds: f64) {
        self.lag.add(self.telemetry.pulse.lag.summary(), seconds);
        self.messages.add(self.telemetry.pulse.messages.summary(), seconds);
        let all = self.telemetry.effects.all();
        for (name, tally) in &all {
            if let Some(recent) = self.effects.get_mut(name) {
                recent.add(tally.times(), seconds);
            } else {
                let mut recent = Recent::default();
                recent.add(tally.times(), seconds);
                self.effects.insert(name.clone(), recent);
            }
        }
        if self.effects.len() > all.len() {
            let names: BTreeSet<&str> = all.iter().map(|(name, _)| name.as_str()).collect();
            self.effects.retain(|name, _| names.contains(name.as_str()));
        }
        self.routers.tick(&self.telemetry.routers, seconds);
        let now = self.telemetry.gauges();
        let gauged = Gauged {
            running: now.running,
            waiting: now.waiting,
            threads_busy: now.threads_busy,
            lag: self.lag.quantile(0.99).unwrap_or_default(),
        };
        self.history.sample(seconds, all.iter().map(|(name, tally)| (name.as_str(), counted(tally))), gauged);
    }

    /// The last ten minutes.
    pub(crate) fn past(&self) -> Value {
        self.history.shown()
    }

    pub(crate) fn make(&self, board: &Board) -> Value {
        let now = self.telemetry.clock.now();
        let day = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64());
        let gauges = self.telemetry.gauges();
        let (running, more) = self.telemetry.live.oldest(RUNNING);
        let folded = self.telemetry.effects.folded() + self.telemetry.policies.folded();
        let mut state = json!({
            "now": rounded(day),
            "uptime": rounded(now.since(self.began).as_secs_f64()),
            "pid": std::process::id(),
            "program": self.program,
            "version": env!("CARGO_PKG_VERSION"),
            "live": board.live(now),
            "ready": board.ready(),
            "totals": {
                "running": gauges.running,
                "waiting": gauges.waiting,
                "threads_busy": gauges.threads_busy,
                "threads_abandoned": gauges.threads_abandoned,
                "folded": folded,
            },
            "loop": self.pulse(),
            "effects": self.effects(),
            "running": running.iter().map(|entry| (entry.id.to_string(), call(entry, now, day))).collect::<Map<_, _>>(),
            "running_more": more,
            "services": board.services(),
            "shutdown": board.shutdown(),
            "failures": board.failures(),
            "changes": board.changes(),
        });
        policies::show(&self.telemetry.policies, now, &mut state);
        pools::show(&self.telemetry.pools, &mut state);
        self.routers.show(&self.telemetry.routers, &mut state);
        board.add_keys(&mut state);
        state
    }

    fn pulse(&self) -> Value {
        let messages = |q| self.messages.quantile(q).map(|n| (n * 1e9).round());
        json!({
            "lag_p50": self.lag.quantile(0.5),
            "lag_p99": self.lag.quantile(0.99),
            "lag_max": self.lag.quantile(1.0),
            "drain_p50": messages(0.5),
            "drain_p99": messages(0.99),
        })
    }

    fn effects(&self) -> Value {
        let mut shown = Map::new();
        for (name, tally) in self.telemetry.effects.all() {
            let [started, succeeded, failed, timed_out, cancelled, retried, rejected, degraded] =
                Count::ALL.map(|what| tally.total(what));
            // An effect that was declared and has never begun is not shown.
            if started + rejected == 0 {
                continue;
            }
            let (recent, times) = (self.effects.get(&name), tally.times());
            let of_late = |q| recent.and_then(|recent| recent.quantile(q));
            shown.insert(
                name,
                json!({
                    "started": started,
                    "succeeded": succeeded,
                    "failed": failed,
                    "timed_out": timed_out,
                    "cancelled": cancelled,
                    "retried": retried,
                    "rejected": rejected,
                    "degraded": degraded,
                    "p50": of_late(0.5),
                    "p99": of_late(0.99),
                    "all_p50": times.quantile(0.5),
                    "all_p99": times.quantile(0.99),
                    "errors": tally.errors(),
                    "fallbacks": tally.fallbacks(),
                    "streams": tally.streams().map(|now| {
                        let [p50, p99] = [0.5, 0.99].map(|q| now.first.quantile(q));
                        json!({"open": now.open, "items": now.items, "first_p50": p50, "first_p99": p99})
                    }),
                    "batches": tally.batches().map(|now| {
                        let [p50, p99] = [0.5, 0.99].map(|q| now.waits.quantile(q));
                        json!({"begun": now.count(), "items": now.items, "wait_p50": p50, "wait_p99": p99})
                    }),
                }),
            );
        }
        Value::Object(shown)
    }
}

fn call(entry: &Entry, now: Instant, day: f64) -> Value {
    let (state, on) = match entry.now.doing() {
        Doing::Running => ("running", None),
        Doing::Waiting(layer) => ("waiting", Some(entry.labels.layer(layer))),
        Doing::BackingOff(layer) => ("backing off", Some(entry.labels.layer(layer))),
        Doing::FallingBack(layer) => ("falling back", Some(entry.labels.layer(layer))),
    };
    let deadline = if entry.deadline == Instant::NEVER {
        Value::Null
    } else {
        // It may have passed: cleanup goes on.
        json!(rounded(day + entry.deadline.since(now).as_secs_f64() - now.since(entry.deadline).as_secs_f64()))
    };
    json!({
        "name": entry.labels.effect,
        "parent": (entry.parent != 0).then(|| entry.parent.to_string()),
        "state": state,
        "on": on,
        "since": rounded(day - now.since(entry.since).as_secs_f64()),
        "deadline": deadline,
        "attempt": entry.now.attempt(),
    })
}

/// Times of day to a tenth of a second, so that they are not sent again as changes.
fn rounded(seconds: f64) -> f64 {
    (seconds * 10.0).round() / 10.0
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
