//! Tests of the state of the page as JSON, after calls, policies and failures.

use std::sync::Arc;

use mountain_core::observe::{Event, Observer};
use mountain_core::telemetry::{Gauges, Labels, Listed};
use mountain_core::time::Clock;

use super::*;

#[test]
fn what_was_before_is_no_news_and_what_is_recent_fades_within_a_minute() {
    let times = mountain_core::observe::Times::default();
    (0..1_000_000).for_each(|_| times.record(1_000));
    let mut recent = Recent::since(times.summary());
    recent.add(times.summary());
    assert_eq!(recent.quantile(0.99), None);
    (0..20).for_each(|_| times.record(1_000_000_000));
    recent.add(times.summary());
    assert!(recent.quantile(0.01).is_some_and(|seconds| seconds >= 1.0));
    for _ in 0..60 {
        recent.add(times.summary());
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
        recent.add(times.summary());
        let (half, most) = (recent.quantile(0.5), recent.quantile(1.0));
        assert!(most.is_none_or(|most| most <= 0.0025), "round {n}: {most:?}");
        assert!(half <= most);
    }
    for _ in 0..200 {
        recent.add(times.summary());
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
