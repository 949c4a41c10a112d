//! The state that calls share: the durations of attempts, the budget, and the counts.

use super::sketch::Sketch;
use super::{After, Settings};
use crate::sync::Mutex;
use crate::time::Instant;
use std::fmt;
use std::time::Duration;

/// The quantile is read anew after so many attempts.
const EVERY: u8 = 16;
/// A key without calls for so long is forgotten.
const IDLE: Duration = Duration::from_mins(10);

pub struct Hedge {
    pub(super) settings: Settings,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    counts: Counts,
    /// By key; empty where the delay is fixed.
    keys: Vec<Option<Box<Seen>>>,
}

/// Since the hedge was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Attempts that began beside a slow one,
    pub hedged: u64,
    /// calls whose value was given by such an attempt,
    pub won: u64,
    /// and attempts for which nothing was left of the budget.
    pub refused: u64,
}

struct Seen {
    sketch: Sketch,
    delay: Option<Duration>,
    /// Attempts until the delay is read anew.
    stays: u8,
    last: Instant,
}

impl fmt::Debug for Hedge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hedge")
    }
}

impl Hedge {
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Hedge { settings, state: Mutex::default() }
    }

    /// Counts a call that makes its first attempt.
    pub(super) fn called(&self, now: Instant) {
        if let Some(budget) = &self.settings.budget {
            budget.lock().deposit(now);
        }
    }

    /// Whether the budget has an attempt left. If so, it is taken.
    pub(super) fn affords(&self, now: Instant) -> bool {
        let affords = self.settings.budget.as_ref().is_none_or(|budget| budget.lock().withdraw(now));
        let counts = &mut self.state.lock().counts;
        *if affords { &mut counts.hedged } else { &mut counts.refused } += 1;
        affords
    }

    pub(super) fn won(&self) {
        self.state.lock().counts.won += 1;
    }

    /// The first attempt of a call took so long, or at least so long where another one won.
    pub(super) fn took(&self, key: u32, took: impl FnOnce() -> (Duration, Instant)) {
        let After::Percentile(q) = self.settings.after else { return };
        let (took, now) = took();
        let mut state = self.state.lock();
        let at = key as usize;
        if at >= state.keys.len() {
            state.keys.resize_with(at + 1, || None);
        }
        let none = || Box::new(Seen { sketch: Sketch::default(), delay: None, stays: 0, last: now });
        let seen = state.keys[at].get_or_insert_with(none);
        seen.sketch.add(took);
        seen.last = now;
        match seen.stays.checked_sub(1) {
            Some(stays) if seen.delay.is_some() => seen.stays = stays,
            _ => (seen.delay, seen.stays) = (seen.sketch.quantile(q), EVERY - 1),
        }
    }

    /// How long after one attempt the next begins; `None` while that is unknown.
    pub fn delay(&self, key: u32) -> Option<Duration> {
        match self.settings.after {
            After::Fixed(after) => Some(after),
            After::Percentile(_) => self.state.lock().keys.get(key as usize)?.as_ref()?.delay,
        }
    }

    /// The longest delay of any key; `None` while none is known.
    pub fn longest_delay(&self) -> Option<Duration> {
        match self.settings.after {
            After::Fixed(after) => Some(after),
            After::Percentile(_) => self.state.lock().keys.iter().flatten().filter_map(|seen| seen.delay).max(),
        }
    }

    /// Forgets a key that is idle. True: nothing of it is kept.
    pub fn rest(&self, key: u32, now: Instant) -> bool {
        let mut state = self.state.lock();
        let Some(seen) = state.keys.get_mut(key as usize) else { return true };
        if seen.as_ref().is_some_and(|seen| now.since(seen.last) < IDLE) {
            return false;
        }
        *seen = None;
        true
    }

    #[must_use]
    pub fn counts(&self) -> Counts {
        self.state.lock().counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(s: u64) -> Instant {
        Instant::from_nanos(s * 1_000_000_000)
    }

    fn hedge() -> Hedge {
        Hedge::new(Settings { after: After::Percentile(0.9), attempts: 2, budget: None })
    }

    fn took(hedge: &Hedge, key: u32, ms: u64, now: Instant) {
        hedge.took(key, || (Duration::from_millis(ms), now));
    }

    #[test]
    fn each_key_has_its_own_delay() {
        let hedge = hedge();
        for _ in 0..100 {
            took(&hedge, 1, 10, at(0));
            took(&hedge, 2, 1000, at(0));
        }
        took(&hedge, 3, 5000, at(0));
        assert!(hedge.delay(1) < Some(Duration::from_millis(13)) && hedge.delay(2) >= Some(Duration::from_secs(1)));
        assert_eq!((hedge.delay(3), hedge.delay(99)), (None, None));
        assert_eq!(hedge.longest_delay(), hedge.delay(2));
    }

    #[test]
    fn the_delay_follows_the_attempts() {
        let hedge = hedge();
        (0..1000).for_each(|_| took(&hedge, 0, 10, at(0)));
        (0..1000).for_each(|_| took(&hedge, 0, 500, at(0)));
        assert!(hedge.delay(0) >= Some(Duration::from_millis(500)));
        (0..1100).for_each(|_| took(&hedge, 0, 10, at(0)));
        assert!(hedge.delay(0) < Some(Duration::from_millis(13)));
    }

    #[test]
    fn an_idle_key_is_forgotten() {
        let hedge = hedge();
        (0..100).for_each(|_| took(&hedge, 1, 10, at(5)));
        assert!(!hedge.rest(1, at(604)) && hedge.delay(1).is_some());
        assert!(hedge.rest(1, at(605)) && hedge.delay(1).is_none());
        assert!(hedge.rest(7, at(0)), "of a key never seen there is nothing");
    }
}
