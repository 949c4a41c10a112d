//! The breaker against a model that keeps no count and no state: a list of events, from which everything is computed
//! anew each time.

use std::collections::HashMap;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::policy::backoff::Jitter;

const KEYS: u32 = 3;

/// An event of one key; a number names a call.
#[derive(Clone, Copy, Debug)]
enum Event {
    Began(usize),
    Ended(usize, Outcome, f64),
    Isolated,
    Reset,
    Opened(f64),
}

type Log = Vec<(Instant, Event)>;

/// An age of the breaker, from one change to the next.
#[derive(Clone, Copy, Debug)]
enum Age {
    Closed,
    /// Half-open from then on.
    Open(Instant),
    Isolated,
}

/// The present age of a key, computed from its log, with the events in it.
struct Present<'a> {
    settings: &'a Settings,
    age: Age,
    openings: u32,
    began: HashMap<usize, Instant>,
    ended: Vec<(usize, Outcome, Instant)>,
    /// The change that the last event caused.
    change: Option<Change>,
}

impl<'a> Present<'a> {
    fn of(settings: &'a Settings, log: &Log) -> Self {
        let mut p = Present { settings, age: Age::Closed, openings: 0, began: HashMap::new(), ended: Vec::new(), change: None };
        for &(now, event) in log {
            p.change = None;
            match (event, p.age) {
                (Event::Began(call), age) => {
                    let first = matches!(age, Age::Open(_)) && p.began.is_empty();
                    p.change = first.then_some(Change::HalfOpen { probes: settings.probes });
                    p.began.insert(call, now);
                }
                (Event::Ended(call, outcome, dice), age) if p.began.contains_key(&call) => {
                    p.ended.push((call, outcome, now));
                    let (opens, closes) = match age {
                        Age::Closed => (if outcome == Outcome::Nothing { None } else { p.too_much(now) }, false),
                        _ => (p.probes_failed(), p.of_outcome(Outcome::Success).count() == settings.probes as usize),
                    };
                    if let Some(cause) = opens {
                        p.open(now, dice);
                        p.change = Some(Change::Opened(cause));
                    } else if closes {
                        p.turn(Age::Closed);
                        p.openings = 0;
                        p.change = Some(Change::Closed { probes: settings.probes });
                    }
                }
                (Event::Ended(..), _) | (Event::Opened(_), Age::Isolated) => {}
                (Event::Opened(dice), _) => {
                    p.open(now, dice);
                    p.change = Some(Change::ByHand(State::Open));
                }
                (Event::Isolated, age) => {
                    p.turn(Age::Isolated);
                    p.change = (!matches!(age, Age::Isolated)).then_some(Change::ByHand(State::Isolated));
                }
                (Event::Reset, age) => {
                    p.turn(Age::Closed);
                    p.change = (!matches!(age, Age::Closed)).then_some(Change::ByHand(State::Closed));
                    p.openings = 0;
                }
            }
        }
        p
    }

    fn turn(&mut self, age: Age) {
        self.age = age;
        self.began.clear();
        self.ended.clear();
    }

    fn open(&mut self, now: Instant, dice: f64) {
        self.openings += 1;
        self.turn(Age::Open(now.after(self.settings.cooldown.wait(self.openings, dice))));
    }

    fn of_outcome(&self, outcome: Outcome) -> impl Iterator<Item = &(usize, Outcome, Instant)> {
        self.ended.iter().filter(move |e| e.1 == outcome)
    }

    fn is_slow(&self, &(call, outcome, at): &(usize, Outcome, Instant)) -> bool {
        outcome == Outcome::Success && self.settings.slow_call.is_some_and(|limit| at.since(self.began[&call]) > limit)
    }

    /// The results that count at `now`: those of the present tenth of the window and of the nine before it.
    fn recent(&self, now: Instant) -> Vec<&(usize, Outcome, Instant)> {
        let tenth = (self.settings.window.as_nanos() / 10).clamp(1, u128::from(u64::MAX / 10)) as u64;
        let counts = |at: Instant| now.nanos() / tenth - at.nanos() / tenth < 10;
        self.ended.iter().filter(|e| e.1 != Outcome::Nothing && counts(e.2)).collect()
    }

    fn too_much(&self, now: Instant) -> Option<Cause> {
        let s = self.settings;
        let recent = self.recent(now);
        let part =
            |n: usize, rate: f64| recent.len() >= s.minimum_calls as usize && n > 0 && n as f64 / recent.len() as f64 >= rate;
        let failures = recent.iter().filter(|e| e.1 == Outcome::Failure).count();
        let slow = recent.iter().filter(|e| self.is_slow(e)).count();
        let calls = recent.len() as u32;
        match s.failures {
            Some(most) if self.run().len() >= most as usize => Some(Cause::InARow { failures: self.run().len() as u32 }),
            None if part(failures, s.failure_rate) => Some(Cause::Rate { failures: failures as u32, calls }),
            _ => part(slow, s.slow_rate).then(|| Cause::Slow { slow: slow as u32, calls, limit: s.slow_call.unwrap() }),
        }
    }

    /// The failures since the last success.
    fn run(&self) -> Vec<Instant> {
        let results = self.ended.iter().rev().filter(|e| e.1 != Outcome::Nothing);
        results.take_while(|e| e.1 == Outcome::Failure).map(|e| e.2).collect()
    }

    fn probes_failed(&self) -> Option<Cause> {
        let probes = self.settings.probes;
        if self.of_outcome(Outcome::Failure).count() > 0 {
            return Some(Cause::ProbeFailed { probes });
        }
        let slow = self.ended.iter().filter(|e| self.is_slow(e)).count() as u32;
        let lagging = slow > 0 && f64::from(slow) / f64::from(probes) >= self.settings.slow_rate;
        lagging.then(|| Cause::ProbesSlow { slow, probes, limit: self.settings.slow_call.unwrap() })
    }

    fn half_open(&self, now: Instant) -> bool {
        matches!(self.age, Age::Open(until) if until != Instant::NEVER && now >= until)
    }

    fn in_flight(&self) -> usize {
        self.began.len() - self.ended.len()
    }

    fn state(&self, now: Instant) -> State {
        match self.age {
            Age::Closed => State::Closed,
            Age::Isolated => State::Isolated,
            Age::Open(_) if self.half_open(now) => State::HalfOpen,
            Age::Open(_) => State::Open,
        }
    }

    fn answer(&self, now: Instant) -> Result<(), Duration> {
        match self.age {
            Age::Closed => Ok(()),
            Age::Isolated | Age::Open(Instant::NEVER) => Err(Duration::MAX),
            Age::Open(until) if now < until => Err(Duration::from_nanos(until.nanos() - now.nanos())),
            Age::Open(_) if self.in_flight() + self.of_outcome(Outcome::Success).count() < self.settings.probes as usize => {
                Ok(())
            }
            Age::Open(_) => Err(self.settings.cooldown.wait(1, 1.0).min(Duration::from_secs(1))),
        }
    }

    fn is_idle(&self, now: Instant) -> bool {
        let s = self.settings;
        let lasting = s.window.max(s.cooldown.wait(1, 1.0));
        let in_window = (s.failures.is_none() || s.slow_call.is_some()) && !self.recent(now).is_empty();
        let in_a_row = s.failures.is_some() && self.run().iter().any(|&at| now.since(at) <= lasting);
        matches!(self.age, Age::Closed) && !in_window && !in_a_row
    }
}

#[derive(Clone, Copy, Debug)]
enum Act {
    Begin(u32),
    /// Many callers at once.
    Rush(u32),
    /// The n-th of the calls in flight, taken round.
    End(usize, Outcome, f64),
    Advance(u64),
    Isolate(u32),
    Reset(u32),
    Forget(u32),
    Open(u32, f64),
}

fn act() -> impl Strategy<Value = Act> {
    let key = 0..KEYS;
    let outcome = prop_oneof![4 => Just(Outcome::Success), 4 => Just(Outcome::Failure), 1 => Just(Outcome::Nothing)];
    // To the nanosecond around the tenths of the window and the cooldowns, and anywhere between.
    let jump = prop_oneof![
        1 => Just(1u64),
        4 => (1u64..10).prop_map(|tenths| tenths * 200_000_000),
        2 => Just(999_999_999),
        2 => 0u64..3_000_000_000,
        1 => Just(60_000_000_000),
    ];
    prop_oneof![
        16 => key.clone().prop_map(Act::Begin),
        2 => key.clone().prop_map(Act::Rush),
        24 => (any::<usize>(), outcome, 0.0..1.0).prop_map(|(i, o, d)| Act::End(i, o, d)),
        12 => jump.prop_map(Act::Advance),
        1 => key.clone().prop_map(Act::Isolate),
        2 => key.clone().prop_map(Act::Reset),
        1 => key.clone().prop_map(Act::Forget),
        1 => (key, 0.0..1.0).prop_map(|(k, d)| Act::Open(k, d)),
    ]
}

fn settings() -> impl Strategy<Value = Settings> {
    let rate = || prop_oneof![Just(0.0), Just(0.25), Just(0.5), Just(1.0), Just(f64::INFINITY)];
    let slow_call = prop_oneof![Just(None), Just(Some(Duration::ZERO)), Just(Some(Duration::from_secs(1)))];
    let window = prop_oneof![6 => Just(Duration::from_secs(2)), 1 => Just(Duration::ZERO), 1 => Just(Duration::MAX)];
    let jitter = prop_oneof![Just(Jitter::None), Just(Jitter::Full)];
    let cooldown = (prop_oneof![1 => Just(0.0), 6 => Just(1.0), 1 => Just(f64::INFINITY)], jitter)
        .prop_map(|(initial, jitter)| Backoff { initial, factor: 2.0, max: 5.0f64.max(initial), jitter });
    (proptest::option::of(1u32..4), rate(), 0u32..8, slow_call, rate(), window, cooldown, 1u32..4).prop_map(
        |(failures, failure_rate, minimum_calls, slow_call, slow_rate, window, cooldown, probes)| Settings {
            failures,
            failure_rate,
            minimum_calls,
            slow_call,
            slow_rate,
            window,
            cooldown,
            probes,
        },
    )
}

struct Pair {
    settings: Settings,
    breaker: Breaker,
    logs: [Log; KEYS as usize],
    flying: Vec<(usize, Pass)>,
    calls: usize,
    now: Instant,
}

impl Pair {
    /// Logs an event, and checks that the breaker reports the same change.
    fn note(&mut self, key: u32, event: Event, change: Option<Change>) -> Result<(), TestCaseError> {
        self.logs[key as usize].push((self.now, event));
        prop_assert_eq!(change, Present::of(&self.settings, &self.logs[key as usize]).change);
        Ok(())
    }

    fn begin(&mut self, key: u32) -> Result<(), TestCaseError> {
        let expected = Present::of(&self.settings, &self.logs[key as usize]).answer(self.now);
        // The same with and without a look at the clock.
        let admitted = match self.breaker.admit_closed(key) {
            Some(_) if self.now.nanos().is_multiple_of(2) => self.breaker.admit(key, self.now),
            Some(pass) => Ok(pass),
            None => self.breaker.admit(key, self.now),
        };
        match admitted {
            Ok(pass) => {
                prop_assert_eq!(expected, Ok(()));
                self.note(key, Event::Began(self.calls), pass.change())?;
                self.flying.push((self.calls, pass));
                self.calls += 1;
            }
            Err(wait) => prop_assert_eq!(expected, Err(wait)),
        }
        Ok(())
    }

    fn act(&mut self, act: Act) -> Result<(), TestCaseError> {
        match act {
            Act::Begin(key) => self.begin(key)?,
            Act::Rush(key) => (0..10).try_for_each(|_| self.begin(key))?,
            Act::End(n, outcome, dice) if !self.flying.is_empty() => {
                let (call, pass) = self.flying.swap_remove(n % self.flying.len());
                let key = pass.key;
                let change = self.breaker.record(pass, outcome, self.now, dice);
                self.note(key, Event::Ended(call, outcome, dice), change)?;
            }
            Act::End(..) => {}
            Act::Advance(nanos) => self.now = self.now.after(Duration::from_nanos(nanos)),
            Act::Isolate(key) => {
                let change = self.breaker.isolate(key);
                self.note(key, Event::Isolated, change)?;
            }
            Act::Reset(key) => {
                let change = self.breaker.reset(key);
                self.note(key, Event::Reset, change)?;
            }
            // Also while calls of the key are in flight: the machine has to ignore them for the next key of that
            // number.
            Act::Forget(key) => {
                self.breaker.forget(key);
                self.logs[key as usize].push((self.now, Event::Reset));
            }
            Act::Open(key, dice) => {
                let change = self.breaker.open_now(key, self.now, dice);
                self.note(key, Event::Opened(dice), change)?;
            }
        }
        Ok(())
    }

    fn compare(&self) -> Result<(), TestCaseError> {
        for (key, log) in (0..).zip(&self.logs) {
            let present = Present::of(&self.settings, log);
            prop_assert_eq!(self.breaker.state(key, self.now), present.state(self.now));
            prop_assert_eq!(self.breaker.peek(key, self.now), present.answer(self.now));
            prop_assert_eq!(self.breaker.is_idle(key, self.now), present.is_idle(self.now));
            prop_assert!(!present.half_open(self.now) || present.in_flight() <= self.settings.probes as usize);
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]
    #[test]
    fn agrees_with_the_model(
        settings in settings(),
        acts in proptest::collection::vec(act(), 1..150),
        start in 0u64..20_000_000_000,
    ) {
        let now = Instant::from_nanos(start);
        let mut pair = Pair {
            settings, breaker: Breaker::new(settings), logs: Default::default(), flying: Vec::new(), calls: 0, now,
        };
        for act in acts {
            pair.act(act)?;
            pair.compare()?;
        }
    }
}
