//! The events of one call, kept for a span: in their order and with their times.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::observe::{Event, Observer};
use crate::sync::Mutex;
use crate::time::Instant;

/// The names of an effect and of the layers around it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Labels {
    pub effect: String,
    pub layers: Vec<String>,
    /// The name of the function at each layer that is a fallback; of the others, nothing.
    pub stand_ins: Vec<String>,
}

impl Labels {
    pub fn layer(&self, layer: usize) -> &str {
        self.layers.get(layer).map_or("", |l| l)
    }

    pub fn stand_in(&self, layer: usize) -> &str {
        self.stand_ins.get(layer).map_or("", |name| name)
    }
}

/// The first events of a call; of further ones, only the number.
#[derive(Default)]
pub struct Record {
    events: Mutex<Vec<(Event, Instant)>>,
    more: AtomicU32,
}

impl Record {
    /// As many as an OpenTelemetry span keeps by default.
    const MOST: usize = 128;

    /// Takes the events, and the number of those that were not kept.
    pub fn take(&self) -> (Vec<(Event, Instant)>, u32) {
        (std::mem::take(&mut *self.events.lock()), self.more.load(Ordering::Relaxed))
    }
}

impl Observer for Record {
    fn told(&self, event: Event, now: Instant) {
        let mut events = self.events.lock();
        if events.len() < Self::MOST {
            events.push((event, now));
        } else {
            drop(events);
            self.more.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Passes each event to several observers.
pub struct All(pub Vec<Arc<dyn Observer>>);

impl Observer for All {
    fn told(&self, event: Event, now: Instant) {
        self.0.iter().for_each(|each| each.told(event, now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_with_a_million_attempts_is_a_bounded_record() {
        let record = Record::default();
        (0..1_000_000).for_each(|n| record.told(Event::Attempt(n), Instant::from_nanos(u64::from(n))));
        let (events, more) = record.take();
        assert_eq!((events.len(), more), (128, 1_000_000 - 128));
        assert_eq!(events[1], (Event::Attempt(1), Instant::from_nanos(1)));
    }
}
