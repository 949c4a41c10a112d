//! A retry that judges values, and one whose waits are the leaf's.

use mountain_core::effect::{Course, GaveUp, Verdict};
use mountain_core::error::Owner;
use mountain_core::policy::Layer;
use mountain_core::time::Instant;

use super::common::{Act, End, Fail, Stage, asking, at, doubling, limit, no_limit, secs, until};

/// A value, at once.
fn gives(n: u32) -> Act {
    Act::new(secs(0), End::Value(n))
}

fn begun(stage: &Stage) -> Vec<Instant> {
    stage.leaf.begun()
}

#[test]
fn a_value_that_is_not_accepted_is_tried_again() {
    for stack in [vec![until(doubling(9))], vec![until(doubling(9)), no_limit()], vec![no_limit(), until(doubling(9))]] {
        let stage = Stage::on([gives(100), gives(101), gives(7)], |_, _| panic!("nothing failed"));
        assert_eq!(stage.play(&stack).0.unwrap(), 7);
        assert_eq!(begun(&stage), [at(0), at(1), at(3)]);
    }
}

#[test]
fn a_retry_that_judges_no_values_takes_any() {
    let stage = Stage::new([gives(100)]);
    assert_eq!(stage.play(&[doubling(9)]).0.unwrap(), 100);
}

#[test]
fn the_last_attempt_fails_with_what_stands_for_its_value() {
    let stage = Stage::new([gives(100), gives(101)]);
    let (result, end) = stage.play(&[until(doubling(2))]);
    assert!(matches!(result, Err(Fail::Plain(101))));
    assert_eq!((end, stage.leaf.courses().last().map(|told| told.2)), (at(1), Some(Course::GivesUp(GaveUp::Attempts))));
}

#[test]
fn values_and_failures_share_the_attempts_and_the_backoff() {
    let stage = Stage::new([Act::fails(1), gives(100), Act::fails(2), gives(7)]);
    assert_eq!(stage.play(&[until(doubling(4))]).0.unwrap(), 7);
    assert_eq!(begun(&stage), [at(0), at(1), at(3), at(7)]);
    let stage = Stage::on([gives(100), Act::fails(2)], |_, _| Ok(Verdict::No));
    assert!(matches!(stage.play(&[until(doubling(9))]).0, Err(Fail::Plain(2))), "a failure is still judged by on");
}

#[test]
fn an_error_out_of_until_propagates() {
    let stage = Stage::new([gives(999)]);
    assert!(matches!(stage.play(&[until(doubling(9))]).0, Err(Fail::Plain(999))));
    assert_eq!(begun(&stage).len(), 1);
}

#[test]
fn a_wait_that_does_not_fit_is_not_slept() {
    let stage = Stage::new([gives(100)]);
    let (result, end) = stage.play(&[limit(5), until(doubling(None))]);
    assert!(matches!(result, Err(Fail::Plain(100))));
    assert_eq!((end, begun(&stage)), (at(3), vec![at(0), at(1), at(3)]), "4 s more would be too late");
    assert!(matches!(stage.leaf.courses().last(), Some((1, 3, Course::GivesUp(GaveUp::TooLate(_))))));
}

#[test]
fn a_limit_that_passes_in_an_attempt_has_the_last_value_as_its_cause() {
    let stage = Stage::new([gives(100), Act::hangs()]);
    let (owner, attempts, cause) = stage.play(&[limit(5), until(doubling(None))]).0.unwrap_err().parts();
    assert_eq!((owner, attempts), (Owner::Layer(0), 2));
    assert!(matches!(cause, Some(Fail::Plain(100))));
}

#[test]
fn a_fallback_s_value_that_is_not_accepted_stood_in_for_nothing() {
    let stage = Stage::new([Act::fails(1), gives(100), gives(7)]);
    assert_eq!(stage.play(&[until(doubling(9)), Layer::Fallback]).0.unwrap(), 7);
    assert_eq!(stage.stood_in(), None);
    let stage = Stage::new([Act::fails(1), gives(8)]);
    assert_eq!(stage.play(&[until(doubling(9)), Layer::Fallback]).0.unwrap(), 8);
    assert_eq!(stage.stood_in(), Some(1));
}

#[test]
fn the_leaf_gives_the_waits_where_there_is_no_backoff() {
    let stage = Stage::new([Act::fails(1), Act::fails(2), gives(7)]);
    assert_eq!(stage.play(&[asking(doubling(3))]).0.unwrap(), 7);
    assert_eq!(begun(&stage), [at(0), at(10), at(30)]);
    let stage = Stage::on([Act::fails(1), gives(7)], |_, _| Ok(Verdict::After(3.0)));
    assert_eq!(stage.play(&[asking(doubling(3))]).0.unwrap(), 7);
    assert_eq!(begun(&stage), [at(0), at(3)], "on gave the wait");
    let stage = Stage::new([gives(100), gives(7)]);
    assert_eq!(stage.play(&[until(asking(doubling(3)))]).0.unwrap(), 7);
    assert_eq!(begun(&stage), [at(0), at(10)]);
}

#[test]
fn the_leaf_is_not_asked_for_a_wait_that_nothing_waits_for() {
    let stage = Stage::new([Act::fails(13)]);
    assert!(matches!(stage.play(&[asking(doubling(3))]).0, Err(Fail::Plain(14))), "its error propagates");
    assert!(matches!(Stage::new([Act::fails(13)]).play(&[asking(doubling(1))]).0, Err(Fail::Plain(13))));
    let no = Stage::on([Act::fails(13)], |_, _| Ok(Verdict::No));
    assert!(matches!(no.play(&[asking(doubling(3))]).0, Err(Fail::Plain(13))));
}
