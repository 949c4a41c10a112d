//! The state of a breaker for each key, and the three questions that a call asks it:
//!
//! 1. [`Breaker::peek`] when the call enters: is there any use in waiting for the layers inside? It takes nothing.
//! 2. [`Breaker::admit`] when everything inside has admitted the call and its leaf is about to begin. Half-open, this
//!    takes a probe.
//! 3. [`Breaker::record`] when the call has ended. Here it is counted, once.
//!
//! Each change of state begins a generation (the end of a cooldown does not: nothing was admitted during it). The
//! result of a call that began in an earlier generation is ignored: it tells of how things were before, so it neither
//! opens, nor closes, nor takes the place of a probe.

use std::sync::Arc;
use std::time::Duration;

use super::{Cause, Change, Ear, Outcome, Pass, Settings, State};
use crate::policy::backoff::Backoff;
use crate::policy::window::Window;
use crate::time::Instant;

const TENTHS: usize = 10;
/// The longest `retry_after` while probes are under way: their end is unknown.
const MOMENT: Duration = Duration::from_secs(1);

/// Keys are small dense numbers; 0 is that of a breaker without keys. A key never seen is closed, and costs nothing.
#[derive(Debug)]
pub struct Breaker {
    settings: Settings,
    keys: Vec<Key>,
    /// A tenth of the window, in nanoseconds.
    tenth: u64,
    /// The longest that a key's first opening lasts.
    first: Duration,
    /// Openings of all keys, ever.
    opens: u64,
    /// The name by which messages call it.
    pub name: Option<Arc<str>>,
    pub ear: Option<Ear>,
}

#[derive(Debug, Default)]
struct Key {
    generation: u64,
    phase: Phase,
    /// Openings since it was last closed.
    openings: u32,
    /// There while closed, once a rate is counted.
    window: Option<Box<Window<Tally, TENTHS>>>,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    /// `run` failures in a row, the last one `at`; counted only where `failures` is set.
    Closed {
        run: u32,
        at: Instant,
    },
    Open {
        until: Instant,
    },
    /// `taken` probes include those that succeeded, some of which were slow.
    HalfOpen {
        taken: u32,
        succeeded: u32,
        slow: u32,
    },
    Isolated,
}

#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    calls: u32,
    failures: u32,
    slow: u32,
}

impl Breaker {
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let settings = Settings { probes: settings.probes.max(1), ..settings };
        let tenth = u64::try_from(settings.window.as_nanos()).unwrap_or(u64::MAX) / TENTHS as u64;
        let first = settings.cooldown.wait(1, 1.0);
        Breaker { settings, keys: Vec::new(), tenth: tenth.max(1), first, opens: 0, name: None, ear: None }
    }

    #[must_use]
    pub fn state(&self, key: u32, now: Instant) -> State {
        match self.phase(key, now) {
            Phase::Closed { .. } => State::Closed,
            Phase::Open { .. } => State::Open,
            Phase::HalfOpen { .. } => State::HalfOpen,
            Phase::Isolated => State::Isolated,
        }
    }

    /// How many of `keys` keys are in each state, in the order of [`State`], and how many openings there ever were. A
    /// breaker without keys has one.
    #[must_use]
    pub fn states(&self, keys: usize, now: Instant) -> ([u64; 4], u64) {
        let mut states = [0; 4];
        (0..self.keys.len()).for_each(|key| states[self.state(key as u32, now) as usize] += 1);
        // Numbers that are free count as closed.
        states[State::Closed as usize] = (keys.max(1) as u64).saturating_sub(states[1..].iter().sum());
        (states, self.opens)
    }

    /// The state of each number that ever had one.
    pub fn by_key(&self, now: Instant) -> impl Iterator<Item = (u32, State)> {
        (0..self.keys.len() as u32).map(move |key| (key, self.state(key, now)))
    }

    /// Whether a call could be admitted now; if not, after how long to try again: what is left of the cooldown, or
    /// `Duration::MAX` if it has no end. While all probes are under way it is a second, or the first cooldown where
    /// that is shorter: any of them may end the next moment.
    pub fn peek(&self, key: u32, now: Instant) -> Result<(), Duration> {
        match self.phase(key, now) {
            Phase::Closed { .. } => Ok(()),
            Phase::HalfOpen { taken, .. } if taken < self.settings.probes => Ok(()),
            Phase::HalfOpen { .. } => Err(self.first.min(MOMENT)),
            Phase::Open { until: Instant::NEVER } | Phase::Isolated => Err(Duration::MAX),
            Phase::Open { until } => Err(until.since(now)),
        }
    }

    /// Admits a call where that needs no look at the clock: closed, with nothing too slow. `None`: it needs one.
    pub fn admit_closed(&mut self, key: u32) -> Option<Pass> {
        let timed = self.settings.slow_call.is_some();
        let state = self.key(key);
        let closed = !timed && matches!(state.phase, Phase::Closed { .. });
        closed.then_some(Pass { key, generation: state.generation, started: Instant::from_nanos(0), probes: 0 })
    }

    /// Lets the call begin, as [`Breaker::peek`] says; half-open, the call is a probe.
    pub fn admit(&mut self, key: u32, now: Instant) -> Result<Pass, Duration> {
        self.peek(key, now)?;
        let probes = self.settings.probes;
        let state = self.key(key);
        let was_open = matches!(state.phase, Phase::Open { .. });
        state.phase = state.phase.at(now);
        if let Phase::HalfOpen { taken, .. } = &mut state.phase {
            *taken += 1;
        }
        Ok(Pass { key, generation: state.generation, started: now, probes: if was_open { probes } else { 0 } })
    }

    /// Records the end of a call. `dice`, in [0, 1), is for the jitter of the cooldown, should this open the breaker.
    ///
    /// A probe that fails opens it again at once, and so does a slow probe that brings the rate to `slow_rate`: a
    /// service that was shut off for its slowness is not well while it is slow. When all probes have succeeded it
    /// closes.
    pub fn record(&mut self, pass: Pass, outcome: Outcome, now: Instant, dice: f64) -> Option<Change> {
        let (settings, tenth) = (self.settings, now.nanos() / self.tenth);
        let probes = settings.probes;
        let state = self.key(pass.key);
        if state.generation != pass.generation {
            return None;
        }
        let failed = outcome == Outcome::Failure;
        let limit = settings.slow_call.unwrap_or(Duration::MAX);
        let lagged = !failed && settings.slow_call.is_some() && now.since(pass.started) > limit;
        let opens = match (&mut state.phase, outcome) {
            (Phase::HalfOpen { taken, .. }, Outcome::Nothing) => {
                *taken -= 1;
                None
            }
            // Nothing is admitted while open or isolated, so no pass is of such a generation.
            (_, Outcome::Nothing) | (Phase::Open { .. } | Phase::Isolated, _) => None,
            (Phase::Closed { run, at }, _) => {
                if settings.failures.is_some() {
                    (*run, *at) = if failed { (run.saturating_add(1), now) } else { (0, now) };
                }
                let failures = *run;
                let in_a_row = failed && settings.failures.is_some_and(|most| failures >= most);
                in_a_row.then_some(Cause::InARow { failures }).or_else(|| state.count(&settings, tenth, failed, lagged))
            }
            (Phase::HalfOpen { .. }, Outcome::Failure) => Some(Cause::ProbeFailed { probes }),
            (Phase::HalfOpen { succeeded, slow, .. }, Outcome::Success) => {
                *succeeded += 1;
                *slow += u32::from(lagged);
                let (slow, all) = (*slow, *succeeded == probes);
                let lags = reaches(slow, probes, settings.slow_rate);
                if !lags && all {
                    state.change(Phase::default());
                    return Some(Change::Closed { probes });
                }
                lags.then_some(Cause::ProbesSlow { slow, probes, limit })
            }
        }?;
        state.open(&settings.cooldown, now, dice);
        self.opens += 1;
        Some(Change::Opened(opens))
    }

    /// Keeps the key open until [`Breaker::reset`].
    pub fn isolate(&mut self, key: u32) -> Option<Change> {
        let state = self.key(key);
        let new = !matches!(state.phase, Phase::Isolated);
        state.change(Phase::Isolated);
        new.then_some(Change::ByHand(State::Isolated))
    }

    /// Closes the key, with nothing counted.
    pub fn reset(&mut self, key: u32) -> Option<Change> {
        let state = self.keys.get_mut(key as usize)?;
        let new = !matches!(state.phase, Phase::Closed { .. });
        state.change(Phase::default());
        new.then_some(Change::ByHand(State::Closed))
    }

    /// Opens the key as a failure does, for the next cooldown. An isolated key stays isolated.
    pub fn open_now(&mut self, key: u32, now: Instant, dice: f64) -> Option<Change> {
        let cooldown = self.settings.cooldown;
        let state = self.key(key);
        if matches!(state.phase, Phase::Isolated) {
            return None;
        }
        state.open(&cooldown, now, dice);
        self.opens += 1;
        Some(Change::ByHand(State::Open))
    }

    /// Whether forgetting the key loses nothing: it is closed and its window is empty. A run of failures is over when
    /// the last one is older than the window, and so old that the opening it was leading up to would have passed. Calls
    /// in flight are not known here: the table of keys knows which keys are in use.
    #[must_use]
    pub fn is_idle(&self, key: u32, now: Instant) -> bool {
        let Some(state) = self.keys.get(key as usize) else { return true };
        let Phase::Closed { run, at } = state.phase else { return false };
        let over = run == 0 || now.since(at) > self.settings.window.max(self.first);
        over && state.window.as_ref().is_none_or(|w| w.last(TENTHS as u64, now.nanos() / self.tenth).all(|t| t.calls == 0))
    }

    /// Ignores the calls that are under way: their results will not come, and their probes are free.
    pub fn forget_calls(&mut self) {
        for state in &mut self.keys {
            state.generation += 1;
            if let Phase::HalfOpen { .. } = state.phase {
                state.phase = Phase::HalfOpen { taken: 0, succeeded: 0, slow: 0 };
            }
        }
    }

    /// Frees the state of a number, which may then be another key's: earlier passes mean nothing to it.
    pub fn forget(&mut self, key: u32) {
        self.reset(key);
    }

    fn phase(&self, key: u32, now: Instant) -> Phase {
        self.keys.get(key as usize).map_or(Phase::default(), |state| state.phase.at(now))
    }

    fn key(&mut self, key: u32) -> &mut Key {
        let key = key as usize;
        if key >= self.keys.len() {
            self.keys.resize_with(key + 1, Key::default);
        }
        &mut self.keys[key]
    }
}

impl Key {
    /// Counts a result, and returns the rate that is reached.
    fn count(&mut self, settings: &Settings, tenth: u64, failed: bool, lagged: bool) -> Option<Cause> {
        if settings.failures.is_some() && settings.slow_call.is_none() {
            return None;
        }
        let window = self.window.get_or_insert_default();
        let slice = window.at(tenth);
        slice.calls = slice.calls.saturating_add(1);
        slice.failures = slice.failures.saturating_add(u32::from(failed));
        slice.slow = slice.slow.saturating_add(u32::from(lagged));
        let sum = window.last(TENTHS as u64, tenth).fold(Tally::default(), |a, b| Tally {
            calls: a.calls.saturating_add(b.calls),
            failures: a.failures.saturating_add(b.failures),
            slow: a.slow.saturating_add(b.slow),
        });
        let Tally { calls, failures, slow } = sum;
        if calls < settings.minimum_calls {
            None
        } else if settings.failures.is_none() && reaches(failures, calls, settings.failure_rate) {
            Some(Cause::Rate { failures, calls })
        } else {
            let lags = settings.slow_call.filter(|_| reaches(slow, calls, settings.slow_rate));
            lags.map(|limit| Cause::Slow { slow, calls, limit })
        }
    }

    fn open(&mut self, cooldown: &Backoff, now: Instant, dice: f64) {
        let openings = self.openings.saturating_add(1);
        self.change(Phase::Open { until: now.after(cooldown.wait(openings, dice)) });
        self.openings = openings;
    }

    /// Begins a generation, with nothing counted.
    fn change(&mut self, phase: Phase) {
        *self = Key { generation: self.generation + 1, phase, ..Key::default() };
    }
}

impl Phase {
    /// The phase by now: no timer ends the cooldown.
    fn at(self, now: Instant) -> Phase {
        match self {
            Phase::Open { until } if until <= now && until != Instant::NEVER => {
                Phase::HalfOpen { taken: 0, succeeded: 0, slow: 0 }
            }
            phase => phase,
        }
    }
}

impl Default for Phase {
    fn default() -> Self {
        Phase::Closed { run: 0, at: Instant::from_nanos(0) }
    }
}

/// A part of zero reaches no rate, not even 0.
fn reaches(part: u32, whole: u32, rate: f64) -> bool {
    part > 0 && f64::from(part) / f64::from(whole) >= rate
}

#[cfg(test)]
mod size {
    #[test]
    fn a_million_keys_are_fine() {
        use super::{Key, TENTHS, Tally, Window};
        assert!(size_of::<Key>() <= 40 && size_of::<Window<Tally, TENTHS>>() <= 128);
    }
}
