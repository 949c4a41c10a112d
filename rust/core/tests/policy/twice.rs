//! A layer that flies its inside twice at once: which flight wins, how the other ends, and the deadlines and cancels.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;

use mountain_core::effect::{Abort, Abortable, Call, Deadline, Flight, Landed, Landing};
use mountain_core::error::Owner;
use mountain_core::policy::Layer;
use proptest::prelude::*;

use super::common::{Act, Fail, Run, Scripted, Stage, at, doubling, inherited, limit, secs};

/// Begins its inside again after two seconds.
const TWICE: Layer = Layer::Trial(secs(2));

fn stage() -> Stage {
    Stage::new([Act::hangs()])
}

fn value(n: u32) -> Landed {
    Landed::Value(Arc::new(n))
}

fn failed(n: u32) -> Landed {
    Landed::Failed(Arc::new(n))
}

/// Counts how often a flight is asked to end.
#[derive(Default)]
struct Asked(AtomicUsize);

impl Abortable for Asked {
    fn abort(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Both flights are under way, after two seconds.
fn both<'a>(stage: &'a Stage, call: &'a Call<'a, Scripted>, stack: &'a [Layer]) -> (Run<'a>, [Landing; 2]) {
    let mut run = Run::new(stage, call, stack, Deadline::NONE, true);
    assert!(run.poll().is_pending());
    let mut landings = stage.leaf.flights();
    assert_eq!(landings.len(), 1);
    stage.clock.advance(secs(2));
    assert!(run.woken() && run.poll().is_pending());
    landings.extend(stage.leaf.flights());
    assert!(landings.iter().all(|(layer, landing)| *layer + 1 == stack.len() && !landing.flight().is_over()));
    let landings: [Landing; 2] = landings.into_iter().map(|(_, landing)| landing).collect::<Vec<_>>().try_into().ok().unwrap();
    (run, landings)
}

/// The result of a call whose two flights end with these, the first first.
fn ends(stack: &[Layer], first: Option<Landed>, second: Option<Landed>) -> Result<u32, Fail> {
    let stage = stage();
    let call = stage.call();
    let (mut run, landings) = both(&stage, &call, stack);
    let flights = landings.each_ref().map(|landing| landing.flight().clone());
    for (landing, landed) in landings.into_iter().zip([first, second]) {
        assert!(run.poll().is_pending(), "it waits for both");
        match landed {
            Some(landed) => landing.land(landed),
            None => drop(landing),
        }
        assert!(run.woken());
    }
    let Poll::Ready(result) = run.poll() else { panic!("it waits on") };
    drop(run);
    assert!(flights.iter().all(|flight| Arc::strong_count(flight) == 1), "a wait was not given back");
    assert!(!call.stopping());
    assert_eq!(stage.clock.armed(), 0);
    result
}

#[test]
fn the_first_success_wins_and_the_other_is_asked_once_and_waited_for() {
    for first in [0, 1] {
        let (stage, stack) = (stage(), [TWICE]);
        let call = stage.call();
        let (mut run, landings) = both(&stage, &call, &stack);
        let mut landings = Vec::from(landings);
        let wins = landings.remove(first);
        let loses = landings.remove(0);
        let asked = Arc::new(Asked::default());
        loses.begun(Abort::Shared(asked.clone()));
        let other = loses.flight().clone();
        wins.land(value(5));
        assert!(run.woken() && run.poll().is_pending(), "the other cleans up");
        assert!(other.is_over() && call.stopping());
        assert!(run.poll().is_pending());
        drop(loses);
        assert!(run.woken() && matches!(run.poll(), Poll::Ready(Ok(5))));
        assert_eq!((asked.0.load(Ordering::Relaxed), call.trace.attempts(), stage.clock.armed()), (1, 2, 0));
    }
}

#[test]
fn a_failure_waits_for_the_other() {
    assert!(matches!(ends(&[TWICE], Some(failed(1)), Some(value(5))), Ok(5)));
    assert!(matches!(ends(&[TWICE], Some(failed(1)), Some(failed(2))), Err(Fail::Plain(1))));
    assert!(matches!(ends(&[TWICE], None, Some(failed(2))), Err(Fail::Plain(2))));
    assert!(matches!(ends(&[TWICE], None, None), Err(Fail::Stopped)));
    // The loser's own end changes nothing.
    assert!(matches!(ends(&[TWICE], Some(value(5)), Some(value(6))), Ok(5)));
    assert!(matches!(ends(&[TWICE], Some(value(5)), Some(failed(6))), Ok(5)));
}

#[test]
fn both_at_once() {
    let (stage, stack) = (stage(), [TWICE]);
    let call = stage.call();
    let (mut run, [first, second]) = both(&stage, &call, &stack);
    second.land(value(6));
    first.land(value(5));
    assert!(matches!(run.poll(), Poll::Ready(Ok(_))));
}

#[test]
fn one_that_ends_in_time_is_alone() {
    let (stage, stack) = (stage(), [TWICE]);
    let call = stage.call();
    let mut run = Run::new(&stage, &call, &stack, Deadline::NONE, true);
    assert!(run.poll().is_pending());
    for (_, landing) in stage.leaf.flights() {
        landing.land(value(5));
    }
    assert!(matches!(run.poll(), Poll::Ready(Ok(5))));
    assert_eq!((stage.leaf.flights().len(), call.trace.attempts(), stage.clock.armed()), (0, 1, 0));
}

#[test]
fn a_limit_asks_both_and_waits_for_both() {
    let timed_out = |first, second| {
        let (stage, stack) = (stage(), [limit(3), TWICE]);
        let call = stage.call();
        let (mut run, landings) = both(&stage, &call, &stack);
        stage.clock.advance(secs(1));
        assert!(run.woken() && run.poll().is_pending() && call.stopping());
        for (landing, landed) in landings.into_iter().zip([first, second]) {
            assert!(landing.flight().is_over() && run.poll().is_pending());
            landing.land(landed);
            assert!(run.woken());
        }
        let Poll::Ready(result) = run.poll() else { panic!("it waits on") };
        assert_eq!(stage.clock.armed(), 0);
        result
    };
    let none = timed_out(Landed::Lost, Landed::Lost);
    assert!(matches!(none, Err(Fail::TimedOut(t)) if t.owner == Owner::Layer(0) && t.attempts == 2 && t.cause.is_none()));
    assert!(matches!(timed_out(Landed::Lost, value(5)), Ok(5)), "a late value wins");
    let failed = timed_out(failed(7), Landed::Lost);
    assert!(matches!(failed, Err(Fail::TimedOut(t)) if matches!(t.cause, Some(Fail::Plain(7)))));
}

#[test]
fn nothing_begins_after_a_limit() {
    let (stage, stack) = (stage(), [limit(1), TWICE]);
    let call = stage.call();
    let mut run = Run::new(&stage, &call, &stack, Deadline::NONE, true);
    assert!(run.poll().is_pending());
    let (_, landing) = stage.leaf.flights().pop().unwrap();
    stage.clock.advance(secs(1));
    assert!(run.poll().is_pending() && landing.flight().is_over());
    stage.clock.advance(secs(9));
    assert!(run.poll().is_pending() && stage.leaf.flights().is_empty());
    drop(landing);
    assert!(matches!(run.poll(), Poll::Ready(Err(Fail::TimedOut(_)))));
}

#[test]
fn a_limit_while_the_loser_ends_is_late() {
    let (stage, stack) = (stage(), [limit(3), TWICE]);
    let call = stage.call();
    let (mut run, [first, second]) = both(&stage, &call, &stack);
    first.land(value(5));
    assert!(run.poll().is_pending());
    stage.clock.advance(secs(2));
    assert!(run.poll().is_pending(), "it waits for the end of the loser");
    drop(second);
    assert!(matches!(run.poll(), Poll::Ready(Ok(5))));
}

#[test]
fn a_flight_is_told_the_limit_around_it() {
    let stage = Stage::new([Act::hangs()]);
    let (call, stack) = (stage.call(), [limit(9), TWICE]);
    let mut run = Run::new(&stage, &call, &stack, inherited(60), true);
    assert!(run.poll().is_pending());
    stage.clock.advance(secs(2));
    assert!(run.poll().is_pending());
    let told: Vec<_> = stage.leaf.flown().iter().map(|over| (over.at, over.owner)).collect();
    assert_eq!(told, [(at(9), Owner::Layer(0)); 2]);
    drop(run);
    let _ = stage.leaf.flights();
}

#[test]
fn a_cancel_asks_both_and_has_ended_when_both_have() {
    for ends in [|| Landed::Lost, || value(5), || failed(7)] {
        for first in [0, 1] {
            let (stage, stack) = (stage(), [limit(60), TWICE]);
            let call = stage.call();
            let (mut run, landings) = both(&stage, &call, &stack);
            let awaits = &call.trace.awaits;
            assert!(awaits.cancel() && awaits.cancel() && !awaits.has_ended());
            assert!(landings.iter().all(|landing| landing.flight().is_over()));
            let mut landings = Vec::from(landings);
            landings.remove(first).land(ends());
            assert!(run.woken() && run.poll().is_pending() && !awaits.has_ended(), "one still ends");
            landings.remove(0).land(ends());
            assert!(run.woken() && awaits.has_ended(), "without another poll");
            assert!(run.poll().is_pending(), "no layer goes on");
            drop(run);
            assert_eq!(stage.clock.armed(), 0);
        }
    }
}

#[test]
fn a_cancel_while_the_loser_ends_waits_for_that() {
    let (stage, stack) = (stage(), [TWICE]);
    let call = stage.call();
    let (mut run, [first, second]) = both(&stage, &call, &stack);
    first.land(value(5));
    assert!(run.poll().is_pending());
    assert!(call.trace.awaits.cancel() && !call.trace.awaits.has_ended());
    drop(second);
    assert!(call.trace.awaits.has_ended());
}

#[test]
fn a_cancel_as_one_has_landed_waits_for_the_other() {
    let (stage, stack) = (stage(), [TWICE]);
    let call = stage.call();
    let (mut run, [first, second]) = both(&stage, &call, &stack);
    first.land(value(5));
    // It has landed, and the call has not looked yet.
    assert!(call.trace.awaits.cancel() && run.poll().is_pending() && !call.trace.awaits.has_ended());
    drop(second);
    assert!(call.trace.awaits.has_ended() && run.poll().is_pending());
}

#[test]
fn others_that_wait_for_a_flight_keep_it() {
    let (stage, stack) = (stage(), [limit(3), TWICE]);
    let call = stage.call();
    let (mut run, [first, second]) = both(&stage, &call, &stack);
    let (kept, other) = (first.flight().clone(), first.flight().join());
    stage.clock.advance(secs(1));
    assert!(run.poll().is_pending() && !kept.is_over() && second.flight().is_over());
    drop(second);
    assert!(matches!(run.poll(), Poll::Ready(Err(Fail::TimedOut(_)))), "it waits for its own alone");
    assert!(!kept.is_over());
    kept.leave(other);
    assert!(kept.is_over());
}

#[test]
fn a_run_that_is_dropped_leaves_both() {
    let (stage, stack) = (stage(), [TWICE]);
    let call = stage.call();
    let (run, landings) = both(&stage, &call, &stack);
    drop(run);
    assert!(landings.iter().all(|landing| landing.flight().is_over() && Arc::strong_count(landing.flight()) == 1));
    assert!(call.trace.awaits.has_ended() && !call.trace.awaits.cancel());
}

#[test]
fn a_retry_around_flies_two_more() {
    let (stage, stack) = (stage(), [doubling(2), TWICE]);
    let call = stage.call();
    let (mut run, landings) = both(&stage, &call, &stack);
    for landing in landings {
        landing.land(failed(1));
    }
    assert!(run.poll().is_pending());
    stage.clock.advance(secs(1));
    assert!(run.poll().is_pending());
    for (_, landing) in stage.leaf.flights() {
        landing.land(value(5));
    }
    assert!(matches!(run.poll(), Poll::Ready(Ok(5))));
    assert_eq!(call.trace.attempts(), 3);
}

#[test]
fn a_flight_that_would_wait_for_itself_is_refused() {
    let mut stage = stage();
    let own = Arc::new(Flight::default());
    stage.terms.flight = Some(own.clone());
    let stack = [TWICE];
    let call = stage.call();
    let (run, [first, second]) = both(&stage, &call, &stack);
    // In the second, the work of the outer flight is awaited.
    assert!(!second.flight().waits_for(&own) && !first.flight().waits_for(&own));
    drop(run);
    assert!(second.flight().waits_for(&own), "the call waits for it no more");
    second.flight().waits_no_more(&own);
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Second,
    /// The flight of that number lands with a value, with a failure, or lost.
    Lands(usize, u8),
    Cancel,
    Poll,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let lands = (0usize..2, 0u8..3).prop_map(|(flight, how)| Step::Lands(flight, how));
    let step = prop_oneof![2 => Just(Step::Second), 3 => lands, 1 => Just(Step::Cancel), 2 => Just(Step::Poll)];
    proptest::collection::vec(step, 0..16)
}

proptest! {
    /// In any order of landings, time, polls and a cancel: no result before all flights have landed, none after a
    /// cancel, a success if there was one, and no wait left over.
    #[test]
    fn in_any_order(steps in steps(), timeout in 0u64..6) {
        let (stage, stack) = (stage(), [limit(timeout), TWICE]);
        let call = stage.call();
        let awaits = &call.trace.awaits;
        let mut run = Run::new(&stage, &call, &stack, Deadline::NONE, true);
        let (mut flying, mut flights) = (Vec::new(), Vec::new());
        let (mut succeeded, mut cancelled, mut result) = (false, false, Poll::Pending);
        let end = (0..2).map(|flight| Step::Lands(flight, 2)).chain([Step::Poll]);
        for step in std::iter::once(Step::Poll).chain(steps).chain(end) {
            if result.is_ready() {
                break;
            }
            match step {
                Step::Second => stage.clock.advance(secs(1)),
                Step::Lands(flight, how) => {
                    let landing: Option<Landing> = flying.get_mut(flight).and_then(Option::take);
                    let Some(landing) = landing else { continue };
                    succeeded |= how == 0;
                    landing.land(match how {
                        0 => value(5),
                        1 => failed(7),
                        _ => Landed::Lost,
                    });
                }
                Step::Cancel => cancelled |= awaits.cancel(),
                Step::Poll => result = run.poll(),
            }
            for (_, landing) in stage.leaf.flights() {
                prop_assert!(!cancelled, "a run began after the cancel");
                flights.push(landing.flight().clone());
                flying.push(Some(landing));
            }
            let flies = flying.iter().any(Option::is_some);
            prop_assert!(!cancelled || awaits.has_ended() != flies);
            prop_assert!(result.is_pending() || (!flies && !cancelled));
        }
        prop_assert!(result.is_ready() != cancelled);
        if let Poll::Ready(result) = result {
            prop_assert_eq!(matches!(result, Ok(5)), succeeded);
        }
        drop(run);
        prop_assert!(flights.iter().all(|flight| Arc::strong_count(flight) == 1) && awaits.has_ended());
        prop_assert_eq!(stage.clock.armed(), 0);
    }
}
