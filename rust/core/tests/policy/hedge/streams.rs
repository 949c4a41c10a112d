//! Of a stream the attempts race for the first item, and the one that has it goes on.

use std::sync::Arc;

use mountain_core::effect::{Deadline, Landed};
use mountain_core::error::Owner;
use mountain_core::policy::hedge::{After, Counts};

use super::super::common::{Act, End, Fail, Reply, Run, Stage, at, limit, secs};
use super::{both, cleans_up, failed, hedge, hedged, ready, stage, value};

#[test]
fn a_stream_whose_first_item_is_out_has_no_other_attempt() {
    let (hedge, layer) = hedged(2, After::Fixed(secs(2)), None);
    let (stage, stack) = (Stage::new([Act::value(secs(9))]), [layer]);
    let call = stage.call();
    let mut run = Run::new(&stage, &call, &stack, Deadline::NONE, true);
    assert!(run.poll().is_pending());
    stage.clock.advance(secs(1));
    stage.leaf.puts_out();
    assert!(run.poll().is_pending());
    stage.clock.advance(secs(7));
    assert!(run.poll().is_pending() && stage.leaf.flights().is_empty(), "its end may take long");
    stage.clock.advance(secs(1));
    assert!(matches!(ready(&mut run), Ok(7)));
    assert_eq!((hedge.counts(), call.trace.attempts()), (Counts { hedged: 0, won: 0, refused: 0 }, 1));
}

#[test]
fn the_observed_time_is_that_of_the_first_item() {
    let (hedge, layer) = hedged(2, After::Percentile(0.5), None);
    let stack = [layer];
    let clock = Stage::new([Act::hangs()]).clock;
    for _ in 0..100 {
        let stage = Stage::at(&clock, [Act::value(secs(60))]);
        let call = stage.call();
        let mut run = Run::new(&stage, &call, &stack, Deadline::NONE, true);
        assert!(run.poll().is_pending());
        clock.advance(secs(1));
        stage.leaf.puts_out();
        assert!(run.poll().is_pending());
        clock.advance(secs(59));
        assert!(matches!(ready(&mut run), Ok(7)));
    }
    let delay = hedge.delay(0).expect("100 calls were seen");
    assert!(delay >= secs(1) && delay < secs(2), "{delay:?}");
}

#[test]
fn the_first_whose_item_is_out_goes_on_and_the_other_is_asked_to_end() {
    let (hedge, layer) = hedged(2, After::Fixed(secs(2)), None);
    let (stage, stack) = (Stage::new([Act::value(secs(9))]), [layer]);
    let call = stage.call();
    let (mut run, landing) = both(&stage, &call, &stack);
    stage.leaf.puts_out();
    assert!(run.poll().is_pending() && landing.flight().is_over() && stage.leaf.stops() == 0);
    landing.gives(Arc::new(5u32));
    assert!(run.poll().is_pending() && stage.leaf.followed().is_empty(), "too late");
    landing.land(Landed::Lost);
    assert!(run.poll().is_pending());
    stage.clock.advance(secs(7));
    assert!(matches!(ready(&mut run), Ok(7)));
    assert_eq!((hedge.counts(), stage.clock.armed()), (Counts { hedged: 1, won: 0, refused: 0 }, 0));
}

#[test]
fn what_fails_after_its_first_item_is_the_outcome_and_no_other_failure_is_told() {
    let (stage, stack) = (Stage::new([Act::new(secs(9), End::Plain(1))]), [hedge(2)]);
    let call = stage.call();
    let (mut run, landing) = both(&stage, &call, &stack);
    stage.leaf.puts_out();
    assert!(run.poll().is_pending());
    landing.land(failed(2));
    assert!(run.poll().is_pending());
    stage.clock.advance(secs(7));
    assert!(matches!(ready(&mut run), Err(Fail::Plain(1))));
    assert!(stage.leaf.told_beside().is_empty());
}

#[test]
fn a_flight_that_gives_its_items_is_followed_when_the_first_has_ended() {
    let (hedge, layer) = hedged(2, After::Fixed(secs(2)), None);
    let (stage, stack) = (Stage::new([cleans_up(60, End::Value(7))]), [layer]);
    let call = stage.call();
    let (mut run, landing) = both(&stage, &call, &stack);
    landing.gives(Arc::new(5u32));
    assert!(run.woken() && run.poll().is_pending() && stage.leaf.stops() == 1);
    assert!(stage.leaf.followed().is_empty() && !landing.flight().is_over(), "the first cleans up");
    stage.clock.advance(secs(1));
    assert!(run.woken() && run.poll().is_pending());
    assert!(stage.leaf.followed() == [5] && !landing.flight().is_over(), "its items go on");
    stage.clock.advance(secs(3600));
    assert!(run.woken() && matches!(ready(&mut run), Ok(5)));
    assert_eq!((hedge.counts(), call.trace.attempts()), (Counts { hedged: 1, won: 1, refused: 0 }, 2));
}

#[test]
fn of_two_flights_one_gives_and_the_other_is_waited_for() {
    let (stage, stack) = (stage(), [hedge(3)]);
    let call = stage.call();
    let (mut run, second) = both(&stage, &call, &stack);
    stage.clock.advance(secs(2));
    assert!(run.poll().is_pending());
    let (_, third) = stage.leaf.flights().remove(0);
    third.gives(Arc::new(5u32));
    assert!(run.poll().is_pending() && second.flight().is_over() && !third.flight().is_over());
    assert!(stage.leaf.followed().is_empty(), "the second has not ended");
    second.land(value(9));
    assert!(run.woken() && run.poll().is_pending());
    assert_eq!(stage.leaf.followed(), [5]);
    drop(run);
    assert!(stage.leaf.abandon());
}

#[test]
fn a_limit_asks_the_items_that_it_follows() {
    let act = Act::hangs().asked(Reply::Ends(secs(0), End::Stopped));
    let (stage, stack) = (Stage::new([act]), [limit(9), hedge(2)]);
    let call = stage.call();
    let (mut run, landing) = both(&stage, &call, &stack);
    landing.gives(Arc::new(5u32));
    assert!(run.poll().is_pending());
    assert_eq!((stage.leaf.followed(), stage.leaf.stops()), (vec![5], 1));
    stage.clock.advance(secs(7));
    assert!(run.woken());
    assert!(matches!(ready(&mut run), Err(Fail::TimedOut(t)) if t.owner == Owner::Layer(0)));
    assert_eq!((stage.leaf.stops(), stage.clock.now(), stage.clock.armed()), (2, at(9), 0));
}

#[test]
fn a_cancel_of_the_caller_is_passed_on_to_the_items_that_were_given() {
    let act = Act::hangs().asked(Reply::Ends(secs(1), End::Exit));
    let (stage, stack) = (Stage::new([act]), [hedge(2)]);
    let call = stage.call();
    let (mut run, landing) = both(&stage, &call, &stack);
    landing.gives(Arc::new(5u32));
    assert!(run.poll().is_pending());
    stage.clock.advance(secs(1));
    assert!(run.poll().is_pending() && landing.flight().is_over(), "they are asked, too");
    landing.land(Landed::Lost);
    assert!(run.woken() && matches!(ready(&mut run), Err(Fail::Exit)));
    assert!(stage.leaf.followed().is_empty());
}
