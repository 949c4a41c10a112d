//! The ends of attempts: by limits, by cancels, by the winner, beside other policies.

use std::sync::Arc;

use mountain_core::effect::{Deadline, Flight, Landed};
use mountain_core::error::{Owner, TimedOut};
use mountain_core::policy::breaker::{self, Breaker};
use mountain_core::policy::hedge::After;
use mountain_core::policy::{Layer, retry};
use mountain_core::sync::Mutex;

use super::super::common::{Act, End, Fail, Reply, Run, Stage, at, at_once, doubling, inherited, limit, secs};
use super::{both, cleans_up, failed, fails, hedge, hedged, ready, stage, value};

#[test]
fn a_limit_asks_all_and_waits_for_all() {
    let timed_out = |first: End, second: Landed| {
        let act = Act::hangs().asked(Reply::Ends(secs(1), first));
        let (stage, stack) = (Stage::new([act]), [limit(3), hedge(2)]);
        let call = stage.call();
        let (mut run, landing) = both(&stage, &call, &stack);
        stage.clock.advance(secs(1));
        assert!(run.woken() && run.poll().is_pending() && call.stopping(Owner::Layer(0)));
        assert!(landing.flight().is_over() && stage.leaf.stops() == 1);
        stage.clock.advance(secs(1));
        assert!(run.poll().is_pending(), "the flight cleans up for longer");
        landing.land(second);
        assert!(run.woken());
        let result = ready(&mut run);
        assert_eq!((stage.clock.armed(), stage.leaf.flights().len()), (0, 0));
        result
    };
    let none = timed_out(End::Stopped, Landed::Lost);
    assert!(matches!(none, Err(Fail::TimedOut(t)) if t.owner == Owner::Layer(0) && t.attempts == 2 && t.cause.is_none()));
    assert!(matches!(timed_out(End::Stopped, value(5)), Ok(5)), "a late value wins");
    assert!(matches!(timed_out(End::Value(6), Landed::Lost), Ok(6)), "a late value wins");
    let failed = timed_out(End::Stopped, failed(7));
    assert!(matches!(failed, Err(Fail::TimedOut(t)) if matches!(t.cause, Some(Fail::Plain(7)))));
    let failed = timed_out(End::Plain(8), Landed::Lost);
    assert!(matches!(failed, Err(Fail::TimedOut(t)) if matches!(t.cause, Some(Fail::Plain(8)))));
}

#[test]
fn nothing_begins_after_a_limit() {
    let act = Act::hangs().asked(Reply::Ends(secs(60), End::Stopped));
    for stack in [vec![limit(1), hedge(2)], vec![hedge(2)]] {
        let stage = Stage::new([act]);
        let (call, under) = (stage.call(), if stack.len() == 1 { inherited(1) } else { Deadline::NONE });
        let mut run = Run::new(&stage, &call, &stack, under, true);
        assert!(run.poll().is_pending());
        stage.clock.advance(secs(1));
        assert!(run.poll().is_pending() && stage.leaf.stops() == 1);
        stage.clock.advance(secs(9));
        assert!(run.poll().is_pending() && stage.leaf.flights().is_empty());
        stage.clock.advance(secs(60));
        assert!(matches!(ready(&mut run), Err(Fail::TimedOut(_))));
    }
}

/// A limit of each attempt is no reason to end the other.
#[test]
fn a_limit_inside_asks_its_own_attempt_alone() {
    let (stage, stack) = (Stage::new([cleans_up(60, End::Value(7))]), [hedge(2), limit(3)]);
    let call = stage.call();
    let (mut run, landing) = both(&stage, &call, &stack);
    stage.clock.advance(secs(1));
    assert!(run.poll().is_pending() && stage.leaf.stops() == 1);
    assert!(!landing.flight().is_over());
    stage.clock.advance(secs(1));
    assert!(run.poll().is_pending() && !landing.flight().is_over(), "the other goes on");
    landing.land(value(5));
    assert!(matches!(ready(&mut run), Ok(5)));
    // Were it alone, that would be the outcome; the other's failure is told beside it.
    let (stage, stack) = (Stage::new([Act::hangs()]), [hedge(2), limit(3)]);
    let call = stage.call();
    let (mut run, landing) = both(&stage, &call, &stack);
    landing.land(failed(1));
    assert!(run.poll().is_pending());
    stage.clock.advance(secs(1));
    assert!(matches!(ready(&mut run), Err(Fail::TimedOut(t)) if t.owner == Owner::Layer(1)));
    assert!(matches!(stage.leaf.told_beside()[..], [Fail::Plain(1)]));
}

#[test]
fn a_limit_while_the_loser_ends_is_late() {
    let (stage, stack) = (Stage::new([Act::hangs().asked(Reply::Ends(secs(5), End::Stopped))]), [limit(3), hedge(2)]);
    let call = stage.call();
    let (mut run, landing) = both(&stage, &call, &stack);
    landing.land(value(5));
    assert!(run.poll().is_pending());
    stage.clock.advance(secs(2));
    assert!(run.poll().is_pending(), "it waits for the end of the loser");
    stage.clock.advance(secs(3));
    assert!(matches!(ready(&mut run), Ok(5)));
}

#[test]
fn a_flight_that_ran_out_of_the_callers_time_says_so_for_the_call() {
    let late: fn() -> Fail = || Fail::TimedOut(Box::new(TimedOut { owner: Owner::Layer(0), attempts: 1, cause: None }));
    let (stage, stack) = (Stage::new([Act::new(secs(3), End::Plain(1))]), [limit(4), hedge(2)]);
    let call = stage.call();
    let (mut run, landing) = both(&stage, &call, &stack);
    stage.clock.advance(secs(1));
    assert!(run.poll().is_pending());
    landing.land(fails(late));
    assert!(matches!(ready(&mut run), Err(Fail::TimedOut(t)) if t.owner == Owner::Layer(0)));
    // One inside the hedge is a failure like any other.
    let inside: fn() -> Fail = || Fail::TimedOut(Box::new(TimedOut { owner: Owner::Layer(2), attempts: 1, cause: None }));
    let (stage, stack) = (Stage::new([Act::value(secs(3))]), [limit(9), hedge(2), limit(8)]);
    let call = stage.call();
    let (mut run, landing) = both(&stage, &call, &stack);
    landing.land(fails(inside));
    assert!(run.poll().is_pending() && stage.leaf.stops() == 0);
    stage.clock.advance(secs(1));
    assert!(matches!(ready(&mut run), Ok(7)));
}

#[test]
fn a_flight_is_told_the_limit_around_it() {
    let (stage, stack) = (stage(), [limit(9), hedge(2)]);
    let call = stage.call();
    let mut run = Run::new(&stage, &call, &stack, inherited(60), true);
    assert!(run.poll().is_pending());
    stage.clock.advance(secs(2));
    assert!(run.poll().is_pending());
    let told: Vec<_> = stage.leaf.flown().iter().map(|over| (over.at, over.owner)).collect();
    assert_eq!(told, [(at(9), Owner::Layer(0))]);
    drop(run);
    let _ = stage.leaf.flights();
}

/// The first attempt waits to be tried again: nothing runs in it.
#[test]
fn a_first_attempt_in_a_backoff_is_dropped_for_the_winner() {
    let (stage, stack) = (Stage::new([Act::fails(1)]), [hedge(2), doubling(9)]);
    let call = stage.call();
    let mut run = Run::new(&stage, &call, &stack, Deadline::NONE, true);
    assert!(run.poll().is_pending());
    stage.clock.advance(secs(1));
    assert!(run.poll().is_pending());
    stage.clock.advance(secs(1));
    assert!(run.poll().is_pending());
    let (_, landing) = stage.leaf.flights().pop().unwrap();
    landing.land(value(5));
    assert!(matches!(ready(&mut run), Ok(5)));
    assert_eq!((stage.leaf.begun().len(), stage.clock.armed()), (2, 0));
}

#[test]
fn a_limit_drops_a_first_attempt_in_a_backoff_at_once_and_waits_for_the_other() {
    let (stage, stack) = (Stage::new([Act::fails(1)]), [limit(6), hedge(2), doubling(9)]);
    let call = stage.call();
    let mut run = Run::new(&stage, &call, &stack, Deadline::NONE, true);
    for _ in 0..6 {
        assert!(run.poll().is_pending());
        stage.clock.advance(secs(1));
    }
    let begun = stage.leaf.begun().len();
    assert!(run.poll().is_pending());
    let (_, landing) = stage.leaf.flights().pop().unwrap();
    assert!(landing.flight().is_over());
    stage.clock.advance(secs(60));
    assert!(run.poll().is_pending() && stage.leaf.begun().len() == begun, "it begins no attempt any more");
    drop(landing);
    assert!(matches!(ready(&mut run), Err(Fail::TimedOut(_))));
}

#[test]
fn a_cancel_that_the_first_ends_with_asks_the_other_and_is_the_outcome() {
    let (stage, stack) = (Stage::new([Act::new(secs(3), End::Exit)]), [hedge(3)]);
    let call = stage.call();
    let (mut run, landing) = both(&stage, &call, &stack);
    stage.clock.advance(secs(1));
    assert!(run.poll().is_pending() && landing.flight().is_over(), "it waits for the other");
    stage.clock.advance(secs(60));
    assert!(run.poll().is_pending() && stage.leaf.flights().is_empty());
    landing.land(value(5));
    assert!(matches!(ready(&mut run), Err(Fail::Exit)));
}

#[test]
fn a_cancel_while_the_first_cleans_up_for_the_winner_is_the_outcome() {
    let (stage, stack) = (Stage::new([Act::hangs().asked(Reply::Ends(secs(1), End::Exit))]), [hedge(2)]);
    let call = stage.call();
    let (mut run, landing) = both(&stage, &call, &stack);
    landing.land(value(5));
    assert!(run.poll().is_pending());
    stage.clock.advance(secs(1));
    assert!(matches!(ready(&mut run), Err(Fail::Exit)));
}

#[test]
fn a_cancel_while_nothing_runs_in_the_first_has_ended_when_the_other_has() {
    for ends in [|| Landed::Lost, || value(5), || failed(7)] {
        let (stage, stack) = (Stage::new([Act::fails(1)]), [limit(60), hedge(2), doubling(9)]);
        let call = stage.call();
        let mut run = Run::new(&stage, &call, &stack, Deadline::NONE, true);
        for _ in 0..3 {
            assert!(run.poll().is_pending());
            stage.clock.advance(secs(1));
        }
        let (_, landing) = stage.leaf.flights().pop().unwrap();
        let awaits = &call.trace.awaits;
        assert!(awaits.cancel() && awaits.cancel() && !awaits.has_ended() && landing.flight().is_over());
        landing.land(ends());
        assert!(run.woken() && awaits.has_ended(), "without another poll");
        drop(run);
        assert_eq!(stage.clock.armed(), 0);
    }
}

#[test]
fn others_that_wait_for_a_flight_keep_it() {
    let (stage, stack) = (stage(), [limit(3), hedge(2)]);
    let call = stage.call();
    let (mut run, landing) = both(&stage, &call, &stack);
    let (kept, other) = (landing.flight().clone(), landing.flight().join());
    stage.clock.advance(secs(1));
    assert!(matches!(ready(&mut run), Err(Fail::TimedOut(_))), "it waits for its own alone");
    assert!(!kept.is_over());
    kept.leave(other);
    assert!(kept.is_over());
}

#[test]
fn a_run_that_is_dropped_leaves_the_flight() {
    let (stage, stack) = (stage(), [hedge(2)]);
    let call = stage.call();
    let (run, landing) = both(&stage, &call, &stack);
    drop(run);
    assert!(landing.flight().is_over() && Arc::strong_count(landing.flight()) == 1);
    assert!(call.trace.awaits.has_ended() && !call.trace.awaits.cancel());
    stage.leaf.abandon();
}

#[test]
fn a_retry_around_hedges_anew() {
    let (stage, stack) = (Stage::new([Act::new(secs(3), End::Plain(1)), Act::hangs()]), [at_once(2), hedge(2)]);
    let call = stage.call();
    let (mut run, landing) = both(&stage, &call, &stack);
    landing.land(failed(2));
    assert!(run.poll().is_pending());
    stage.clock.advance(secs(1));
    assert!(run.poll().is_pending(), "tried again");
    stage.clock.advance(secs(2));
    assert!(run.poll().is_pending());
    for (_, landing) in stage.leaf.flights() {
        landing.land(value(5));
    }
    assert!(matches!(ready(&mut run), Ok(5)));
    assert_eq!(call.trace.attempts(), 4);
}

fn breaker() -> (Arc<Mutex<Breaker>>, Layer) {
    let cooldown = retry::Backoff { initial: 30.0, factor: 1.0, max: 30.0, jitter: retry::Jitter::None };
    let settings = breaker::Settings {
        failures: Some(1),
        failure_rate: 1.0,
        minimum_calls: 1,
        slow_call: None,
        slow_rate: 1.0,
        window: secs(60),
        cooldown,
        probes: 1,
    };
    let breaker = Arc::new(Mutex::new(Breaker::new(settings)));
    (breaker.clone(), Layer::Breaker(breaker))
}

#[test]
fn a_breaker_around_that_is_open_by_then_refuses_the_hedge_alone() {
    let (breaker, layer) = breaker();
    let (stage, stack) = (Stage::new([Act::value(secs(9))]), [layer, hedge(2)]);
    let call = stage.call();
    let mut run = Run::new(&stage, &call, &stack, Deadline::NONE, true);
    assert!(run.poll().is_pending());
    // Its pass was taken as the first began: the hedge needs none.
    breaker.lock().open_now(0, stage.clock.now(), 0.0);
    stage.clock.advance(secs(2));
    assert!(run.poll().is_pending());
    let flights = stage.leaf.flights();
    assert_eq!(flights.len(), 1);
    stage.clock.advance(secs(7));
    drop(flights);
    assert!(matches!(ready(&mut run), Ok(7)));
}

#[test]
fn a_first_that_loses_is_nothing_to_a_breaker_inside_and_frees_its_probe() {
    let (breaker, layer) = breaker();
    let (stage, stack) = (Stage::new([Act::hangs()]), [hedge(2), layer]);
    breaker.lock().open_now(0, stage.clock.now(), 0.0);
    stage.clock.advance(secs(31));
    let call = stage.call();
    let (mut run, landing) = both(&stage, &call, &stack);
    assert_eq!(breaker.lock().state(0, stage.clock.now()), breaker::State::HalfOpen);
    assert!(breaker.lock().admit(0, stage.clock.now()).is_err(), "the probe is under way");
    landing.land(value(5));
    assert!(matches!(ready(&mut run), Ok(5)));
    assert_eq!(breaker.lock().state(0, stage.clock.now()), breaker::State::HalfOpen);
    assert!(breaker.lock().admit(0, stage.clock.now()).is_ok(), "there is room for another");
}

#[test]
fn a_hedge_in_a_hedge_ends_with_it() {
    let (stage, stack) = (Stage::new([cleans_up(60, End::Value(7))]), [hedge(2), hedged(2, After::Fixed(secs(3)), None).1]);
    let call = stage.call();
    let (mut run, outer) = both(&stage, &call, &stack);
    outer.land(value(5));
    assert!(run.poll().is_pending() && stage.leaf.stops() == 1);
    stage.clock.advance(secs(1));
    assert!(stage.leaf.flights().is_empty(), "the inner one is due, and begins nothing");
    assert!(matches!(ready(&mut run), Ok(5)));
    // With an inner flight under way the outer winner asks it too, and waits for it.
    let (stage, stack) = (stage_of(60), [hedge(2), hedged(2, After::Fixed(secs(1)), None).1]);
    let call = stage.call();
    let mut run = Run::new(&stage, &call, &stack, Deadline::NONE, true);
    assert!(run.poll().is_pending());
    stage.clock.advance(secs(1));
    assert!(run.poll().is_pending());
    let (layer, inner) = stage.leaf.flights().pop().unwrap();
    stage.clock.advance(secs(1));
    assert!(run.poll().is_pending());
    let (above, outer) = stage.leaf.flights().pop().unwrap();
    assert_eq!((layer, above), (1, 0));
    outer.land(value(5));
    assert!(run.poll().is_pending() && inner.flight().is_over());
    stage.clock.advance(secs(1));
    assert!(run.poll().is_pending(), "the inner flight cleans up");
    drop(inner);
    assert!(matches!(ready(&mut run), Ok(5)));
}

fn stage_of(takes: u64) -> Stage {
    Stage::new([cleans_up(takes, End::Value(7))])
}

#[test]
fn a_call_in_a_flight_may_hedge() {
    let mut stage = stage();
    let own = Arc::new(Flight::default());
    stage.terms.flight = Some(own.clone());
    let stack = [hedge(2)];
    let call = stage.call();
    let (run, landing) = both(&stage, &call, &stack);
    assert!(!landing.flight().waits_for(&own), "its own flight waits for this one");
    drop(run);
    assert!(landing.flight().waits_for(&own), "the call waits for it no more");
    landing.flight().waits_no_more(&own);
    stage.leaf.abandon();
}
