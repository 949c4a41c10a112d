//! Chaos as a layer: a failure instead of a call, a delay and a hang before it, and what they are to other policies.

use std::sync::Arc;
use std::sync::Mutex as StdMutex;
use std::time::Duration;

use mountain_core::effect::{Deadline, Verdict};
use mountain_core::error::Owner;
use mountain_core::observe::{Doing, Event, Injected, Observer};
use mountain_core::policy::breaker::{Breaker, Settings as BreakerSettings, State};
use mountain_core::policy::chaos::{Chaos, Figures, Settings};
use mountain_core::policy::limit::{self, Limit, Overflow};
use mountain_core::policy::retry::{Backoff, Jitter};
use mountain_core::policy::{Layer, timeout_from_the_start};
use mountain_core::sync::Mutex;
use mountain_core::time::Instant;

use super::common::{Act, Fail, Run, Stage, at, at_once, doubling, inherited, limit as within, play, secs};

fn chaos(fail: f64, hang: f64, slow: f64) -> Arc<Chaos> {
    Arc::new(Chaos::new(Settings { fail, hang, slow, delay: (secs(3), secs(3)), seed: 7, errno: None }))
}

fn fails() -> Arc<Chaos> {
    on(chaos(1.0, 0.0, 0.0))
}

fn hangs() -> Arc<Chaos> {
    on(chaos(0.0, 1.0, 0.0))
}

fn late() -> Arc<Chaos> {
    on(chaos(0.0, 0.0, 1.0))
}

fn on(chaos: Arc<Chaos>) -> Arc<Chaos> {
    chaos.enter();
    chaos
}

fn value() -> Stage {
    Stage::new([Act::value(secs(1))])
}

#[test]
fn off_it_is_not_there() {
    let chaos = chaos(1.0, 0.0, 0.0);
    let layer = || Layer::Chaos(chaos.clone());
    for stack in [vec![layer()], vec![layer(), within(2), layer()], vec![at_once(3), within(2), layer(), layer()]] {
        let stage = value();
        assert!(matches!(stage.play(&stack), (Ok(7), ended) if ended == at(1)));
        assert_eq!(stage.leaf.begun(), [at(0)]);
    }
    assert_eq!(chaos.figures(), Figures::default());
    assert_eq!(timeout_from_the_start(&[layer(), within(2)]), secs(2));
}

#[test]
fn a_failure_comes_instead_of_the_call() {
    let chaos = fails();
    let stage = value();
    let (result, ended) = stage.play(&[within(5), Layer::Chaos(chaos.clone()), within(2)]);
    assert!(matches!(result, Err(Fail::Injected(1))));
    assert_eq!((ended, stage.leaf.begun().len()), (at(0), 0));
    assert_eq!(chaos.figures(), Figures { calls: 1, failed: 1, ..Figures::default() });
    assert_eq!(timeout_from_the_start(&[Layer::Chaos(chaos), within(2)]), Duration::MAX);
}

#[test]
fn each_attempt_of_a_retry_is_a_call_and_counts() {
    let chaos = on(chaos(0.9, 0.0, 0.0));
    let stage = value();
    let (result, _) = stage.play(&[at_once(None), Layer::Chaos(chaos.clone())]);
    let Figures { calls, failed, .. } = chaos.figures();
    assert!(matches!(result, Ok(7)) && failed > 0 && failed + 1 == calls);
    assert_eq!(stage.leaf.begun().len(), 1);
    let attempts: Vec<_> = stage.leaf.courses().into_iter().map(|(_, attempt, _)| attempt).collect();
    assert_eq!(attempts, (1..=failed as u32).collect::<Vec<_>>());
}

#[test]
fn a_retry_that_does_not_name_it_raises_it() {
    let stage =
        Stage::on([Act::hangs()], |_, fault| Ok(if matches!(fault, Fail::Injected(_)) { Verdict::No } else { Verdict::Yes }));
    assert!(matches!(stage.play(&[doubling(3), Layer::Chaos(fails())]).0, Err(Fail::Injected(1))));
}

#[test]
fn a_delay_is_waited_for_before_the_inside_begins() {
    let stage = value();
    let (result, ended) = stage.play(&[Layer::Chaos(late()), within(2)]);
    assert!(matches!(result, Ok(7)));
    assert_eq!((stage.leaf.begun(), ended), (vec![at(3)], at(4)), "the limit inside begins after it");
    assert_eq!(stage.leaf.told()[0].at, at(5));
    let (result, ended) = play(&[within(2), Layer::Chaos(late())], [Act::value(secs(1))]);
    assert!(matches!(result.unwrap_err().parts(), (Owner::Layer(0), 1, None)));
    assert_eq!(ended, at(2));
}

#[test]
fn a_delay_that_ends_is_no_attempt_of_its_own() {
    let stage = Stage::new([Act::fails(1), Act::value(secs(0))]);
    assert!(stage.play(&[doubling(3), Layer::Chaos(late())]).0.is_ok());
    assert_eq!(stage.leaf.courses().len(), 1);
    assert_eq!(stage.leaf.courses(), [], "and was taken");
    assert_eq!(stage.leaf.begun(), [at(3), at(7)]);
}

#[test]
fn a_hang_ends_by_a_deadline_and_is_an_attempt() {
    let stage = value();
    let stack = [within(5), doubling(2), within(1), Layer::Chaos(hangs())];
    let (result, ended) = stage.play(&stack);
    assert!(matches!(result.unwrap_err().parts(), (Owner::Layer(2), 2, None)));
    assert_eq!((ended, stage.leaf.begun().len()), (at(3), 0));
    let stage = value();
    let (result, ended) = stage.play_under(&[Layer::Chaos(hangs())], inherited(4), true);
    assert!(matches!(result.unwrap_err().parts(), (Owner::Inherited, 1, None)));
    assert_eq!(ended, at(4));
}

#[test]
fn a_hang_ends_when_the_chaos_is_off() {
    let (stage, chaos) = (value(), hangs());
    let stack = [Layer::Chaos(chaos.clone())];
    let call = stage.call();
    let mut run = Run::new(&stage, &call, &stack, Deadline::NONE, true);
    assert!(run.poll().is_pending() && run.poll().is_pending());
    assert_eq!(stage.clock.armed(), 0);
    stage.clock.advance(secs(9));
    assert!(!run.woken());
    chaos.leave();
    assert!(run.woken());
    assert!(matches!(run.finish(), Ok(7)));
    assert_eq!(stage.leaf.begun(), [at(9)]);
    assert_eq!(call.trace.attempts(), 1);
}

#[test]
fn a_dropped_call_leaves_nothing_behind() {
    for chaos in [hangs(), late()] {
        let stage = value();
        let stack = [
            Layer::Limit(Limit::new(limit::Settings { n: 1, most_waiting: Some(0), overflow: Overflow::Reject })),
            Layer::Chaos(chaos.clone()),
        ];
        for _ in 0..3 {
            let call = stage.call();
            // Its place in the limit is given back each time.
            assert!(Run::new(&stage, &call, &stack, Deadline::NONE, true).poll().is_pending());
            assert_eq!(stage.clock.armed(), 0);
        }
        chaos.leave();
        assert!(matches!(stage.play(&stack).0, Ok(7)));
    }
}

fn breaker(slow_call: Option<Duration>) -> Arc<Mutex<Breaker>> {
    Arc::new(Mutex::new(Breaker::new(BreakerSettings {
        failures: Some(1),
        failure_rate: 2.0,
        minimum_calls: 1,
        slow_call,
        slow_rate: 1.0,
        window: secs(60),
        cooldown: Backoff { initial: 30.0, factor: 1.0, max: 30.0, jitter: Jitter::None },
        probes: 1,
    })))
}

#[test]
fn a_breaker_counts_it_and_its_probe_is_given_back() {
    let (stage, chaos, around) = (value(), fails(), breaker(None));
    let now = |stage: &Stage| around.lock().state(0, stage.clock.now());
    let stack = [Layer::Breaker(around.clone()), Layer::Chaos(chaos.clone())];
    assert!(matches!(stage.play(&stack).0, Err(Fail::Injected(1))));
    assert_eq!(now(&stage), State::Open);
    assert!(matches!(stage.play(&stack).0, Err(Fail::Refused(_))));
    assert_eq!(chaos.figures().calls, 1, "a refused call does not come to it");
    stage.clock.advance(secs(31));
    assert!(matches!(stage.play(&stack).0, Err(Fail::Injected(1))), "a probe fails, too");
    assert_eq!(now(&stage), State::Open);
    chaos.leave();
    stage.clock.advance(secs(31));
    assert!(matches!(stage.play(&stack).0, Ok(7)));
    assert_eq!(now(&stage), State::Closed);
    assert_eq!(stage.leaf.begun().len(), 1);
}

#[test]
fn a_hang_is_a_failure_to_a_breaker_and_a_delay_is_slow() {
    let (stage, around) = (value(), breaker(None));
    assert!(stage.play(&[within(2), Layer::Breaker(around.clone()), Layer::Chaos(hangs())]).0.is_err());
    assert_eq!(around.lock().state(0, stage.clock.now()), State::Open);
    let (stage, around) = (value(), breaker(Some(secs(2))));
    assert!(stage.play(&[Layer::Breaker(around.clone()), Layer::Chaos(late())]).0.is_ok());
    assert_eq!(around.lock().state(0, stage.clock.now()), State::Open);
}

#[test]
fn a_fallback_stands_in_for_it() {
    let stage = value();
    assert!(matches!(stage.play(&[Layer::Fallback, Layer::Chaos(fails())]).0, Ok(7)));
    assert!(stage.is_degraded());
    assert!(matches!(stage.leaf.stood_in_for()[..], [(0, Fail::Injected(1))]));
}

#[derive(Default)]
struct Told(StdMutex<Vec<Event>>);

impl Observer for Told {
    fn told(&self, event: Event, _now: Instant) {
        self.0.lock().unwrap().push(event);
    }
}

#[test]
fn it_is_told() {
    let told = |chaos: Arc<Chaos>| {
        let told = Told::default();
        let stage = value();
        let call = stage.call().observed(Some(&told));
        let stack = [within(60), Layer::Chaos(chaos.clone())];
        let mut run = Run::new(&stage, &call, &stack, Deadline::NONE, true);
        let waits = run.poll().is_pending().then(|| call.trace.now.doing());
        chaos.leave();
        if waits.is_some() {
            assert!(run.finish().is_ok());
        }
        let events = std::mem::take(&mut *told.0.lock().unwrap());
        (waits, events)
    };
    assert_eq!(told(fails()), (None, vec![Event::Attempt(1), Event::Chaos(1, Injected::Failure)]));
    let after = [Event::Waited(1), Event::Attempt(1)];
    let (waits, events) = told(late());
    assert_eq!(waits, Some(Doing::Waiting(1)));
    assert_eq!(events, [&[Event::Chaos(1, Injected::Delay(secs(3)))], &after[..]].concat());
    let (waits, events) = told(hangs());
    assert_eq!(waits, Some(Doing::Waiting(1)));
    assert_eq!(events, [&[Event::Chaos(1, Injected::Hang)], &after[..]].concat());
}
