//! One limit over one leaf.

use std::task::Poll;
use std::time::Duration;

use mountain_core::effect::Deadline;
use mountain_core::error::Owner;

use super::common::{Act, End, Fail, Reply, Run, Stage, at, limit, no_limit, play, secs};

#[test]
fn a_value_at_the_instant_of_the_deadline_wins() {
    let (result, end) = play(&[limit(5)], [Act::value(secs(5))]);
    assert!(matches!(result, Ok(7)));
    assert_eq!(end, at(5));
}

#[test]
fn a_failure_at_the_instant_of_the_deadline_is_the_leafs_own() {
    let (result, _) = play(&[limit(5)], [Act::new(secs(5), End::Plain(1))]);
    assert!(matches!(result, Err(Fail::Plain(1))));
}

#[test]
fn past_the_deadline_the_leaf_is_asked_once_and_polled_to_its_end() {
    let stage = Stage::new([Act::hangs().asked(Reply::Ends(secs(2), End::Stopped))]);
    let (call, stack) = (stage.call(), [limit(5)]);
    let mut run = Run::new(&stage, &call, &stack, Deadline::NONE, true);
    assert!(run.poll().is_pending());
    stage.clock.advance(secs(5));
    assert!(run.woken() && run.poll().is_pending());
    assert_eq!((stage.leaf.stops(), stage.clock.now()), (1, at(5)));
    let polls = stage.leaf.polls();
    assert!(run.poll().is_pending() && run.poll().is_pending());
    assert_eq!(stage.leaf.polls(), polls + 2, "each poll reaches the leaf");
    stage.clock.advance(secs(2));
    let Poll::Ready(Err(fail)) = run.poll() else { panic!("its cleanup is over") };
    assert!(matches!(fail.parts(), (Owner::Layer(0), 1, None)));
    assert_eq!(stage.leaf.stops(), 1);
    assert_eq!(stage.clock.armed(), 0);
}

#[test]
fn a_value_after_the_asking_wins() {
    let (result, end) = play(&[limit(5)], [Act::hangs().asked(Reply::Ends(secs(1), End::Value(3)))]);
    assert!(matches!(result, Ok(3)));
    assert_eq!(end, at(6));
}

#[test]
fn a_leaf_that_will_not_stop_is_waited_for() {
    let (result, end) = play(&[limit(5)], [Act::value(secs(60)).asked(Reply::GoesOn)]);
    assert!(matches!(result, Ok(7)));
    assert_eq!(end, at(60));
}

#[test]
fn a_late_failure_becomes_the_cause() {
    let (result, _) = play(&[limit(5)], [Act::hangs().asked(Reply::Ends(secs(1), End::Plain(9)))]);
    assert!(matches!(result.unwrap_err().parts(), (Owner::Layer(0), 1, Some(Fail::Plain(9)))));
}

#[test]
fn a_late_exit_wins_over_the_limit() {
    let (result, end) = play(&[limit(5)], [Act::hangs().asked(Reply::Ends(secs(1), End::Exit))]);
    assert!(matches!(result, Err(Fail::Exit)));
    assert_eq!(end, at(6));
}

#[test]
fn a_stop_that_nobody_asked_for_passes() {
    let (result, end) = play(&[limit(5)], [Act::new(secs(1), End::Stopped)]);
    assert!(matches!(result, Err(Fail::Stopped)));
    assert_eq!(end, at(1));
}

#[test]
fn zero_is_one_poll() {
    assert!(matches!(play(&[limit(0)], [Act::value(Duration::ZERO)]).0, Ok(7)));
    let (result, end) = play(&[limit(0)], [Act::hangs()]);
    assert!(matches!(result.unwrap_err().parts(), (Owner::Layer(0), 1, None)));
    assert_eq!(end, at(0));
}

#[test]
fn no_limit_never_fires() {
    let year = secs(365 * 86_400);
    let stage = Stage::new([Act::value(year)]);
    let (result, end) = stage.play(&[no_limit()]);
    assert!(matches!(result, Ok(7)));
    assert_eq!(end, at(365 * 86_400));
    assert_eq!(stage.leaf.told()[0].owner, Owner::None);
}

#[test]
fn what_ends_at_once_arms_nothing() {
    for act in [Act::value(Duration::ZERO), Act::fails(1)] {
        let stage = Stage::new([act]);
        let (call, stack) = (stage.call(), [limit(5), limit(2)]);
        let mut run = Run::new(&stage, &call, &stack, Deadline::NONE, true);
        assert!(run.poll().is_ready());
        assert_eq!(stage.clock.armed(), 0, "the run still stands, and holds no timer");
        assert!(!run.woken());
    }
}

#[test]
fn a_leaf_is_told_the_earliest_limit() {
    for (stack, right) in [([limit(5), limit(9)], (at(5), Owner::Layer(0))), ([limit(9), limit(5)], (at(5), Owner::Layer(1)))] {
        let stage = Stage::new([Act::value(secs(1))]);
        assert!(stage.play(&stack).0.is_ok());
        let told = stage.leaf.told()[0];
        assert_eq!((told.at, told.owner), right);
    }
}
