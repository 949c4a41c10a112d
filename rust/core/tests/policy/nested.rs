//! Limits and retries inside one another.

use std::task::Poll;

use mountain_core::effect::{Course, Deadline, GaveUp, Verdict};
use mountain_core::error::{Misfit, Owner};
use mountain_core::policy::retry::{Backoff, Jitter};
use mountain_core::policy::{Layer, retry};

use super::common::{Act, End, Fail, Reply, Run, Stage, at, at_once, doubling, limit, play, secs};

#[test]
fn the_time_out_of_an_inner_limit_is_retried() {
    let stage = Stage::new([Act::hangs(), Act::value(secs(1))]);
    let (result, end) = stage.play(&[doubling(3), limit(2)]);
    assert!(matches!(result, Ok(7)));
    assert_eq!(end, at(4), "2 for the limit, 1 of backoff, 1 for the value");
}

#[test]
fn exhausted_it_is_the_result_and_says_how_often() {
    let (result, end) = play(&[at_once(3), limit(2)], [Act::hangs()]);
    assert!(matches!(result.unwrap_err().parts(), (Owner::Layer(1), 3, None)), "no attempt's failure is another's cause");
    assert_eq!(end, at(6));
}

#[test]
fn the_time_out_of_an_outer_limit_is_not() {
    let stage = Stage::on([Act::hangs()], |_, fault| panic!("asked about {fault:?}"));
    let (result, end) = stage.play(&[limit(5), at_once(None)]);
    assert!(matches!(result.unwrap_err().parts(), (Owner::Layer(0), 1, None)));
    assert_eq!((end, stage.leaf.begun().len()), (at(5), 1));
}

#[test]
fn stopped_it_names_the_last_failure_that_was_retried() {
    let (result, end) = play(&[limit(5), doubling(None)], [Act::fails(1), Act::fails(2), Act::hangs()]);
    assert!(matches!(result.unwrap_err().parts(), (Owner::Layer(0), 3, Some(Fail::Plain(2)))));
    assert_eq!(end, at(5));
}

#[test]
fn a_late_failure_comes_before_a_retried_one() {
    let late = Act::hangs().asked(Reply::Ends(secs(1), End::Plain(9)));
    for stack in [&[limit(5), doubling(2)][..], &[limit(5), doubling(None)], &[limit(5), doubling(None), limit(60)]] {
        let (result, end) = play(stack, [Act::fails(1), late]);
        assert!(matches!(result.unwrap_err().parts(), (Owner::Layer(0), 2, Some(Fail::Plain(9)))), "{stack:?}");
        assert_eq!(end, at(6));
    }
}

#[test]
fn a_backoff_that_would_outlast_the_limit_is_not_slept() {
    let stage = Stage::new([Act::fails(1), Act::fails(2), Act::fails(3)]);
    let (result, end) = stage.play(&[limit(5), doubling(None)]);
    assert!(matches!(result, Err(Fail::Plain(3))), "no time has run out: the failure is the result");
    assert_eq!(end, at(3), "waits of 1 and 2; the one of 4 would end at 7");
    assert_eq!(stage.leaf.begun(), [at(0), at(1), at(3)]);
    let misfit = Misfit { wait: secs(4), owner: Owner::Layer(0), left: secs(2) };
    let again = |wait| Course::Again(secs(wait));
    let courses = [(1, 1, again(1)), (1, 2, again(2)), (1, 3, Course::GivesUp(GaveUp::TooLate(misfit)))];
    assert_eq!(stage.leaf.courses(), courses);
}

#[test]
fn nor_one_that_would_end_with_it() {
    let (result, end) = play(&[limit(3), doubling(None)], [Act::fails(1)]);
    assert!(matches!(result, Err(Fail::Plain(1))));
    assert_eq!(end, at(1));
}

#[test]
fn what_stands_outside_of_a_retry_that_gives_up_has_its_turn() {
    let stage = Stage::new([Act::fails(1), Act::fails(2), Act::value(secs(1))]);
    let (result, end) = stage.play(&[limit(3), Layer::Fallback, doubling(None), limit(9), waiting_long()]);
    assert_eq!((result.unwrap(), end), (7, at(2)));
    let courses: Vec<_> = stage.leaf.courses().into_iter().map(|(layer, attempt, _)| (layer, attempt)).collect();
    assert_eq!(
        courses,
        [(4, 1), (2, 1), (4, 2), (2, 2)],
        "the inner one gives up, and the outer one tries again as long as it may"
    );
    assert!(matches!(stage.leaf.stood_in_for()[..], [(1, Fail::Plain(2))]));
}

/// A retry whose waits fit into no limit here.
fn waiting_long() -> Layer {
    let backoff = Backoff { initial: 60.0, factor: 1.0, max: 60.0, jitter: Jitter::None };
    Layer::Retry(retry::Settings {
        attempts: None,
        backoff: Some(backoff),
        max_retry_after: secs(60),
        budget: None,
        until: false,
    })
}

#[test]
fn the_earliest_limit_is_the_one_that_a_wait_does_not_fit() {
    for (stack, owner) in [([limit(5), limit(60), doubling(None)], 0), ([limit(60), limit(5), doubling(None)], 1)] {
        let stage = Stage::new([Act::fails(1)]);
        let (result, end) = stage.play(&stack);
        assert!(matches!(result, Err(Fail::Plain(1))));
        let last = stage.leaf.courses().pop().unwrap();
        let Course::GivesUp(GaveUp::TooLate(misfit)) = last.2 else { panic!("{last:?}") };
        assert_eq!((misfit.owner, end), (Owner::Layer(owner), at(3)));
    }
}

#[test]
fn retries_without_a_wait_go_on_until_time_is_up() {
    let stage =
        Stage::new([Act::new(secs(2), End::Plain(1)), Act::new(secs(2), End::Plain(2)), Act::new(secs(1), End::Plain(3))]);
    let (result, end) = stage.play(&[limit(5), at_once(None)]);
    assert!(matches!(result.unwrap_err().parts(), (Owner::Layer(0), 3, Some(Fail::Plain(3)))));
    assert_eq!(end, at(5));
}

#[test]
fn no_attempt_begins_under_a_limit_that_has_fired() {
    let stubborn = Act::hangs().asked(Reply::Ends(secs(1), End::Plain(4)));
    let stage = Stage::new([stubborn, Act::value(secs(0))]);
    let (result, end) = stage.play(&[limit(5), at_once(None)]);
    assert!(matches!(result.unwrap_err().parts(), (Owner::Layer(0), 1, Some(Fail::Plain(4)))));
    assert_eq!((end, stage.leaf.begun().len()), (at(6), 1));
}

#[test]
fn nor_when_an_inner_limit_is_what_ended_the_last_one() {
    let slow = Act::hangs().asked(Reply::Ends(secs(4), End::Stopped));
    let stage = Stage::new([slow, Act::value(secs(0))]);
    let (result, end) = stage.play(&[limit(5), at_once(None), limit(2)]);
    let (owner, attempts, cause) = result.unwrap_err().parts();
    assert_eq!((owner, attempts, end), (Owner::Layer(0), 1, at(6)));
    assert!(matches!(cause.unwrap().parts(), (Owner::Layer(2), 1, None)), "said once, with the inner one as its cause");
}

#[test]
fn a_wake_up_that_comes_after_the_limit_begins_nothing() {
    let stage = Stage::new([Act::fails(1), Act::value(secs(0))]);
    let (call, stack) = (stage.call(), [limit(5), doubling(None)]);
    let mut run = Run::new(&stage, &call, &stack, Deadline::NONE, true);
    assert!(run.poll().is_pending());
    stage.clock.advance(secs(60));
    let Poll::Ready(Err(fail)) = run.poll() else { panic!("its time is up") };
    assert!(matches!(fail.parts(), (Owner::Layer(0), 1, Some(Fail::Plain(1)))));
    assert_eq!((stage.leaf.begun().len(), stage.clock.armed()), (1, 0));
}

#[test]
fn of_limits_that_coincide_the_inner_one_answers() {
    let stage = Stage::new([Act::hangs()]);
    let (result, end) = stage.play(&[limit(5), limit(5), limit(5)]);
    assert!(matches!(result.unwrap_err().parts(), (Owner::Layer(2), 1, None)));
    assert_eq!((end, stage.leaf.stops()), (at(5), 1));
}

#[test]
fn both_answer_when_the_leaf_needed_time_to_stop() {
    let (result, end) = play(&[limit(5), limit(5)], [Act::hangs().asked(Reply::Ends(secs(2), End::Stopped))]);
    let (owner, attempts, cause) = result.unwrap_err().parts();
    assert_eq!((owner, attempts, end), (Owner::Layer(0), 1, at(7)));
    assert!(matches!(cause.unwrap().parts(), (Owner::Layer(1), 1, None)));
}

#[test]
fn an_inner_retry_may_go_on_from_a_coinciding_inner_limit_only_before_the_outer_one() {
    let stage = Stage::new([Act::hangs()]);
    let (result, end) = stage.play(&[limit(6), at_once(None), limit(2)]);
    let (owner, attempts, cause) = result.unwrap_err().parts();
    assert_eq!((owner, attempts, end), (Owner::Layer(0), 3, at(6)));
    assert!(matches!(cause.unwrap().parts(), (Owner::Layer(2), 3, None)));
    assert_eq!(stage.leaf.begun(), [at(0), at(2), at(4)]);
}

#[test]
fn a_limit_inside_a_retry_is_new_for_each_attempt() {
    let stage = Stage::new([Act::new(secs(2), End::Plain(1)), Act::new(secs(2), End::Plain(2)), Act::value(secs(2))]);
    let (result, end) = stage.play(&[doubling(3), limit(3)]);
    assert!(result.is_ok());
    assert_eq!(end, at(9));
    assert_eq!(stage.leaf.told().iter().map(|d| d.at).collect::<Vec<_>>(), [at(3), at(6), at(10)]);
}

#[test]
fn a_failure_of_an_earlier_call_is_not_the_cause_of_a_later_time_out() {
    let on =
        |layer: usize, fault: &Fail| Ok(if layer == 0 || matches!(fault, Fail::Plain(1)) { Verdict::Yes } else { Verdict::No });
    let stage = Stage::on([Act::fails(1), Act::hangs(), Act::hangs()], on);
    let (result, _) = stage.play(&[at_once(2), limit(5), at_once(None)]);
    assert!(matches!(result.unwrap_err().parts(), (Owner::Layer(1), 3, None)));
}
