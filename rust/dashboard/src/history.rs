//! The last ten minutes, a sample a second: the charts of a page show it as soon as the page is opened. It is kept
//! whether a page is open or not, and is bounded: the headlines, and the liveliest effects.

use std::collections::{BTreeMap, VecDeque};

use serde_json::{Map, Value, json};

/// Samples of a series.
pub(crate) const SAMPLES: usize = 600;
/// Effects that have a series.
const SERIES: usize = 200;
/// Rounds without a start after which a series may become another effect's.
const STALE: u64 = 30;

/// The headlines, in the order of a sample.
const HEADLINES: [&str; 6] = ["effects", "errors", "running", "waiting", "lag", "threads"];

/// The counters of an effect, at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counted {
    pub(crate) started: u64,
    /// Failed or timed out.
    pub(crate) wrong: u64,
}

/// Measured values, as opposed to counters.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Gauged {
    pub(crate) running: u64,
    pub(crate) waiting: u64,
    pub(crate) threads_busy: u64,
    /// Seconds.
    pub(crate) lag: f64,
}

#[derive(Default)]
pub(crate) struct History {
    round: u64,
    headlines: VecDeque<[f32; HEADLINES.len()]>,
    effects: BTreeMap<String, Line>,
    series: usize,
}

#[derive(Default)]
struct Line {
    last: Counted,
    /// The round of its last start.
    changed: u64,
    /// The last round in which the effect was there.
    seen: u64,
    /// Starts a second.
    rates: Option<VecDeque<f32>>,
}

impl History {
    /// Starts from these counts, so that earlier runs are not seen as new.
    pub(crate) fn new<'a>(effects: impl Iterator<Item = (&'a str, Counted)>) -> Self {
        let line = |last| Line { last, ..Line::default() };
        History { effects: effects.map(|(name, last)| (name.to_owned(), line(last))).collect(), ..History::default() }
    }

    /// Takes a sample, `seconds` after the last one.
    pub(crate) fn sample<'a>(&mut self, seconds: f64, effects: impl Iterator<Item = (&'a str, Counted)>, gauged: Gauged) {
        self.round += 1;
        let rate = |more: u64| (more as f64 / seconds.max(1e-3)) as f32;
        let (mut started, mut wrong) = (0, 0);
        let mut wanting = Vec::new();
        for (name, now) in effects {
            if !self.effects.contains_key(name) {
                self.effects.insert(name.to_owned(), Line::default());
            }
            let Some(line) = self.effects.get_mut(name) else { continue };
            let more = now.started.saturating_sub(line.last.started);
            started += more;
            wrong += now.wrong.saturating_sub(line.last.wrong);
            (line.last, line.seen) = (now, self.round);
            if more > 0 {
                line.changed = self.round;
                if line.rates.is_none() {
                    wanting.push((name.to_owned(), rate(more)));
                }
            }
            if let Some(rates) = &mut line.rates {
                push(rates, rate(more));
            }
        }
        let (round, series) = (self.round, &mut self.series);
        self.effects.retain(|_, line| {
            let gone = line.seen != round;
            // A series of zeros only is dropped.
            if line.rates.is_some() && (gone || round - line.changed > SAMPLES as u64) {
                line.rates = None;
                *series -= 1;
            }
            !gone
        });
        for (name, rate) in wanting {
            self.give_series(&name, rate);
        }
        let Gauged { running, waiting, threads_busy, lag } = gauged;
        push(&mut self.headlines, [rate(started), rate(wrong), running as f32, waiting as f32, lag as f32, threads_busy as f32]);
    }

    fn give_series(&mut self, name: &str, rate: f32) {
        if self.series >= SERIES {
            let mut stale = self.effects.values_mut().filter(|line| line.rates.is_some() && self.round - line.changed > STALE);
            let Some(first) = stale.next() else { return };
            let stalest = stale.fold(first, |a, b| if b.changed < a.changed { b } else { a });
            stalest.rates = None;
            self.series -= 1;
        }
        if let Some(line) = self.effects.get_mut(name) {
            line.rates = Some(VecDeque::from([rate]));
            self.series += 1;
        }
    }

    /// The history as JSON for the page, oldest first.
    pub(crate) fn shown(&self) -> Value {
        let headline = |at: usize| self.headlines.iter().map(|sample| number(sample[at])).collect::<Vec<_>>();
        let headlines: Map<_, _> =
            HEADLINES.into_iter().enumerate().map(|(at, name)| (name.to_owned(), json!(headline(at)))).collect();
        let series = |line: &Line| line.rates.as_ref().map(|rates| rates.iter().copied().map(number).collect::<Vec<_>>());
        let effects: Map<_, _> =
            self.effects.iter().filter_map(|(name, line)| Some((name.clone(), json!(series(line)?)))).collect();
        json!({"headlines": headlines, "effects": effects})
    }
}

fn push<T>(samples: &mut VecDeque<T>, sample: T) {
    if samples.len() == SAMPLES {
        samples.pop_front();
    }
    samples.push_back(sample);
}

/// With few digits, as there are many; whole numbers without a point.
fn number(sample: f32) -> Value {
    let rounded = (f64::from(sample) * 1e4).round() / 1e4;
    if rounded.fract() == 0.0 && rounded < 1e15 { json!(rounded as u64) } else { json!(rounded) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(started: u64, wrong: u64) -> Counted {
        Counted { started, wrong }
    }

    #[test]
    fn samples_are_rates_and_what_was_before_is_none() {
        let mut history = History::new([("old", counted(1000, 10))].into_iter());
        history.sample(1.0, [("old", counted(1000, 10)), ("new", counted(3, 0))].into_iter(), Gauged::default());
        let gauged = Gauged { running: 4, waiting: 3, threads_busy: 2, lag: 0.25 };
        history.sample(2.0, [("old", counted(1010, 11)), ("new", counted(3, 0))].into_iter(), gauged);
        assert_eq!(
            history.shown(),
            json!({
                "headlines": {
                    "effects": [3, 5], "errors": [0, 0.5], "running": [0, 4],
                    "waiting": [0, 3], "lag": [0, 0.25], "threads": [0, 2],
                },
                "effects": {"new": [3, 0], "old": [5]},
            })
        );
    }

    #[test]
    fn ten_minutes_are_kept_of_so_many_effects_and_what_is_gone_leaves_nothing() {
        let mut history = History::default();
        let names: Vec<String> = (0..2 * SERIES).map(|n| format!("effect {n}")).collect();
        for round in 1..=SAMPLES as u64 + 100 {
            // All of the first half start at each round; the others once, late.
            let counted = |n: usize| counted(if n < SERIES { round } else { u64::from(round > 650) }, 0);
            let all = names.iter().enumerate().map(|(n, name)| (name.as_str(), counted(n)));
            history.sample(1.0, all, Gauged::default());
            assert!(history.series <= SERIES);
        }
        let shown = history.shown();
        assert_eq!(shown["headlines"]["effects"].as_array().map(Vec::len), Some(SAMPLES));
        assert_eq!(shown["effects"].as_object().map(Map::len), Some(SERIES));
        assert!(shown["effects"].get("effect 0").is_some() && shown["effects"].get("effect 399").is_none());
        history.sample(1.0, std::iter::empty(), Gauged::default());
        assert_eq!((history.effects.len(), history.series), (0, 0));
    }

    #[test]
    fn a_stale_series_becomes_another_effect_s_and_one_of_zeros_goes() {
        let mut history = History::default();
        let names: Vec<String> = (0..=SERIES).map(|n| format!("effect {n:03}")).collect();
        let mut go = |round: u64, last: u64| {
            let counted = |n: usize| counted(if n < SERIES { u64::from(round >= n as u64 % 2) } else { last }, 0);
            history.sample(1.0, names.iter().enumerate().map(|(n, name)| (name.as_str(), counted(n))), Gauged::default());
            let shown = history.shown();
            let there = shown["effects"].as_object().map_or(0, Map::len);
            (there, shown["effects"].get("effect 000").is_some(), shown["effects"].get("effect 200").is_some())
        };
        assert_eq!(go(0, 0), (SERIES / 2, true, false));
        assert_eq!(go(1, 1), (SERIES, true, false), "none is stale");
        for round in 2..40 {
            go(round, 1);
        }
        assert_eq!(go(40, 2), (SERIES, false, true), "the stalest has gone");
        for round in 41..700 {
            go(round, 2);
        }
        assert_eq!(go(700, 2), (0, false, false));
    }
}
