//! A group that is asked to end from outside passes that on, waits for all, and says what came of it.

use std::sync::Arc;

use mountain_core::effect::{Done, Mode, Operation};
use mountain_core::error::Error;
use mountain_core::value::Value;

use super::common::{Desk, EAGAIN, Held, errno, int, limit, number, os, program, secs};
use super::group::group;

/// Two children that run, in a group that was asked to end.
fn asked(mode: Mode) -> (Desk, Held, Held) {
    let (desk, a, b) = (Desk::new(), Held::default(), Held::default());
    let abort = desk.start(&group(mode, vec![Arc::new(a.clone()), Arc::new(b.clone())]));
    abort.abort();
    abort.abort();
    desk.settle();
    assert_eq!((a.counts(), b.counts(), desk.answers.len()), ((1, 1), (1, 1), 0));
    (desk, a, b)
}

#[test]
fn it_answers_with_a_cancel_when_the_last_has_ended() {
    for mode in [Mode::All, Mode::Race] {
        let (desk, a, b) = asked(mode);
        a.finish(Err(Error::Cancelled));
        desk.settle();
        assert_eq!(desk.answers.len(), 0);
        b.finish(Err(Error::Cancelled));
        desk.settle();
        let outcome = desk.answer();
        assert!(matches!(outcome, Err(Error::Cancelled)), "{outcome:?}");
    }
}

#[test]
fn values_in_reply_win() {
    let (desk, a, b) = asked(Mode::All);
    a.finish(int(1));
    b.finish(int(2));
    desk.settle();
    assert!(matches!(desk.answer(), Ok(Value::List(both)) if both.len() == 2));
    let (desk, a, b) = asked(Mode::Race);
    a.finish(Err(Error::Cancelled));
    b.finish(int(2));
    desk.settle();
    assert_eq!(number(&desk.answer()), 2);
}

#[test]
fn a_failure_in_reply_is_not_lost() {
    let (desk, a, b) = asked(Mode::All);
    a.finish(Err(Error::Cancelled));
    b.finish(os(EAGAIN));
    desk.settle();
    assert_eq!(errno(&desk.answer()), EAGAIN);
    let (desk, a, b) = asked(Mode::Race);
    a.finish(os(EAGAIN));
    b.finish(os(EAGAIN));
    desk.settle();
    assert!(matches!(desk.answer(), Err(Error::All(both)) if both.len() == 2));
}

#[test]
fn before_its_children_began_none_does() {
    for mode in [Mode::All, Mode::Race] {
        let (desk, held) = (Desk::new(), Held::default());
        let abort = desk.begin(&group(mode, vec![Arc::new(held.clone()), Arc::new(held.clone())]));
        abort.abort();
        desk.settle();
        assert!(matches!(desk.answer(), Err(Error::Cancelled)));
        assert_eq!(held.counts(), (0, 0));
    }
}

#[test]
fn after_its_end_it_is_nothing() {
    let (desk, held) = (Desk::new(), Held::default());
    let abort = desk.start(&group(Mode::All, vec![Arc::new(held.clone())]));
    held.finish(int(1));
    desk.settle();
    abort.abort();
    desk.settle();
    assert!(desk.answer().is_ok());
}

#[test]
fn a_limit_over_a_race_is_the_only_thing_said() {
    let (desk, held) = (Desk::new(), Held::default());
    desk.start(&program(group(Mode::Race, vec![Arc::new(held.clone())]), &[limit(secs(5))]));
    desk.advance(5);
    held.finish(Err(Error::Cancelled));
    desk.settle();
    let outcome = desk.answer();
    assert!(matches!(&outcome, Err(Error::TimedOut(t)) if t.cause.is_none()), "{outcome:?}");
}

/// Its beginning is a task of the workers': at whatever point they end, each child is accounted for.
#[test]
fn workers_that_end_as_it_begins_leave_no_group_unanswered() {
    for steps in 0..2 {
        let (desk, held) = (Desk::new(), Held::default());
        let host = desk.host.clone();
        desk.begin(&group(Mode::All, (0..200).map(|_| Arc::new(held.clone()) as Arc<dyn Operation>).collect()));
        desk.steps(steps);
        let (begun, _) = held.counts();
        assert_eq!(begun > 0, steps > 0);
        assert!(begun < 200);
        let answers = desk.close();
        assert_eq!(held.counts(), (begun, begun), "those that run are asked to end");
        for left in (0..begun).rev() {
            assert_eq!(answers.len(), 0, "and waited for: {left}");
            held.finish(Err(Error::Cancelled));
        }
        assert!(matches!(&answers.take()[..], [(0, Err(Error::Cancelled))]));
        // A caller that still has the host gets its answer at once.
        group(Mode::Race, vec![Arc::new(held.clone())]).start(&host, Done::new(answers.clone(), 7));
        assert!(matches!(&answers.take()[..], [(7, Err(Error::Cancelled))]));
    }
}
