//! Holders of a limit that await works, which hold permits, wait and await on their own: a caller is refused as
//! Reentered where all holders wait, and only there. They are compared with a model that knows all links.

use std::sync::Arc;
use std::task::{Poll, Waker};

use mountain_core::effect::{Deadline, Holder, Landed, PermitContext, Submitted};
use mountain_core::error::Reason;
use mountain_core::policy::limit::{Limit, Noted, Overflow, Permit, Queue, Settings};
use mountain_core::schedule::Priority;
use mountain_core::time::Clock;
use proptest::collection::vec;
use proptest::prelude::*;

use super::cache::Shop;
use super::common::{Run, Stage};

const WORKS: usize = 4;

/// Code that may hold something: a work's own, or that of a permit within `up`.
struct Code {
    held: Arc<PermitContext>,
    permit: Option<Permit>,
    up: Option<usize>,
    work: Option<usize>,
}

struct Waiter {
    number: u32,
    code: Option<usize>,
    noted: Option<Noted>,
}

struct World {
    limit: Arc<Limit>,
    clock: Arc<Clock>,
    works: Vec<Arc<Submitted>>,
    codes: Vec<Code>,
    /// A work and the code that awaits it.
    awaits: Vec<(usize, usize)>,
    over: [bool; WORKS],
    waiters: Vec<Waiter>,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Take,
    Ask,
    GiveBack,
    Leave,
    Await,
    LeaveWork,
    End,
}

impl World {
    fn new(n: u32) -> Self {
        let works: Vec<_> = (0..WORKS).map(|_| Submitted::new(false)).collect();
        let code = |(at, work): (usize, &Arc<Submitted>)| Code {
            held: PermitContext::of_work(work.clone()),
            permit: None,
            up: None,
            work: Some(at),
        };
        World {
            limit: Limit::new(Settings { n, most_waiting: None, overflow: Overflow::Reject }),
            clock: Clock::manual(),
            codes: works.iter().enumerate().map(code).collect(),
            works,
            awaits: Vec::new(),
            over: [false; WORKS],
            waiters: Vec::new(),
        }
    }

    /// The permits that wait for `code`.
    fn reach(&self, code: usize) -> Vec<usize> {
        let (mut seen, mut left) = (vec![code], vec![code]);
        while let Some(at) = left.pop() {
            let above = self.awaits.iter().filter(|(work, _)| self.codes[at].work == Some(*work)).map(|(_, code)| *code);
            for next in above.chain(self.codes[at].up) {
                if !seen.contains(&next) {
                    seen.push(next);
                    left.push(next);
                }
            }
        }
        seen.retain(|at| self.codes[*at].permit.is_some());
        seen
    }

    /// Whether every holder waits, and one of them for that waiter.
    fn is_stuck(&self, waiter: Option<usize>) -> bool {
        let waits = self.waiters.iter().filter_map(|waiter| waiter.code).flat_map(|code| self.reach(code));
        let mut blocked: Vec<_> = waits.collect();
        blocked.sort_unstable();
        blocked.dedup();
        let taken = self.codes.iter().filter(|code| code.permit.is_some()).count();
        waiter.is_some_and(|code| !self.reach(code).is_empty()) && blocked.len() == taken
    }

    fn code(&mut self, permit: Permit, up: Option<usize>) {
        let work = up.and_then(|up| self.codes[up].work);
        self.codes.push(Code { held: permit.held().clone(), permit: Some(permit), up, work });
    }

    fn does(&mut self, step: Step, one: usize, other: usize) {
        let any = one % (self.codes.len() + 1);
        let code = (any < self.codes.len()).then_some(any);
        let held = code.map(|code| self.codes[code].held.clone());
        match step {
            Step::Take => {
                if let Some(permit) = self.limit.try_permit(&self.clock, 0, held) {
                    self.code(permit, code);
                }
            }
            Step::Ask => {
                let holder = held.clone().map(Holder::from);
                let told = held.as_ref().map(|held| self.limit.reenters(0, held));
                self.waiters.push(Waiter { number: 0, code, noted: None });
                let stuck = self.is_stuck(code);
                match self.limit.queue(0, Priority::Normal, holder.as_ref(), || Waker::noop().clone()) {
                    Queue::Go => {
                        self.waiters.pop();
                        self.code(self.limit.permit_granted(&self.clock, 0, held), code);
                    }
                    Queue::Wait(number) => {
                        let noted = self.limit.note_wait(number, held.as_ref());
                        let last = self.waiters.last_mut().unwrap();
                        (last.number, last.noted) = (number, noted);
                        assert!(!stuck && told != Some(true));
                    }
                    Queue::Refused(why) => {
                        self.waiters.pop();
                        assert!(why == Reason::Reentered && stuck && told == Some(true));
                    }
                }
            }
            Step::GiveBack => {
                if let Some(code) = code {
                    self.codes[code].permit = None;
                }
            }
            Step::Leave if !self.waiters.is_empty() => {
                let waiter = self.waiters.swap_remove(one % self.waiters.len());
                drop(waiter.noted);
                self.limit.leave(self.limit.name(), waiter.number, &self.clock);
            }
            Step::Await => {
                let (work, Some(code)) = (other % WORKS, code) else { return };
                if !self.over[work] {
                    self.awaits.push((work, code));
                }
                assert!(self.works[work].awaited_by(Some(&self.codes[code].held), None));
            }
            Step::LeaveWork if !self.awaits.is_empty() => {
                let (work, code) = self.awaits.swap_remove(one % self.awaits.len());
                self.works[work].left_by(Some(&self.codes[code].held), None);
            }
            Step::End => {
                let work = other % WORKS;
                self.over[work] = true;
                self.awaits.retain(|(of, _)| *of != work);
                self.works[work].over();
            }
            Step::Leave | Step::LeaveWork => {}
        }
    }

    /// The waiters look: a refused one had no holder left that could go on, and of those that wait on each has.
    fn look(&mut self) {
        let stuck: Vec<bool> = self.waiters.iter().map(|waiter| self.is_stuck(waiter.code)).collect();
        let mut at = 0;
        for stuck in stuck {
            match self.limit.look(self.waiters[at].number, || Waker::noop().clone()) {
                None => at += 1,
                Some(found) => {
                    let waiter = self.waiters.remove(at);
                    match found {
                        Ok(()) => {
                            let up = waiter.code.map(|code| self.codes[code].held.clone());
                            self.code(self.limit.permit_granted(&self.clock, 0, up), waiter.code);
                        }
                        Err(why) => assert!(why == Reason::Reentered && stuck, "refused, though a holder could go on"),
                    }
                }
            }
        }
        assert!(self.waiters.iter().all(|waiter| !self.is_stuck(waiter.code)), "waits, though no holder can go on");
    }

    /// Everything ends. Nothing is left over: as in the beginning, it takes all holders to wait.
    fn ends(mut self) {
        while !self.waiters.is_empty() {
            self.does(Step::Leave, 0, 0);
        }
        self.codes.iter_mut().for_each(|code| code.permit = None);
        assert_eq!(self.limit.counts(), (0, [0; 3]));
        let n = self.limit.capacity();
        let permits: Vec<_> = (0..n).map(|_| self.limit.try_permit(&self.clock, 0, None).unwrap()).collect();
        let asks = |permit: &Permit| {
            let holder = Holder::from(permit.held().clone());
            self.limit.queue(0, Priority::Normal, Some(&holder), || Waker::noop().clone())
        };
        for (at, permit) in permits.iter().enumerate() {
            let last = at + 1 == n as usize;
            assert!(if last { matches!(asks(permit), Queue::Refused(_)) } else { matches!(asks(permit), Queue::Wait(_)) });
        }
    }
}

fn steps() -> impl Strategy<Value = Vec<(Step, usize, usize)>> {
    let step = prop_oneof![
        3 => Just(Step::Take),
        4 => Just(Step::Ask),
        2 => Just(Step::GiveBack),
        1 => Just(Step::Leave),
        4 => Just(Step::Await),
        2 => Just(Step::LeaveWork),
        1 => Just(Step::End),
    ];
    vec((step, 0usize..100, 0usize..100), 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn refused_where_all_holders_wait_and_only_there(n in 1u32..4, steps in steps()) {
        let mut world = World::new(n);
        for (step, one, other) in steps {
            world.does(step, one, other);
            world.look();
        }
        world.ends();
    }
}

/// Two callers that hold all permits of a limit share a flight that needs one. The first, which began it, leaves.
#[test]
fn what_its_callers_hold_waits_for_a_flight_as_long_as_they_do() {
    let shop = Shop::new(60, 0, 10);
    let two = Limit::new(Settings { n: 2, most_waiting: None, overflow: Overflow::Reject });
    let permits = [0, 1].map(|_| two.try_permit(&shop.clock, 0, None).unwrap());
    let stages = permits.each_ref().map(|permit| {
        let mut stage = shop.caller(1);
        stage.terms.held = Some(permit.held().clone().into());
        stage
    });
    let (calls, stack) = (stages.each_ref().map(Stage::call), shop.stack());
    let mut runs = [0, 1].map(|n| Some(Run::new(&stages[n], &calls[n], &stack, Deadline::NONE, true)));
    assert!(runs[0].as_mut().unwrap().poll().is_pending());
    let (_, landing) = stages[0].leaf.flights().pop().unwrap();
    let inside = landing.flight().permits();
    let ask = || two.queue(0, Priority::Normal, Some(&inside.clone().into()), || Waker::noop().clone());
    let Queue::Wait(number) = ask() else { panic!("the second holder could go on") };
    let noted = two.note_wait(number, Some(&inside));
    assert_eq!(two.look(number, || Waker::noop().clone()), None);
    // The second joins: no holder can go on.
    assert!(runs[1].as_mut().unwrap().poll().is_pending());
    assert_eq!(two.look(number, || Waker::noop().clone()), Some(Err(Reason::Reentered)));
    drop(noted);
    assert!(matches!(ask(), Queue::Refused(Reason::Reentered)));
    // The first leaves and keeps its permit: it may give it back.
    runs[0] = None;
    let Queue::Wait(number) = ask() else { panic!("the first holder can go on") };
    let noted = two.note_wait(number, Some(&inside));
    // Nor does the second wait for a flight that has landed.
    landing.land(Landed::Value(Arc::new(5u32)));
    assert!(!two.reenters(0, &inside) && !two.reenters(0, permits[0].held()));
    assert!(matches!(runs[1].as_mut().unwrap().poll(), Poll::Ready(Ok(5))));
    drop(noted);
    two.leave(two.name(), number, &shop.clock);
    drop(permits);
    assert_eq!(two.counts(), (0, [0; 3]));
}
