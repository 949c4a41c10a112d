//! Tests of the state of the page as JSON, after calls, policies and failures.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use mountain_core::effect::Keys;
use mountain_core::observe::{Event, Observer};
use mountain_core::policy::limit::{Limit, Overflow, Settings};
use mountain_core::telemetry::{Gauges, Labels, Listed};
use mountain_core::time::Clock;

use super::*;

#[test]
fn what_was_before_is_no_news_and_what_is_recent_fades_within_a_minute() {
    let times = mountain_core::observe::Times::default();
    (0..1_000_000).for_each(|_| times.record(1_000));
    let mut recent = Recent::since(times.summary());
    recent.add(times.summary(), 1.0);
    assert_eq!(recent.quantile(0.99), None);
    (0..20).for_each(|_| times.record(1_000_000_000));
    recent.add(times.summary(), 1.0);
    assert!(recent.quantile(0.01).is_some_and(|seconds| seconds >= 1.0));
    for _ in 0..60 {
        recent.add(times.summary(), 1.0);
    }
    assert_eq!(recent.quantile(0.5), None);
}

#[test]
fn the_longest_is_one_that_was_measured() {
    let times = mountain_core::observe::Times::default();
    let mut recent = Recent::default();
    for n in 1..2000u64 {
        for k in 0..n % 7 {
            times.record(1_000_000 + k * 100_000);
        }
        recent.add(times.summary(), 1.0);
        let (half, most) = (recent.quantile(0.5), recent.quantile(1.0));
        assert!(most.is_none_or(|most| most <= 0.0025), "round {n}: {most:?}");
        assert!(half <= most);
    }
    for _ in 0..200 {
        recent.add(times.summary(), 1.0);
    }
    assert_eq!(recent.quantile(1.0), None, "it has faded");
}

fn telemetry() -> &'static Telemetry {
    Box::leak(Box::new(Telemetry::new(Clock::manual(), 1000, Gauges::default)))
}

#[test]
fn it_shows_what_is_counted_and_what_is_under_way() {
    let telemetry = telemetry();
    let tally = telemetry.effects.of("fetch");
    tally.count(Count::Started);
    tally.ended(Count::Succeeded, 1_000_000);
    telemetry.effects.of("declared");
    let labels = Arc::new(Labels { effect: "fetch".into(), layers: vec!["ConcurrencyLimit(5)".into()], stand_ins: Vec::new() });
    let listed = telemetry.live.begin(labels, 0, telemetry.clock.now(), Instant::NEVER);
    let Listed::In(entry) = &listed else { panic!("there is room") };
    entry.told(Event::Waits(0), telemetry.clock.now());
    let maker = Maker::new(telemetry, "main.py".into());
    let state = maker.make(&Board::default());
    assert_eq!(state["effects"].as_object().map(Map::len), Some(1));
    assert_eq!(state["effects"]["fetch"]["succeeded"], 1);
    assert_eq!(state["running"]["1"]["on"], "ConcurrencyLimit(5)");
    assert_eq!(state["running"]["1"]["state"], "waiting");
    drop(listed);
    assert_eq!(maker.make(&Board::default())["running"], json!({}));
}

#[test]
fn quantiles_are_of_the_last_seconds() {
    let telemetry = telemetry();
    let tally = telemetry.effects.of("fetch");
    tally.count(Count::Started);
    let mut maker = Maker::new(telemetry, String::new());
    let shown = |maker: &Maker, what: &str| maker.make(&Board::default())["effects"]["fetch"][what].as_f64();
    assert_eq!((shown(&maker, "p99"), shown(&maker, "all_p99")), (None, None), "none has ended");
    for _ in 0..1000 {
        tally.took(1_000_000_000);
    }
    maker.tick(1.0);
    assert!(shown(&maker, "p99") > Some(0.9));
    for _ in 0..60 {
        (0..1000).for_each(|_| tally.took(1_000_000));
        maker.tick(1.0);
    }
    assert!(shown(&maker, "p99").is_some_and(|p99| p99 < 0.002));
    for _ in 0..200 {
        maker.tick(1.0);
    }
    assert_eq!(shown(&maker, "p99"), None, "none ended for a long time");
    assert_eq!(shown(&maker, "all_p99"), tally.times().quantile(0.99), "as in the statistics");
}

#[test]
fn what_opens_to_keys_or_workers_does_so_before_they_are_looked_at() {
    let telemetry = telemetry();
    let limit = || Limit::new(Settings { n: 1, most_waiting: None, overflow: Overflow::Reject });
    let (plain, by_host, at_rest) = (limit(), limit(), limit());
    let keys = || Keys::new(|_| (), Duration::from_secs(1), |_, _| true);
    let (hosts, none) = (keys(), keys());
    let used = hosts.intern(&telemetry.clock, 1, || 1, |key| Ok::<_, ()>(key == 1));
    telemetry.policies.limit(&plain, None, "plain");
    telemetry.policies.limit(&by_host, Some(&hosts), "by host");
    telemetry.policies.limit(&at_rest, Some(&none), "never used");
    let pools = ["busy", "closed"].map(|name| telemetry.pools.of(name));
    let workers = pools[0].open();
    workers.workers.store(1, Ordering::Relaxed);

    let maker = Maker::new(telemetry, String::new());
    let board = Board::default();
    let by_key = |kind: &str, name: &str| maker.make(&board)[kind][name].get("by_key").cloned();
    assert_eq!(["plain", "never used"].map(|name| by_key("limits", name)), [None, None]);
    assert_eq!(by_key("limits", "by host"), Some(json!({})));
    assert_eq!(by_key("pools", "busy"), Some(json!({})));
    assert_eq!(by_key("pools", "closed"), Some(json!({"keys": [], "others": 0})), "there is none to look at");

    board.set_workers(json!({"busy": {"keys": [1], "others": 0}}));
    assert_eq!(by_key("pools", "busy"), Some(json!({"keys": [1], "others": 0})));
    board.forget_keys();
    assert_eq!(by_key("pools", "busy"), Some(json!({})));
    drop(used);
}
