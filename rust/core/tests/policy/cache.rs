//! Cache as a layer: one flight for all, its end, its loss, and what is kept how long.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use mountain_core::effect::{Around, Deadline, Flight, Gate, Keys, Landed, Term, Terms};
use mountain_core::error::{Reason, Refused};
use mountain_core::policy::Layer;
use mountain_core::policy::breaker::{self, Breaker, State};
use mountain_core::policy::cache::{Cache, Settings, cached};
use mountain_core::policy::retry::{Backoff, Jitter};
use mountain_core::sync::Mutex;
use mountain_core::time::Clock;

use super::common::{Act, Fail, Run, Stage, limit, secs};

pub(crate) struct Shop {
    pub(crate) clock: Arc<Clock>,
    /// By which the keys look after themselves.
    other: Arc<Clock>,
    keys: Arc<Keys>,
    cache: Arc<Cache>,
}

impl Shop {
    pub(crate) fn new(ttl: u64, stale: u64, max_size: usize) -> Self {
        let cache = Cache::new(Settings { ttl: secs(ttl), stale: secs(stale), max_size });
        Shop {
            clock: Clock::manual(),
            other: Clock::manual(),
            keys: Keys::new(|_| (), Duration::from_secs(1), |_, _| true),
            cache,
        }
    }

    /// A caller that asks for `key`.
    pub(crate) fn caller(&self, key: usize) -> Stage {
        let mut stage = Stage::at(&self.clock, [Act::value(secs(0))]);
        let used = self.keys.intern(&self.other, key as u64, || key, |known| Ok::<_, Infallible>(known == key)).unwrap();
        stage.terms = Terms { layers: vec![Term { key: Some(used), cost: 1.0 }], ..Terms::default() };
        stage
    }

    pub(crate) fn stack(&self) -> [Layer; 1] {
        [Layer::Cache(self.cache.clone())]
    }

    /// The value that a caller gets, and the flights that it begins, which end so.
    fn ask(&self, key: usize, landed: Option<u32>) -> (Option<u32>, usize) {
        let stage = self.caller(key);
        let (call, stack) = (stage.call(), self.stack());
        let mut run = Run::new(&stage, &call, &stack, Deadline::NONE, true);
        let mut polled = run.poll();
        let flights = stage.leaf.flights();
        let begun = flights.len();
        for (_, landing) in flights {
            landing.land(landed.map_or(Landed::Lost, |value| Landed::Value(Arc::new(value))));
        }
        if polled.is_pending() {
            polled = run.poll();
        }
        match polled {
            Poll::Ready(Ok(value)) => (Some(value), begun),
            _ => (None, begun),
        }
    }
}

#[test]
fn all_who_miss_wait_for_one_flight() {
    let shop = Shop::new(60, 0, 10);
    let stages: Vec<Stage> = (0..500).map(|_| shop.caller(1)).collect();
    let calls: Vec<_> = stages.iter().map(Stage::call).collect();
    let stack = shop.stack();
    let mut runs: Vec<_> =
        stages.iter().zip(&calls).map(|(stage, call)| Run::new(stage, call, &stack, Deadline::NONE, true)).collect();
    assert!(runs.iter_mut().all(|run| run.poll().is_pending()));
    let mut flights: Vec<_> = stages.iter().flat_map(|stage| stage.leaf.flights()).collect();
    let (layer, landing) = flights.pop().unwrap();
    assert!(flights.is_empty() && layer == 0);
    // The first caller goes: the others wait on.
    runs.remove(0);
    landing.land(Landed::Value(Arc::new(5u32)));
    assert!(runs.iter_mut().all(|run| run.woken() && matches!(run.poll(), Poll::Ready(Ok(5)))));
    assert_eq!(shop.ask(1, None), (Some(5), 0));
}

#[test]
fn with_nobody_left_the_flight_is_asked_to_end_and_a_lost_one_is_begun_anew() {
    let shop = Shop::new(60, 0, 10);
    let (one, two, stack) = (shop.caller(1), shop.caller(1), shop.stack());
    let (call, other) = (one.call(), two.call());
    let mut first = Run::new(&one, &call, &stack, Deadline::NONE, true);
    let mut second = Run::new(&two, &other, &stack, Deadline::NONE, true);
    assert!(first.poll().is_pending() && second.poll().is_pending());
    // Its loop is closed, with the first caller.
    drop(first);
    drop(one.leaf.flights());
    assert!(second.woken() && second.poll().is_pending());
    let mut flights = two.leaf.flights();
    let (_, landing) = flights.pop().unwrap();
    let flight = landing.flight().clone();
    assert!(!flight.is_over());
    drop(second);
    assert!(flight.is_over(), "nobody waits");
    landing.land(Landed::Value(Arc::new(5u32)));
    // Its value came all the same.
    assert_eq!(shop.ask(1, None), (Some(5), 0));
}

#[test]
fn a_failure_is_for_those_who_wait_and_is_not_kept() {
    let shop = Shop::new(60, 0, 10);
    let (one, two, stack) = (shop.caller(1), shop.caller(1), shop.stack());
    let (call, other) = (one.call(), two.call());
    let runs = [(&one, &call), (&two, &other)];
    let mut runs = runs.map(|(stage, call)| Run::new(stage, call, &stack, Deadline::NONE, true));
    assert!(runs.iter_mut().all(|run| run.poll().is_pending()));
    for (_, landing) in one.leaf.flights() {
        landing.land(Landed::Failed(Arc::new(9u32)));
    }
    assert!(runs.iter_mut().all(|run| matches!(run.poll(), Poll::Ready(Err(Fail::Plain(9))))));
    assert_eq!(shop.ask(1, Some(1)), (Some(1), 1));
}

#[test]
fn fresh_stale_and_gone() {
    let shop = Shop::new(10, 5, 10);
    assert_eq!(shop.ask(1, Some(1)), (Some(1), 1));
    shop.clock.advance(secs(9));
    assert_eq!(shop.ask(1, None), (Some(1), 0));
    shop.clock.advance(secs(1));
    // Stale: given out at once, to a caller whose flight brings nothing, then to one whose flight brings
    // another.
    assert_eq!(shop.ask(1, None), (Some(1), 1));
    assert_eq!(shop.ask(1, Some(2)), (Some(1), 1));
    assert_eq!(shop.ask(1, None), (Some(2), 0));
    shop.clock.advance(secs(15));
    assert_eq!(shop.ask(1, Some(3)), (Some(3), 1));
}

#[test]
fn as_many_as_there_is_room_for_and_none_after_clear() {
    let shop = Shop::new(60, 0, 5);
    for key in 0..20 {
        assert_eq!(shop.ask(key, Some(key as u32)), (Some(key as u32), 1));
    }
    assert_eq!(shop.cache.counts().1, 5);
    assert_eq!(shop.ask(19, None), (Some(19), 0));
    // Forgotten while it is under way: its waiters get it, and it is not kept.
    for clear in [true, false] {
        let stage = shop.caller(19);
        shop.cache.clear();
        let (call, stack) = (stage.call(), shop.stack());
        let mut run = Run::new(&stage, &call, &stack, Deadline::NONE, true);
        assert!(run.poll().is_pending());
        if clear {
            shop.cache.clear();
        } else {
            shop.cache.invalidate(stage.terms.key(0));
        }
        for (_, landing) in stage.leaf.flights() {
            landing.land(Landed::Value(Arc::new(4u32)));
        }
        assert!(matches!(run.poll(), Poll::Ready(Ok(4))));
        assert_eq!(shop.cache.counts().1, 0);
    }
    shop.other.advance(secs(2));
    assert!(shop.keys.is_empty(), "keys go with their values");
}

#[test]
fn flights_that_would_wait_for_each_other_are_refused() {
    let shop = Shop::new(60, 0, 10);
    let (one, mut two, stack) = (shop.caller(1), shop.caller(2), shop.stack());
    let call = one.call();
    let mut first = Run::new(&one, &call, &stack, Deadline::NONE, true);
    assert!(first.poll().is_pending());
    let (_, landing) = one.leaf.flights().pop().unwrap();
    let a: Arc<Flight> = landing.flight().clone();
    // In the flight of key 1, key 2 is asked for; in that one's flight, key 1.
    two.terms.flight = Some(a);
    let other = two.call();
    let mut second = Run::new(&two, &other, &stack, Deadline::NONE, true);
    assert!(second.poll().is_pending());
    let (_, inner) = two.leaf.flights().pop().unwrap();
    let mut three = shop.caller(1);
    three.terms.flight = Some(inner.flight().clone());
    let (result, _) = three.play(&stack);
    assert!(matches!(result, Err(Fail::Refused(Refused { layer: 0, why: Reason::Reentered, .. }))));
}

#[test]
fn a_limit_of_one_caller_is_not_the_flights() {
    let shop = Shop::new(60, 0, 10);
    let mut stage = shop.caller(1);
    stage.terms.layers.insert(0, Term::default());
    let other = shop.caller(1);
    let (call, stack) = (other.call(), shop.stack());
    let mut stays = Run::new(&other, &call, &stack, Deadline::NONE, true);
    assert!(stays.poll().is_pending());
    let (result, _) = stage.play(&[limit(1), Layer::Cache(shop.cache.clone())]);
    assert!(matches!(result, Err(Fail::TimedOut(_))));
    let (_, landing) = other.leaf.flights().pop().unwrap();
    assert!(!landing.flight().is_over());
    landing.land(Landed::Value(Arc::new(5u32)));
    assert!(matches!(stays.poll(), Poll::Ready(Ok(5))));
}

/// The outcome of the last caller, whose deadline of one second passes while the flight ends with `landed` a second
/// later.
fn last_to_leave(landed: Option<Landed>) -> Result<u32, Fail> {
    let shop = Shop::new(60, 0, 10);
    let mut stage = shop.caller(1);
    stage.terms.layers.insert(0, Term::default());
    let (call, stack) = (stage.call(), [limit(1), Layer::Cache(shop.cache.clone())]);
    let mut run = Run::new(&stage, &call, &stack, Deadline::NONE, true);
    assert!(run.poll().is_pending());
    let (layer, landing) = stage.leaf.flights().pop().unwrap();
    assert_eq!(layer, 1);
    shop.clock.advance(secs(1));
    assert!(run.poll().is_pending() && landing.flight().is_over(), "it is asked to end, and its end is awaited");
    // A caller that comes meanwhile begins another, and asked again it stays asked.
    assert_eq!(shop.ask(1, Some(3)), (Some(3), 1));
    shop.clock.advance(secs(1));
    assert!(run.poll().is_pending());
    match landed {
        Some(landed) => landing.land(landed),
        None => drop(landing),
    }
    assert!(run.woken());
    let Poll::Ready(result) = run.poll() else { panic!("it waits on") };
    // The late value is older than the one that is there.
    assert_eq!(shop.ask(1, None), (Some(3), 0));
    result
}

#[test]
fn the_last_to_leave_by_a_limit_has_what_its_flight_ends_with_as_of_a_leaf() {
    assert!(matches!(last_to_leave(None), Err(Fail::TimedOut(t)) if t.cause.is_none()));
    assert!(matches!(last_to_leave(Some(Landed::Value(Arc::new(5u32)))), Ok(5)));
    let failed = last_to_leave(Some(Landed::Failed(Arc::new(7u32))));
    assert!(matches!(failed, Err(Fail::TimedOut(t)) if matches!(t.cause, Some(Fail::Plain(7)))));
}

#[test]
fn the_last_to_be_cancelled_sees_the_end_and_has_nothing_of_it() {
    for landed in [Landed::Lost, Landed::Value(Arc::new(5u32)), Landed::Failed(Arc::new(7u32))] {
        let shop = Shop::new(60, 0, 10);
        let stages = [shop.caller(1), shop.caller(1)];
        let (calls, stack) = (stages.each_ref().map(Stage::call), shop.stack());
        let mut runs: Vec<_> =
            stages.iter().zip(&calls).map(|(stage, call)| Run::new(stage, call, &stack, Deadline::NONE, true)).collect();
        assert!(runs.iter_mut().all(|run| run.poll().is_pending()));
        let (_, landing) = stages[0].leaf.flights().pop().unwrap();
        let [first, last] = calls.each_ref().map(|call| &call.trace.awaits);
        assert!(!first.cancel() && !landing.flight().is_over(), "another waits");
        assert!(last.cancel() && last.cancel() && landing.flight().is_over());
        assert!(!last.has_ended() && runs[1].poll().is_pending());
        landing.land(landed);
        assert!(runs[1].poll().is_pending(), "no layer goes on");
        assert!(last.has_ended());
    }
}

#[test]
fn who_joins_as_the_last_one_leaves_does_not_count() {
    let (flight, waker) = (Arc::new(Flight::default()), std::task::Waker::noop());
    let first = flight.join();
    assert!(flight.ask(first) && flight.ask(first));
    let late = flight.join();
    assert!(matches!(flight.look(late, waker), Some(Landed::Lost)));
    flight.leave(late);
    assert!(flight.look(first, waker).is_none());
}

#[test]
fn a_breaker_around_counts_the_flight_of_who_begins_it() {
    let shop = Shop::new(60, 0, 10);
    let cooldown = Backoff { initial: 30.0, factor: 1.0, max: 30.0, jitter: Jitter::None };
    let settings = breaker::Settings {
        failures: Some(1),
        failure_rate: 0.5,
        minimum_calls: 20,
        slow_call: None,
        slow_rate: 1.0,
        window: secs(60),
        cooldown,
        probes: 1,
    };
    let breaker = Arc::new(Mutex::new(Breaker::new(settings)));
    let stack = [Layer::Breaker(breaker.clone()), shop.stack()[0].clone()];
    let asks = |key| {
        // The key is the cache's, the second layer.
        let mut stage = shop.caller(key);
        stage.terms.layers.insert(0, Term { key: None, cost: 1.0 });
        stage
    };
    let state = || breaker.lock().state(0, shop.clock.now());
    let first = asks(1);
    let call = first.call();
    let mut run = Run::new(&first, &call, &stack, Deadline::NONE, true);
    assert!(run.poll().is_pending());
    for (_, landing) in first.leaf.flights() {
        landing.land(Landed::Failed(Arc::new(7u32)));
    }
    assert!(matches!(run.poll(), Poll::Ready(Err(Fail::Plain(_)))));
    assert_eq!(state(), State::Open);
    let second = asks(2);
    let result = second.play(&stack).0;
    assert!(matches!(result, Err(Fail::Refused(Refused { layer: 0, .. }))), "{result:?}");
    assert!(second.leaf.flights().is_empty());
    shop.clock.advance(secs(30));

    // Half-open, the caller that begins a flight is the probe; the others are refused, whatever they ask for.
    let others = [asks(3), asks(3), asks(4)];
    let calls: Vec<_> = others.iter().map(Stage::call).collect();
    let mut runs: Vec<_> =
        others.iter().zip(&calls).map(|(other, call)| Run::new(other, call, &stack, Deadline::NONE, true)).collect();
    assert!(runs[0].poll().is_pending());
    assert!(matches!(runs[1].poll(), Poll::Ready(Err(Fail::Refused(_)))));
    assert!(matches!(runs[2].poll(), Poll::Ready(Err(Fail::Refused(_)))));
    for (_, landing) in others[0].leaf.flights() {
        landing.land(Landed::Value(Arc::new(5u32)));
    }
    assert!(matches!(runs[0].poll(), Poll::Ready(Ok(5))));
    assert_eq!(state(), State::Closed);
    assert!(matches!(asks(3).play(&stack).0, Ok(5)));
}

#[test]
fn to_wait_for_a_flight_is_an_attempt_that_gates_around_let_in() {
    let shop = Shop::new(60, 0, 10);
    let asked = std::sync::atomic::AtomicUsize::new(0);
    for open in [true, false] {
        let stage = shop.caller(1);
        let call = stage.call();
        let admit = || {
            asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            if open { Ok(()) } else { Err(Refused { layer: 9, why: Reason::Open(secs(1)), attempt: 1 }) }
        };
        let gate = Gate { admit: &admit, out: None };
        let around = Around { gate: Some(&gate), ..Around::call(call.terms, Deadline::NONE) };
        let mut waits = Box::pin(cached(&call, 0, &shop.cache, around, std::future::pending));
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        if open {
            assert!(waits.as_mut().poll(&mut cx).is_pending());
            drop(stage.leaf.flights());
            // It was lost: another is begun, in the same attempt.
            assert!(waits.as_mut().poll(&mut cx).is_pending());
            assert_eq!((stage.leaf.flights().len(), call.trace.attempts()), (1, 1));
        } else {
            let Poll::Ready(Err(Fail::Refused(refused))) = waits.as_mut().poll(&mut cx) else { panic!("it is let in") };
            assert_eq!((refused.layer, call.trace.attempts(), stage.leaf.flights().len()), (9, 0, 0));
        }
    }
    // At each beginning; the gate admits each call once.
    assert_eq!(asked.into_inner(), 3);
    // A caller that is refused leaves no flight for others to wait for.
    assert_eq!(shop.ask(1, Some(3)), (Some(3), 1));
    // Nor is a value that is there an attempt.
    let stage = shop.caller(1);
    assert_eq!(stage.play(&shop.stack()).0.unwrap(), 3);
    assert_eq!(stage.call().trace.attempts(), 0);
}

#[test]
fn a_flight_of_another_process_is_nobodys_to_wait_for() {
    let shop = Shop::new(60, 0, 10);
    let (stage, stack) = (shop.caller(1), shop.stack());
    let call = stage.call();
    assert!(Run::new(&stage, &call, &stack, Deadline::NONE, true).poll().is_pending());
    let first = shop.caller(2);
    let call = first.call();
    let mut run = Run::new(&first, &call, &stack, Deadline::NONE, true);
    assert!(run.poll().is_pending());
    let (_, landing) = first.leaf.flights().pop().unwrap();
    landing.flight().forget();
    assert_eq!(shop.ask(2, Some(5)), (Some(5), 1));
    std::mem::forget(landing);
}
