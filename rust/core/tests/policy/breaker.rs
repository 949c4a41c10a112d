//! CircuitBreaker as a layer: what counts, and that a probe takes its place when the inside has admitted it.

use std::cell::RefCell;
use std::sync::Arc;
use std::task::Poll;

use mountain_core::effect::{Deadline, Verdict};
use mountain_core::error::{Reason, Refused};
use mountain_core::policy::Layer;
use mountain_core::policy::breaker::{Breaker, Cause, Change, Ended, Settings, State, Told};
use mountain_core::policy::limit::{Limit, Overflow};
use mountain_core::policy::retry::{Backoff, Jitter};
use mountain_core::sync::Mutex;
use mountain_core::time::Clock;

use super::common::{Act, End, Fail, On, Run, Stage, at_once, doubling, limit, secs};

fn after(failures: u32) -> Arc<Mutex<Breaker>> {
    let cooldown = Backoff { initial: 30.0, factor: 1.0, max: 30.0, jitter: Jitter::None };
    let settings = Settings {
        failures: Some(failures),
        failure_rate: 0.5,
        minimum_calls: 20,
        slow_call: None,
        slow_rate: 1.0,
        window: secs(60),
        cooldown,
        probes: 2,
    };
    Arc::new(Mutex::new(Breaker::new(settings)))
}

fn state(breaker: &Mutex<Breaker>, stage: &Stage) -> State {
    breaker.lock().state(0, stage.clock.now())
}

#[test]
fn a_limit_inside_or_outside_counts_once_and_a_cancel_not_at_all() {
    let breaker = after(2);
    let stack = [limit(2), Layer::Breaker(breaker.clone())];
    let inside = [Layer::Breaker(breaker.clone()), limit(2)];
    let stage = Stage::new([Act::hangs()]);
    for _ in 0..20 {
        let call = stage.call();
        assert!(Run::new(&stage, &call, &stack, Deadline::NONE, true).poll().is_pending());
        stage.leaf.abandon();
    }
    assert_eq!(state(&breaker, &stage), State::Closed);
    assert!(stage.play(&stack).0.is_err());
    assert_eq!(state(&breaker, &stage), State::Closed);
    assert!(stage.play(&inside).0.is_err());
    assert_eq!(state(&breaker, &stage), State::Open);
    let (result, _) = stage.play(&stack);
    assert!(matches!(result, Err(Fail::Refused(Refused { layer: 1, why: Reason::Open(after), .. })) if after == secs(30)));
}

#[test]
fn a_retry_inside_that_gives_up_counts_by_its_failure() {
    let all: On = |_, _| Ok(Verdict::Yes);
    let the_retry_only: On = |layer, _| Ok(if layer == 2 { Verdict::Yes } else { Verdict::No });
    for (on, then) in [(all, State::Open), (the_retry_only, State::Closed)] {
        let breaker = after(1);
        let stage = Stage::on([Act::fails(1)], on);
        let (result, _) = stage.play(&[limit(4), Layer::Breaker(breaker.clone()), doubling(None)]);
        assert!(matches!(result, Err(Fail::Plain(1))));
        assert_eq!(state(&breaker, &stage), then);
    }
}

#[test]
fn a_limit_that_passes_in_a_backoff_inside_counts() {
    let breaker = after(1);
    let stage = Stage::new([Act::fails(1)]);
    let (call, stack) = (stage.call(), [limit(4), Layer::Breaker(breaker.clone()), doubling(None)]);
    let mut run = Run::new(&stage, &call, &stack, Deadline::NONE, true);
    assert!(run.poll().is_pending());
    stage.clock.advance(secs(60));
    assert!(matches!(run.poll(), Poll::Ready(Err(Fail::TimedOut(_)))), "woken late, as by a loop that was held up");
    drop(run);
    assert_eq!(state(&breaker, &stage), State::Open);
}

#[test]
fn what_on_does_not_name_and_a_value_count_as_they_should() {
    let breaker = after(2);
    let stage =
        Stage::on([Act::fails(1)], |_, fault| Ok(if matches!(fault, Fail::Plain(1)) { Verdict::No } else { Verdict::Yes }));
    let stack = [Layer::Breaker(breaker.clone())];
    for _ in 0..5 {
        assert!(stage.play(&stack).0.is_err());
    }
    assert_eq!(state(&breaker, &stage), State::Closed);
    let stage =
        Stage::at(&stage.clock, [Act::fails(2), Act::value(secs(0)), Act::fails(2), Act::new(secs(0), End::Exit), Act::fails(2)]);
    for _ in 0..4 {
        let _ = stage.play(&stack);
    }
    assert_eq!(state(&breaker, &stage), State::Closed);
    let _ = stage.play(&stack);
    assert_eq!(state(&breaker, &stage), State::Open);
}

#[test]
fn of_a_hundred_callers_so_many_are_probes_also_with_a_retry_around() {
    for retry in [false, true] {
        let breaker = after(1);
        let clock = Clock::manual();
        let failing = Stage::at(&clock, [Act::fails(1)]);
        let plain = [Layer::Breaker(breaker.clone())];
        let _ = failing.play(&plain);
        clock.advance(secs(30));
        let stack: Vec<Layer> = if retry { vec![at_once(Some(3)), plain[0].clone()] } else { plain.to_vec() };
        // A rejection is not what a retry goes on from, unless it is named.
        let stages: Vec<Stage> = (0..100)
            .map(|_| {
                Stage::beside(&clock, [Act::value(secs(1))], |_, fault| {
                    Ok(if matches!(fault, Fail::Refused(_)) { Verdict::No } else { Verdict::Yes })
                })
            })
            .collect();
        let calls: Vec<_> = stages.iter().map(Stage::call).collect();
        let mut runs: Vec<_> =
            stages.iter().zip(&calls).map(|(stage, call)| Run::new(stage, call, &stack, Deadline::NONE, true)).collect();
        let begun = runs.iter_mut().filter_map(|run| run.poll().is_pending().then_some(())).count();
        assert_eq!((begun, stages.iter().map(|stage| stage.leaf.begun().len()).sum::<usize>()), (2, 2));
        drop(runs);
        assert_eq!(state(&breaker, &failing), State::HalfOpen, "probes that were cancelled free their places");
    }
}

#[test]
fn a_probe_takes_its_slot_only_when_the_inside_has_admitted_it() {
    let breaker = after(1);
    let stage = Stage::new([Act::fails(1), Act::value(secs(0))]);
    let _ = stage.play(&[Layer::Breaker(breaker.clone())]);
    stage.clock.advance(secs(30));
    let one = Limit::new(mountain_core::policy::limit::Settings { n: 1, most_waiting: None, overflow: Overflow::Reject });
    let taken = one.try_permit(&stage.clock, 0, None).unwrap();
    let stack = [Layer::Breaker(breaker.clone()), Layer::Limit(one)];
    let calls: Vec<_> = (0..5).map(|_| stage.call()).collect();
    let mut runs: Vec<_> = calls.iter().map(|call| Run::new(&stage, call, &stack, Deadline::NONE, true)).collect();
    // None of the calls that wait inside is a probe yet.
    assert!(runs.iter_mut().all(|run| run.poll().is_pending()));
    drop(taken);
    assert!(runs[0].woken() && runs[0].poll().is_ready());
    assert_eq!(state(&breaker, &stage), State::HalfOpen);
    assert!(runs[1].woken() && runs[1].poll().is_ready());
    assert_eq!(state(&breaker, &stage), State::Closed);
}

#[test]
fn who_waited_inside_is_judged_by_the_time_at_which_it_begins() {
    let breaker = after(1);
    let stage = Stage::new([Act::fails(1), Act::value(secs(0))]);
    let one = Limit::new(mountain_core::policy::limit::Settings { n: 1, most_waiting: None, overflow: Overflow::Reject });
    let taken = one.try_permit(&stage.clock, 0, None).unwrap();
    let stack = [Layer::Breaker(breaker.clone()), Layer::Limit(one)];
    let call = stage.call();
    let mut run = Run::new(&stage, &call, &stack, Deadline::NONE, true);
    assert!(run.poll().is_pending());
    stage.clock.advance(secs(1));
    let _ = stage.play(&stack[..1]);
    assert_eq!(state(&breaker, &stage), State::Open);
    stage.clock.advance(secs(30));
    drop(taken);
    assert!(run.woken());
    assert!(matches!(run.poll(), std::task::Poll::Ready(Ok(_))), "the cooldown is over");
}

#[test]
fn what_stands_inside_does_not_mend_its_refusal() {
    let breaker = after(1);
    for inside in [Layer::Fallback, at_once(Some(3))] {
        let stage = Stage::on([Act::value(secs(0))], |_, _| Ok(Verdict::Yes));
        breaker.lock().open_now(0, stage.clock.now(), 0.0);
        let (result, when) = stage.play(&[Layer::Breaker(breaker.clone()), inside]);
        assert!(matches!(result, Err(Fail::Refused(Refused { layer: 0, attempt: 1, why: Reason::Open(_) }))), "{result:?}");
        assert_eq!((stage.leaf.begun().len(), stage.leaf.stood_in_for().len(), when), (0, 0, stage.clock.now()));
        breaker.lock().reset(0);
    }
}

#[test]
fn a_refusal_says_which_attempt_it_would_have_been() {
    let stage =
        Stage::on([Act::fails(1)], |_, fault| Ok(if matches!(fault, Fail::Plain(_)) { Verdict::Yes } else { Verdict::No }));
    let (result, _) = stage.play(&[at_once(Some(5)), Layer::Breaker(after(2))]);
    assert!(matches!(result, Err(Fail::Refused(Refused { layer: 1, attempt: 3, .. }))), "{result:?}");
}

thread_local! {
    static HEARD: RefCell<Vec<(Change, String)>> = const { RefCell::new(Vec::new()) };
}

fn hear(told: Told, ended: Ended<'_>) {
    assert!(told.name.is_none() && told.key.is_none());
    let ended = match ended {
        Ended::Well => "well".into(),
        Ended::OutOfTime => "out of time".into(),
        Ended::Failed(fault) => format!("{:?}", fault.downcast_ref::<Fail>().expect("the leaf's own")),
    };
    HEARD.with_borrow_mut(|heard| heard.push((told.change, ended)));
}

#[test]
fn each_change_is_told_with_what_the_call_ended_with() {
    let breaker = after(2);
    breaker.lock().ear = Some(hear);
    let stack = [limit(4), Layer::Breaker(breaker.clone())];
    let stage = Stage::new([Act::fails(1), Act::fails(7), Act::fails(8), Act::value(secs(0))]);
    // Two fail, the breaker refuses one; the first probe fails, then two succeed; at last the time is up, twice.
    for wait in [0, 0, 0, 30, 30, 0] {
        stage.clock.advance(secs(wait));
        let _ = stage.play(&stack);
    }
    let hangs = Stage::at(&stage.clock, [Act::hangs()]);
    for _ in 0..2 {
        let _ = hangs.play(&stack);
    }
    let right = [
        (Change::Opened(Cause::InARow { failures: 2 }), "Plain(7)"),
        (Change::HalfOpen { probes: 2 }, "well"),
        (Change::Opened(Cause::ProbeFailed { probes: 2 }), "Plain(8)"),
        (Change::HalfOpen { probes: 2 }, "well"),
        (Change::Closed { probes: 2 }, "well"),
        (Change::Opened(Cause::InARow { failures: 2 }), "out of time"),
    ];
    assert_eq!(HEARD.take(), right.map(|(change, ended)| (change, ended.to_owned())));
}
