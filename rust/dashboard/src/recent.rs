//! Durations of the last seconds.

use mountain_core::observe::Summary;

/// The weight below which a second no longer counts.
const FADED: f64 = 0.05;

/// The figures of about the last ten seconds: each second, older figures count for a tenth less.
#[derive(Default)]
pub(crate) struct Recent {
    last: Summary,
    weights: Vec<f64>,
}

impl Recent {
    /// Starts from `now`, so that earlier figures are not seen as new.
    pub(crate) fn since(now: Summary) -> Self {
        Recent { last: now, weights: Vec::new() }
    }

    /// Adds the figures of the last `seconds`.
    pub(crate) fn add(&mut self, now: Summary, seconds: f64) {
        let gained = now.since(&self.last);
        if self.weights.is_empty() && gained.count() == 0 {
            return; // most effects of a program rest
        }
        self.weights.resize(Summary::BUCKETS, 0.0);
        let older = 0.9_f64.powf(seconds);
        for (weight, n) in self.weights.iter_mut().zip(gained.counts()) {
            *weight = *weight * older + *n as f64;
        }
        self.last = now;
    }

    /// `None`: nothing was recorded lately.
    pub(crate) fn quantile(&self, q: f64) -> Option<f64> {
        // Seconds that have faded do not count.
        let there = || self.weights.iter().enumerate().filter(|(_, weight)| **weight >= FADED);
        let mut left = there().map(|(_, weight)| weight).sum::<f64>() * q;
        let mut found = None;
        for (bucket, weight) in there() {
            found = Some(Summary::edge(bucket));
            left -= weight;
            if left <= 0.0 {
                break;
            }
        }
        // The last one that is there, should rounding leave a rest.
        found
    }
}
