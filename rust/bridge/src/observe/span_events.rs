//! The events of a span, as data for Python, with their times of day.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use mountain_core::observe::{Event, Found, Injected};
use mountain_core::telemetry::Labels;
use mountain_core::time::Instant;

use crate::globals::clock;

/// Added to a reading of the clock, in nanoseconds, this gives the time of day.
static WALL: AtomicU64 = AtomicU64::new(0);

/// Reads the time of day anew.
pub(super) fn set_wall() {
    let day = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos() as u64);
    WALL.store(day.wrapping_sub(clock().now().nanos()), Ordering::Relaxed);
}

/// The time of day, in nanoseconds since 1970.
pub(super) fn wall(at: Instant) -> u64 {
    at.nanos().wrapping_add(WALL.load(Ordering::Relaxed))
}

/// An event's name, its layer's label, what stands in, its number, and its time.
pub(super) type Told<'a> = (&'static str, &'a str, &'a str, u64, u64);

pub(super) fn told_of(event: Event, at: Instant, labels: &Labels) -> Told<'_> {
    let at = wall(at);
    match event {
        Event::Waits(layer) => ("waits", labels.layer(layer), "", 0, at),
        Event::Waited(layer) => ("waited", labels.layer(layer), "", 0, at),
        Event::Attempt(n) => ("attempt", "", "", u64::from(n), at),
        Event::BacksOff(layer, until) => ("backs off", labels.layer(layer), "", wall(until).saturating_sub(at), at),
        Event::Refused(layer) => ("refused", labels.layer(layer), "", 0, at),
        Event::Cache(layer, found) => {
            let name = match found {
                Found::Hit => "cache hit",
                Found::Stale => "cache stale hit",
                Found::Missing => "cache miss",
                Found::Flying => "cache joined",
            };
            (name, labels.layer(layer), "", 0, at)
        }
        Event::Degraded(layer) => ("degraded", labels.layer(layer), labels.stand_in(layer), 0, at),
        Event::NotAccepted(layer) => ("not accepted", labels.layer(layer), "", 0, at),
        Event::FirstItem => ("first item", "", "", 0, at),
        Event::Items(n) => ("items", "", "", n, at),
        Event::Left => ("left", "", "", 0, at),
        Event::Chaos(layer, injected) => {
            let (name, wait) = match injected {
                Injected::Failure => ("chaos failure", 0),
                Injected::Delay(delay) => ("chaos delay", u64::try_from(delay.as_nanos()).unwrap_or(u64::MAX)),
                Injected::Hang => ("chaos hang", 0),
            };
            (name, labels.layer(layer), "", wait, at)
        }
        Event::Hedged(layer, n) => ("hedged", labels.layer(layer), "", u64::from(n), at),
        Event::Won(layer, n) => ("attempt won", labels.layer(layer), "", u64::from(n), at),
    }
}
