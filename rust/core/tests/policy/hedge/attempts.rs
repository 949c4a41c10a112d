//! Attempts: the times at which they begin, the winner, and the state that calls share.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use mountain_core::effect::{Abort, Deadline, Landed};
use mountain_core::error::Owner;
use mountain_core::policy::hedge::{After, Budget, Counts};

use super::super::common::{Act, End, Fail, Reply, Run, Stage, at, secs};
use super::{Asked, both, cleans_up, failed, hedge, hedged, ready, stage, value};

#[test]
fn a_call_that_ends_in_time_has_one_attempt() {
    for act in [Act::value(Duration::ZERO), Act::value(secs(1))] {
        let stage = Stage::new([act]);
        let (result, now) = stage.play(&[hedge(5)]);
        assert!(matches!(result, Ok(7)) && now.since(at(0)) == act.takes);
        assert_eq!((stage.leaf.flown().len(), stage.call().trace.attempts()), (0, 1));
    }
}

#[test]
fn a_first_attempt_that_fails_in_time_is_the_outcome() {
    for takes in [0, 1] {
        let stage = Stage::new([Act::new(secs(takes), End::Plain(3))]);
        let (result, now) = stage.play(&[hedge(5)]);
        assert!(matches!(result, Err(Fail::Plain(3))) && now == at(takes));
        assert_eq!(stage.leaf.flown().len(), 0);
    }
}

#[test]
fn the_other_wins_and_the_first_is_asked_once_and_waited_for() {
    let stage = Stage::new([cleans_up(60, End::Value(7))]);
    let (call, (hedge, layer)) = (stage.call(), hedged(2, After::Fixed(secs(2)), None));
    let stack = [layer];
    let (mut run, landing) = both(&stage, &call, &stack);
    landing.land(value(5));
    assert!(run.woken() && run.poll().is_pending(), "the first cleans up");
    assert!(run.poll().is_pending() && stage.leaf.stops() == 1);
    stage.clock.advance(secs(1));
    assert!(run.woken() && matches!(ready(&mut run), Ok(5)));
    assert_eq!((call.trace.attempts(), stage.clock.armed()), (2, 0));
    assert_eq!(hedge.counts(), Counts { hedged: 1, won: 1, refused: 0 });
}

#[test]
fn the_first_wins_and_the_other_is_asked_once_and_waited_for() {
    let stage = Stage::new([Act::value(secs(3))]);
    let (call, (hedge, layer)) = (stage.call(), hedged(2, After::Fixed(secs(2)), None));
    let stack = [layer];
    let (mut run, landing) = both(&stage, &call, &stack);
    let asked = Arc::new(Asked::default());
    landing.begun(Abort::Shared(asked.clone()));
    stage.clock.advance(secs(1));
    assert!(run.woken() && run.poll().is_pending(), "the other cleans up");
    assert!(landing.flight().is_over() && call.stopping(Owner::Inherited) && run.poll().is_pending());
    drop(landing);
    assert!(run.woken() && matches!(ready(&mut run), Ok(7)));
    assert_eq!((asked.0.load(Ordering::Relaxed), stage.clock.armed()), (1, 0));
    assert_eq!(hedge.counts(), Counts { hedged: 1, won: 0, refused: 0 });
}

#[test]
fn a_loser_s_own_end_changes_nothing() {
    for end in [End::Value(9), End::Plain(9), End::Stopped] {
        let stage = Stage::new([Act::hangs().asked(Reply::Ends(secs(1), end))]);
        let (call, stack) = (stage.call(), [hedge(2)]);
        let (mut run, landing) = both(&stage, &call, &stack);
        landing.land(value(5));
        assert!(run.poll().is_pending());
        stage.clock.advance(secs(1));
        assert!(matches!(ready(&mut run), Ok(5)));
    }
    for landed in [value(9), failed(9), Landed::Lost] {
        let stage = Stage::new([Act::value(secs(3))]);
        let (call, stack) = (stage.call(), [hedge(2)]);
        let (mut run, landing) = both(&stage, &call, &stack);
        stage.clock.advance(secs(1));
        assert!(run.poll().is_pending());
        landing.land(landed);
        assert!(matches!(ready(&mut run), Ok(7)));
    }
}

#[test]
fn a_failure_waits_for_the_other() {
    let ends = |first: End, second: Landed| {
        let stage = Stage::new([Act::new(secs(3), first)]);
        let (call, stack) = (stage.call(), [hedge(2)]);
        let (mut run, landing) = both(&stage, &call, &stack);
        stage.clock.advance(secs(1));
        assert!(run.poll().is_pending());
        let flight = landing.flight().clone();
        landing.land(second);
        assert!(run.woken());
        let result = ready(&mut run);
        assert!(Arc::strong_count(&flight) == 1, "a wait was not given back");
        (result, stage.leaf.told_beside().len())
    };
    assert!(matches!(ends(End::Plain(1), value(5)), (Ok(5), 0)));
    assert!(matches!(ends(End::Plain(1), failed(2)), (Err(Fail::Plain(1)), 1)));
    assert!(matches!(ends(End::Plain(1), Landed::Lost), (Err(Fail::Plain(1)), 0)));
    // The other way round: the hedge fails, and the first attempt still wins, or is the error.
    for (end, wins) in [(End::Value(7), true), (End::Plain(1), false)] {
        let stage = Stage::new([Act::new(secs(9), end)]);
        let (call, stack) = (stage.call(), [hedge(2)]);
        let (mut run, landing) = both(&stage, &call, &stack);
        landing.land(failed(2));
        assert!(run.woken() && run.poll().is_pending() && stage.leaf.stops() == 0);
        stage.clock.advance(secs(7));
        let result = ready(&mut run);
        assert!(if wins { matches!(result, Ok(7)) } else { matches!(result, Err(Fail::Plain(1))) });
        assert!(wins || matches!(stage.leaf.told_beside()[..], [Fail::Plain(2)]));
    }
}

#[test]
fn attempts_begin_at_even_times_and_a_failure_begins_none() {
    let (stage, stack) = (stage(), [hedge(4)]);
    let call = stage.call();
    let (mut run, second) = both(&stage, &call, &stack);
    second.land(failed(1));
    assert!(run.poll().is_pending() && stage.leaf.flights().is_empty(), "a failure begins none");
    let mut flying = Vec::new();
    for _ in 0..2 {
        stage.clock.advance(secs(1));
        assert!(!run.woken());
        stage.clock.advance(secs(1));
        assert!(run.woken() && run.poll().is_pending());
        flying.extend(stage.leaf.flights());
        assert!(run.poll().is_pending());
    }
    assert_eq!(flying.len(), 2);
    stage.clock.advance(secs(60));
    assert!(run.poll().is_pending() && stage.leaf.flights().is_empty(), "no more than four");
    assert_eq!(call.trace.attempts(), 4);
    drop(run);
}

#[test]
fn woken_late_it_begins_one_and_not_a_burst() {
    let (stage, stack) = (stage(), [hedge(9)]);
    let call = stage.call();
    let mut run = Run::new(&stage, &call, &stack, Deadline::NONE, true);
    assert!(run.poll().is_pending());
    stage.clock.advance(secs(19));
    assert!(run.poll().is_pending() && run.poll().is_pending());
    assert_eq!(stage.leaf.flights().len(), 1);
}

#[test]
fn zero_is_at_once_and_endless_is_never() {
    let (stage, stack) = (stage(), [hedged(3, After::Fixed(Duration::ZERO), None).1]);
    let call = stage.call();
    let mut run = Run::new(&stage, &call, &stack, Deadline::NONE, true);
    assert!(run.poll().is_pending());
    assert_eq!(stage.leaf.flights().len(), 2);
    drop(run);
    let stage = Stage::new([Act::value(secs(1_000_000))]);
    assert!(matches!(stage.play(&[hedged(3, After::Fixed(Duration::MAX), None).1]), (Ok(7), _)));
    assert_eq!(stage.leaf.flown().len(), 0);
}

#[test]
fn without_a_budget_left_the_first_goes_on() {
    let (hedge, layer) = hedged(2, After::Fixed(secs(2)), Some(Budget::new(0.0, 0.0)));
    let stage = Stage::new([Act::value(secs(9))]);
    assert!(matches!(stage.play(&[layer]), (Ok(7), now) if now == at(9)));
    assert_eq!(stage.leaf.flown().len(), 0);
    assert_eq!(hedge.counts(), Counts { hedged: 0, won: 0, refused: 1 });
}

#[test]
fn the_budget_counts_extra_attempts_only() {
    let (hedge, layer) = hedged(2, After::Fixed(secs(2)), Some(Budget::new(0.05, 0.0)));
    let stack = [layer];
    let mut extra = 0;
    let clock = Stage::new([Act::hangs()]).clock;
    for n in 0..1000 {
        let slow = n % 10 == 0;
        let stage = Stage::at(&clock, [if slow { Act::value(Duration::from_millis(2001)) } else { Act::value(Duration::ZERO) }]);
        let call = stage.call();
        let mut run = Run::new(&stage, &call, &stack, Deadline::NONE, true);
        let polled = run.poll();
        assert_eq!(polled.is_pending(), slow);
        if slow {
            clock.advance(secs(2));
            let _ = run.poll();
            extra += stage.leaf.flights().len();
        }
        drop(run);
        stage.leaf.abandon();
        clock.advance(Duration::from_millis(1));
    }
    assert_eq!(hedge.counts().hedged, extra as u64);
    assert!((20..=51).contains(&extra) && hedge.counts().refused > 0, "{extra}");
}

#[test]
fn the_delay_is_what_the_first_attempts_take() {
    let (hedge, layer) = hedged(2, After::Percentile(0.9), None);
    let stack = [layer];
    let clock = Stage::new([Act::hangs()]).clock;
    let run = |takes: Duration| Stage::at(&clock, [Act::value(takes)]).play(&stack);
    for n in 1..=100u64 {
        assert_eq!(hedge.delay(0), None, "{n}");
        assert!(run(Duration::from_millis(n)).0.is_ok());
    }
    let delay = hedge.delay(0).unwrap();
    assert!(delay >= Duration::from_millis(90) && delay < Duration::from_millis(113), "{delay:?}");
    // A failure says nothing; a first attempt that lost says that it took at least so long.
    for _ in 0..2000 {
        let stage = Stage::at(&clock, [Act::fails(1)]);
        assert!(stage.play(&stack).0.is_err());
    }
    assert_eq!(hedge.delay(0), Some(delay));
    for _ in 0..1100 {
        let stage = Stage::at(&clock, [Act::hangs()]);
        let call = stage.call();
        let mut run = Run::new(&stage, &call, &stack, Deadline::NONE, true);
        assert!(run.poll().is_pending());
        clock.advance(hedge.delay(0).unwrap());
        assert!(run.poll().is_pending());
        for (_, landing) in stage.leaf.flights() {
            landing.land(value(5));
        }
        assert!(matches!(ready(&mut run), Ok(5)));
    }
    assert!(hedge.delay(0).unwrap() > delay, "all are slow now");
}
