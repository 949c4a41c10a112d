//! A limit from outside the stack: enforced here when the caller does not, and known to backoffs in any case.

use mountain_core::effect::{Course, Deadline, GaveUp};
use mountain_core::error::{Misfit, Owner};

use super::common::{Act, End, Fail, Reply, Stage, at, doubling, inherited, limit, secs};

#[test]
fn watched_it_fires_like_a_timeout() {
    let stage = Stage::new([Act::hangs().asked(Reply::Ends(secs(1), End::Stopped))]);
    let (result, end) = stage.play_under(&[], inherited(5), true);
    assert!(matches!(result.unwrap_err().parts(), (Owner::Inherited, 1, None)));
    assert_eq!((end, stage.leaf.stops()), (at(6), 1));
}

#[test]
fn unwatched_it_is_left_to_whoever_watches() {
    let stage = Stage::new([Act::value(secs(60))]);
    let (result, end) = stage.play_under(&[limit(3600)], inherited(5), false);
    assert!(result.is_ok());
    assert_eq!((end, stage.leaf.stops()), (at(60), 0));
    let told = stage.leaf.told()[0];
    assert_eq!((told.at, told.owner), (at(5), Owner::Inherited));
}

#[test]
fn a_backoff_that_would_outlast_it_is_not_slept() {
    for watch in [true, false] {
        let stage = Stage::new([Act::fails(1)]);
        let (result, end) = stage.play_under(&[doubling(None)], inherited(5), watch);
        assert!(matches!(result, Err(Fail::Plain(1))));
        let last = stage.leaf.courses().pop().unwrap();
        let misfit = Misfit { wait: secs(4), owner: Owner::Inherited, left: secs(2) };
        assert_eq!((last, end), ((0, 3, Course::GivesUp(GaveUp::TooLate(misfit))), at(3)));
    }
}

#[test]
fn its_time_out_is_not_retried() {
    let stage = Stage::on([Act::hangs()], |_, fault| panic!("asked about {fault:?}"));
    let (result, end) = stage.play_under(&[doubling(None)], inherited(5), true);
    assert!(matches!(result.unwrap_err().parts(), (Owner::Inherited, 1, None)));
    assert_eq!(end, at(5));
}

#[test]
fn already_passed_it_starts_nothing() {
    for watch in [true, false] {
        for stack in [&[][..], &[limit(9)], &[doubling(3), limit(9)]] {
            let stage = Stage::new([Act::value(secs(0))]);
            stage.clock.advance(secs(5));
            let (result, end) = stage.play_under(stack, inherited(5), watch);
            assert!(matches!(result.unwrap_err().parts(), (Owner::Inherited, 0, None)));
            assert_eq!((end, stage.leaf.begun().len()), (at(5), 0));
        }
    }
}

#[test]
fn the_earlier_of_it_and_a_timeout_counts() {
    for (seconds, owner) in [(3, Owner::Layer(0)), (8, Owner::Inherited)] {
        let stage = Stage::new([Act::hangs()]);
        let (result, _) = stage.play_under(&[limit(seconds)], inherited(5), true);
        assert!(matches!(result.unwrap_err().parts(), (o, 1, None) if o == owner));
    }
}

#[test]
fn nobodys_is_none() {
    let stage = Stage::new([Act::value(secs(60))]);
    assert!(stage.play_under(&[], Deadline::NONE, true).0.is_ok());
}
