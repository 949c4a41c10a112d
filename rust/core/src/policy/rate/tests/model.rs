//! Random schedules of everything that can be done to a limiter, held against the reference.

use proptest::prelude::*;
use std::collections::HashSet;

use super::super::*;
use super::reference::{HORIZON, Reference, Rule, Waiting};

const KEYS: u32 = 3;

#[derive(Clone, Debug)]
enum Op {
    Ask { key: u32, priority: Priority, cost: u64, within: Option<u64> },
    Leave(usize),
    Start(usize),
    Withdraw(usize),
    Due,
    Advance(u64),
    Next,
    Charge { key: u32, cost: u64 },
    Refund { key: u32, cost: u64 },
    Pause { key: u32, for_: u64 },
    Change { n: u64, per: u64 },
    Forget(u32),
}

#[derive(Clone, Debug)]
struct Start {
    at: u64,
    cost: u64,
    /// When it was granted, and under which rule; a charge has none.
    order: usize,
    rule: Option<Rule>,
    /// The place in the order of the change of rule before which it had left the window.
    forgotten: usize,
}

struct Held {
    offer: Offer,
    cost: u64,
    order: usize,
    rule: Rule,
}

/// The limiter beside a reference for each key, and all that has started.
struct Bench {
    now: u64,
    rule: Rule,
    max_wait: Option<u64>,
    limiter: Limiter,
    keys: Vec<Reference>,
    held: Vec<Held>,
    trace: Vec<Vec<Start>>,
    order: usize,
    /// All costs were whole, and those asked for one or nothing: turns are exact.
    even: bool,
}

fn t(nanos: u64) -> Instant {
    Instant::from_nanos(nanos)
}

fn quarters(cost: u64) -> f64 {
    cost as f64 / 4.0
}

impl Bench {
    fn new(rule: Rule, max_wait: Option<u64>) -> Self {
        let settings = Settings {
            n: quarters(rule.n),
            per: Duration::from_nanos(rule.per),
            burst: rule.burst.map(quarters),
            max_wait: max_wait.map(Duration::from_nanos),
        };
        Bench {
            now: 0,
            rule,
            max_wait,
            limiter: Limiter::new(&settings),
            keys: vec![Reference::new(rule); KEYS as usize],
            held: Vec::new(),
            trace: vec![Vec::new(); KEYS as usize],
            order: 0,
            even: true,
        }
    }

    fn run(&mut self, op: Op) {
        match op {
            Op::Ask { key, priority, cost, within } => self.ask(key, priority, cost, within),
            Op::Leave(i) => {
                let lanes = (0..self.keys.len()).flat_map(|key| [(key, 0), (key, 1), (key, 2)]);
                let len = |(key, lane): (usize, usize)| self.keys[key].line.lanes[lane].len();
                let all: Vec<_> = lanes.flat_map(|at| (0..len(at)).map(move |i| (at, i))).collect();
                if let Some(&((key, lane), i)) = all.get(i % all.len().max(1)) {
                    let gone = self.keys[key].line.remove(lane, i).unwrap();
                    self.limiter.leave(gone.ticket);
                    self.limiter.leave(gone.ticket);
                }
            }
            Op::Start(i) if !self.held.is_empty() => self.start(i % self.held.len()),
            Op::Withdraw(i) if !self.held.is_empty() => {
                let held = self.held.swap_remove(i % self.held.len());
                self.keys[held.offer.key as usize].reserved -= held.cost;
                self.limiter.withdraw(held.offer, t(self.now));
            }
            Op::Start(_) | Op::Withdraw(_) => {}
            Op::Due => self.due(),
            Op::Advance(d) => self.now += d,
            Op::Next => {
                if self.limiter.next() != Instant::NEVER {
                    self.now = self.now.max(self.limiter.next().nanos());
                }
                self.due();
            }
            Op::Charge { key, cost } => {
                self.limiter.charge(key, quarters(cost), t(self.now));
                self.count(key, Start { at: self.now, cost, order: self.order, rule: None, forgotten: usize::MAX });
                self.even &= cost.is_multiple_of(4);
                self.order += 1;
            }
            Op::Refund { key, cost } => {
                self.limiter.charge(key, -quarters(cost), t(self.now));
                self.keys[key as usize].refund(cost, self.now);
                self.even &= cost.is_multiple_of(4);
            }
            Op::Pause { key, for_ } => {
                self.limiter.pause(key, t(self.now + for_));
                let paused = &mut self.keys[key as usize].paused;
                *paused = (*paused).max(self.now + for_);
            }
            Op::Change { n, per } => self.change(n, per),
            Op::Forget(key) => {
                if self.limiter.is_idle(key, t(self.now)) {
                    self.limiter.forget(key);
                }
            }
        }
        for (i, key) in self.keys.iter().enumerate() {
            assert_eq!(self.limiter.waiting_on(i as u32), key.line.len());
            assert_eq!(self.limiter.is_idle(i as u32, t(self.now)), key.is_idle(self.now));
        }
        assert_eq!(self.limiter.waiting(), self.keys.iter().map(|k| k.line.len()).sum::<usize>());
    }

    fn ask(&mut self, key: u32, priority: Priority, cost: u64, within: Option<u64>) {
        let now = self.now;
        self.even &= cost == 0 || cost == 4;
        let k = &mut self.keys[key as usize];
        let until = within.map_or(Instant::NEVER, |d| t(now + d));
        let give_up = self.max_wait.map_or(u64::MAX, |d| now + d);
        let limit = until.nanos().min(give_up);
        // A bucket that is emptied each time overflows between the moment when it is full and the end of that
        // nanosecond.
        let slack = if self.rule.burst.is_some() { k.line.len() as u64 } else { 0 };
        // Of a lane that goes in part, the costs that come first are only bounded.
        let foretold = |k: &Reference| {
            let (turn, part) = k.turn(cost, priority, now);
            (turn, self.even || (self.rule.burst.is_some() && !part))
        };
        match self.limiter.ask(key, priority, quarters(cost), t(now), until) {
            Answer::Go(offer) => {
                assert!(k.fits(cost, now) && (k.is_next(priority) || cost == 0));
                if cost != 0 {
                    k.line.pass(priority as usize);
                }
                self.hold(offer, cost);
            }
            Answer::Wait(ticket) => {
                assert!(cost <= k.most() && !(k.fits(cost, now) && (k.is_next(priority) || cost == 0)));
                let (turn, exact) = foretold(k);
                assert!(!exact || turn <= limit.saturating_add(slack));
                k.line.push(Waiting { ticket, cost, give_up, priority });
            }
            Answer::Refused { retry_after: Duration::MAX } => assert!(cost > k.most()),
            Answer::Refused { retry_after } => {
                assert!(cost <= k.most());
                let ((turn, exact), said) = (foretold(k), now + retry_after.as_nanos() as u64);
                assert!(limit < said && said <= turn, "{limit} {said} {turn}");
                assert!(!exact || turn - said <= slack, "{said} {turn}");
            }
        }
    }

    fn hold(&mut self, offer: Offer, cost: u64) {
        self.keys[offer.key as usize].reserved += cost;
        self.held.push(Held { offer, cost, order: self.order, rule: self.rule });
        self.order += 1;
    }

    fn start(&mut self, i: usize) {
        let held = self.held.swap_remove(i);
        let key = held.offer.key;
        self.keys[key as usize].reserved -= held.cost;
        self.limiter.started(held.offer, t(self.now));
        let start = Start { at: self.now, cost: held.cost, order: held.order, rule: Some(held.rule), forgotten: usize::MAX };
        self.count(key, start);
    }

    fn count(&mut self, key: u32, start: Start) {
        self.keys[key as usize].start(start.cost, start.at);
        self.trace[key as usize].push(start);
    }

    fn due(&mut self) {
        let (now, promised) = (self.now, self.limiter.next());
        let mut turns = Vec::new();
        self.limiter.due(t(now), &mut turns);
        assert_eq!(promised <= t(now), !turns.is_empty(), "woken for nothing, or not woken");
        assert!(self.limiter.next() > t(now));
        let mut rounds = vec![0; self.keys.len()];
        let mut round = 0;
        for (ticket, turn) in turns {
            let waits = |k: &Reference| k.line.iter().any(|w| w.ticket == ticket);
            let key = self.keys.iter().position(waits).expect("one who waits");
            rounds[key] += 1;
            assert!(rounds[key] >= round, "one key went twice while another could have gone");
            round = rounds[key];
            let k = &mut self.keys[key];
            if let Ok(offer) = turn {
                let waited = k.line.start().unwrap();
                assert!(waited.ticket == ticket && offer.key as usize == key && k.fits(waited.cost, now));
                self.hold(offer, waited.cost);
            } else {
                assert!(k.line.first().is_some_and(|w| !k.fits(w.cost, now)));
                let lane = k.line.lanes.iter().position(|l| l.front().is_some_and(|w| w.ticket == ticket)).unwrap();
                assert!(k.line.remove(lane, 0).unwrap().give_up <= now);
            }
        }
        for k in &self.keys {
            assert!(k.line.first().is_none_or(|w| !k.fits(w.cost, now)));
            assert!(k.line.iter().all(|w| w.give_up > now));
        }
    }

    fn change(&mut self, n: u64, per: u64) {
        let mut turns = Vec::new();
        self.limiter.change(quarters(n), Duration::from_nanos(per), t(self.now), &mut turns);
        let past = |at: u64| at + self.rule.per <= self.now;
        let mut hopeless = HashSet::new();
        for (k, trace) in self.keys.iter_mut().zip(&mut self.trace) {
            k.starts.retain(|s| !past(s.0));
            trace.iter_mut().filter(|s| past(s.at)).for_each(|s| s.forgotten = s.forgotten.min(self.order));
            k.rule = Rule { n, per, burst: None };
            hopeless.extend(k.line.iter().filter(|w| w.cost > n).map(|w| w.ticket));
            k.line.retain(|w| w.cost <= n);
        }
        self.rule = Rule { n, per, burst: None };
        assert!(turns.iter().all(|(_, turn)| *turn == Err(Duration::MAX)));
        assert_eq!(turns.len(), hopeless.len());
        assert_eq!(turns.into_iter().map(|(ticket, _)| ticket).collect::<HashSet<_>>(), hopeless);
    }

    /// Each window around each start, under the rule by which that was granted, holds no more than the rule's `n` of
    /// what was granted before it: for one rule and the last granted in a window, that is all that is in the window.
    fn no_window_holds_more(&self) {
        for trace in &self.trace {
            for (start, rule) in trace.iter().filter_map(|s| Some((s, s.rule?))).filter(|(s, _)| s.cost != 0) {
                for end in trace.iter().map(|s| s.at).filter(|&end| start.at <= end && end < start.at + rule.per) {
                    let within = |s: &&Start| s.at <= end && end < s.at + rule.per;
                    let counts = |s: &&Start| s.order <= start.order && s.forgotten > start.order;
                    let sum: u64 = trace.iter().filter(within).filter(counts).map(|s| s.cost).sum();
                    assert!(sum <= rule.n, "{sum} in the window to {end}: {trace:?}");
                }
            }
        }
    }

    /// With each offer taken up at once every wait ends, and then there is nothing left.
    fn end(mut self) {
        let mut waits = self.limiter.waiting();
        loop {
            while !self.held.is_empty() {
                self.start(0);
            }
            if waits == 0 {
                break;
            }
            let next = self.limiter.next();
            assert!(next < t(HORIZON), "left waiting");
            self.now = self.now.max(next.nanos());
            self.due();
            assert!(self.limiter.waiting() < waits, "woken for nothing");
            waits = self.limiter.waiting();
        }
        self.check_empty();
    }

    /// When all leave, all has left.
    fn leave(mut self) {
        while self.limiter.waiting() != 0 {
            self.run(Op::Leave(self.limiter.waiting() / 2));
        }
        while !self.held.is_empty() {
            self.run(Op::Withdraw(0));
        }
        self.check_empty();
    }

    fn check_empty(mut self) {
        assert_eq!((self.limiter.next(), self.limiter.waiting()), (Instant::NEVER, 0));
        for key in 0..KEYS {
            assert!(self.limiter.is_idle(key, t(HORIZON)));
            self.limiter.forget(key);
        }
        assert_eq!(self.limiter.keys.bytes(), 0);
    }
}

fn costs(even: bool) -> BoxedStrategy<u64> {
    if even { prop_oneof![1 => Just(0), 9 => Just(4)].boxed() } else { (0u64..18).boxed() }
}

fn op(even: bool, refunds: bool, changes: bool) -> impl Strategy<Value = Op> {
    let key = 0..KEYS;
    let n = if even { (1u64..6).prop_map(|n| n * 4).boxed() } else { (1u64..24).boxed() };
    let charge = if even { Just(4).boxed() } else { (0u64..18).boxed() };
    prop_oneof![
        12 => (key.clone(), 0usize..3, costs(even), proptest::option::of(0u64..60))
            .prop_map(|(key, lane, cost, within)| Op::Ask { key, priority: Priority::ALL[lane], cost, within }),
        2 => any::<usize>().prop_map(Op::Leave),
        6 => any::<usize>().prop_map(Op::Start),
        2 => any::<usize>().prop_map(Op::Withdraw),
        2 => Just(Op::Due),
        4 => (0u64..30).prop_map(Op::Advance),
        6 => Just(Op::Next),
        1 => (key.clone(), charge.clone()).prop_map(|(key, cost)| Op::Charge { key, cost }),
        1 => (key.clone(), charge).prop_map(move |(key, cost)| if refunds { Op::Refund { key, cost } } else { Op::Due }),
        1 => (key.clone(), 0u64..40).prop_map(|(key, for_)| Op::Pause { key, for_ }),
        1 => (n, 1u64..25).prop_map(move |(n, per)| if changes { Op::Change { n, per } } else { Op::Due }),
        1 => key.prop_map(Op::Forget),
    ]
}

/// The rule is strict if it may change.
fn schedule(refunds: bool, changes: bool) -> impl Strategy<Value = (Rule, Option<u64>, Vec<Op>)> {
    any::<bool>().prop_flat_map(move |even| {
        let unit = if even { 4 } else { 1 };
        let burst = if changes { Just(None).boxed() } else { proptest::option::weighted(0.7, 1u64..24).boxed() };
        let rule = (1u64..24 / unit, 1u64..25, burst);
        let rule = rule.prop_map(move |(n, per, burst)| Rule { n: n * unit, per, burst });
        (rule, proptest::option::weighted(0.3, 0u64..50), proptest::collection::vec(op(even, refunds, changes), 1..150))
    })
}

proptest! {
    #[test]
    fn no_window_ever_holds_more(((rule, max_wait, ops), leave) in (schedule(false, true), any::<bool>())) {
        let mut bench = Bench::new(rule, max_wait);
        for op in ops {
            bench.run(op);
        }
        bench.no_window_holds_more();
        if leave { bench.leave() } else { bench.end() }
    }

    #[test]
    fn agrees_with_the_reference(((rule, max_wait, ops), leave) in (schedule(true, false), any::<bool>())) {
        let mut bench = Bench::new(rule, max_wait);
        for op in ops {
            bench.run(op);
        }
        if leave { bench.leave() } else { bench.end() }
    }
}
