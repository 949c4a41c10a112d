//! The figures as text: complete, bounded, and each on its line.

use super::*;
use crate::time::Clock;

fn telemetry() -> &'static Telemetry {
    Box::leak(Box::new(Telemetry::new(Clock::manual(), 1000, super::super::Gauges::default)))
}

#[test]
fn everything_in_the_catalogue_is_exported_and_nothing_else() {
    let text = openmetrics(telemetry());
    let described: Vec<&str> = text.lines().filter_map(|l| l.strip_prefix("# TYPE ")).collect();
    let right: Vec<String> = is::CATALOGUE.iter().map(|m| format!("{} {:?}", m.name, m.kind).to_lowercase()).collect();
    assert_eq!(described, right.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(text.ends_with("# EOF\n"));
    let text = prometheus(telemetry());
    assert!(!text.contains("# EOF") && text.contains("# TYPE mountain_effect_started_total counter\n"));
}

#[test]
fn hostile_names_stay_on_their_line() {
    let telemetry = telemetry();
    telemetry.effects.of("a\"} 1\nforged{x=\"\\ <b>").count(Count::Started);
    telemetry.effects.of(&"x".repeat(10_000)).count(Count::Started);
    let text = prometheus(telemetry);
    assert!(text.contains(r#"mountain_effect_started_total{effect="a\"} 1\nforged{x=\"\\ <b>"} 1"#), "{text}");
    assert!(
        text.lines().all(|line| line.starts_with("mountain_") || line.starts_with("# ")) && text.lines().all(|l| l.len() < 400)
    );
}

#[test]
fn fallbacks_beyond_the_bound_share_one_name() {
    let telemetry: &'static Telemetry = Box::leak(Box::new(Telemetry::new(Clock::manual(), 2, super::super::Gauges::default)));
    let tally = telemetry.effects.of("one");
    for name in ["a", "b", "c", "d", "a"] {
        telemetry.degraded(&tally, name);
    }
    let text = openmetrics(telemetry);
    let lines: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("mountain_effect_degraded_total")).collect();
    let right =
        [r#"{effect="one",fallback="a"} 2"#, r#"{effect="one",fallback="b"} 1"#, r#"{effect="other",fallback="other"} 2"#];
    assert_eq!(lines, right);
    assert_eq!(tally.total(Count::Degraded), 5);
}

#[test]
fn a_histogram_adds_up() {
    let telemetry = telemetry();
    let tally = telemetry.effects.of("one");
    for nanos in [1_000_000, 2_000_000, 500_000_000] {
        tally.ended(Count::Succeeded, nanos);
    }
    let text = openmetrics(telemetry);
    for line in ["_count{effect=\"one\"} 3", "_sum{effect=\"one\"} 0.503", "_bucket{le=\"+Inf\",effect=\"one\"} 3"] {
        assert!(text.contains(&format!("mountain_effect_seconds{line}\n")), "{line} in {text}");
    }
}
