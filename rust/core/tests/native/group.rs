//! All of several operations: their values in order, or the first failure when the rest have ended.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use mountain_core::effect::{Group, Mode, Operation, Outcome};
use mountain_core::error::Error;
use mountain_core::runtime::spawn;
use mountain_core::value::Value;

use super::common::{Desk, Does, EAGAIN, ENOENT, Held, errno, int, limit, number, os, program, retry, secs};

pub(crate) fn group(mode: Mode, children: Vec<Arc<dyn Operation>>) -> Group {
    Group { children, mode, told: None }
}

/// The numbers in a list that must have them.
#[track_caller]
fn numbers(outcome: Outcome) -> Vec<i64> {
    match outcome {
        Ok(Value::List(items)) => items.into_iter().map(|item| number(&Ok(item))).collect(),
        other => panic!("not a list: {other:?}"),
    }
}

#[test]
fn values_come_in_the_order_of_the_children() {
    let (desk, held) = (Desk::new(), Held::default());
    let spawned = Does::new(|_, host, done| spawn(host, done, async { int(2) }));
    desk.start(&group(Mode::All, vec![Arc::new(held.clone()), Arc::new(Does::answers(|_| int(1))), Arc::new(spawned)]));
    assert_eq!(desk.answers.len(), 0);
    held.finish(int(0));
    desk.settle();
    assert_eq!(numbers(desk.answer()), [0, 1, 2]);
}

#[test]
fn of_none_is_empty_at_once() {
    let desk = Desk::new();
    desk.begin(&group(Mode::All, Vec::new()));
    assert!(numbers(desk.answer()).is_empty());
}

#[test]
fn the_first_failure_aborts_the_rest_and_waits_for_them() {
    let (desk, failing, slow) = (Desk::new(), Held::default(), Held::default());
    desk.start(&group(Mode::All, vec![Arc::new(slow.clone()), Arc::new(failing.clone()), Arc::new(Does::answers(|_| int(1)))]));
    failing.finish(os(ENOENT));
    desk.settle();
    assert_eq!((slow.counts(), desk.answers.len()), ((1, 1), 0), "asked, and waited for");
    slow.finish(os(EAGAIN));
    desk.settle();
    assert_eq!(errno(&desk.answer()), ENOENT, "the first one, not what came of asking");
}

#[test]
fn a_failure_inside_start_keeps_the_later_children_from_starting() {
    let (desk, before, after) = (Desk::new(), Held::default(), Held::default());
    desk.start(&group(
        Mode::All,
        vec![Arc::new(before.clone()), Arc::new(Does::answers(|_| os(ENOENT))), Arc::new(after.clone())],
    ));
    assert_eq!((before.counts(), after.counts()), ((1, 1), (0, 0)));
    assert_eq!(desk.answers.len(), 0);
    before.finish(Err(Error::Cancelled));
    desk.settle();
    assert_eq!(errno(&desk.answer()), ENOENT);
}

#[test]
fn a_panic_in_a_start_is_the_groups_outcome() {
    let (desk, before) = (Desk::new(), Held::default());
    let (panics, after) = (Does::new(|_, _, _| panic!("in start")), Does::answers(|_| int(1)));
    let started = after.starts();
    desk.start(&group(Mode::All, vec![Arc::new(before.clone()), Arc::new(panics), Arc::new(after)]));
    assert_eq!((before.counts(), started.load(Ordering::SeqCst)), ((1, 1), 0));
    before.finish(Err(Error::Cancelled));
    desk.settle();
    let outcome = desk.answer();
    assert!(matches!(outcome, Err(Error::Panic(_))), "{outcome:?}");
    assert_eq!(number(&desk.run(&Does::answers(|_| int(1)))), 1, "the next call works");
}

#[test]
fn children_have_stacks_of_their_own_and_the_group_one_too() {
    let desk = Desk::new();
    let flaky = program(Does::answers(|n| if n % 2 == 0 { os(EAGAIN) } else { int(3) }), &[retry(2, 10.0)]);
    let children: Vec<Arc<dyn Operation>> =
        vec![Arc::new(flaky), Arc::new(Does::answers(|n| if n == 0 { os(ENOENT) } else { int(4) }))];
    desk.start(&program(group(Mode::All, children), &[limit(secs(60)), retry(2, 1.0)]));
    assert_eq!(desk.host.clock.armed(), 2, "the limit and the outer backoff: the child's was aborted");
    desk.advance(1);
    desk.advance(10);
    let outcome = desk.answer();
    assert_eq!(numbers(outcome), [3, 4]);
}

#[test]
fn groups_nest() {
    let desk = Desk::new();
    let inner = || Arc::new(group(Mode::All, vec![Arc::new(Does::answers(|_| int(1)))])) as Arc<dyn Operation>;
    let Ok(Value::List(lists)) = desk.run(&group(Mode::All, vec![inner(), inner()])) else { panic!("a list of lists") };
    assert_eq!(lists.into_iter().map(|l| numbers(Ok(l))).collect::<Vec<_>>(), [[1], [1]]);
}
