//! The answers of a host to requests, counted by the class of their status.

use std::sync::atomic::{AtomicU64, Ordering};

/// The classes as they are exported; the last one stands for requests that got no answer.
const CLASSES: [&str; 5] = ["2xx", "3xx", "4xx", "5xx", "none"];

#[derive(Debug, Default)]
pub struct HostTally([AtomicU64; CLASSES.len()]);

impl HostTally {
    /// Counts an answer by its status; `None`: none came.
    pub fn count(&self, status: Option<u16>) {
        let class = match status {
            Some(status @ 200..600) => usize::from(status / 100 - 2),
            _ => CLASSES.len() - 1,
        };
        self.0[class].fetch_add(1, Ordering::Relaxed);
    }

    /// The classes that have occurred, with their numbers.
    pub(super) fn all(&self) -> impl Iterator<Item = (&'static str, u64)> {
        CLASSES.into_iter().zip(self.0.iter().map(|n| n.load(Ordering::Relaxed))).filter(|(_, n)| *n > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_counted_by_their_class() {
        let tally = HostTally::default();
        for status in [Some(200), Some(299), Some(304), Some(404), Some(503), Some(599), None, Some(99), Some(600)] {
            tally.count(status);
        }
        assert!(tally.all().eq([("2xx", 2), ("3xx", 1), ("4xx", 1), ("5xx", 2), ("none", 3)]));
    }
}
