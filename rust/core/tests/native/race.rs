//! A race of several operations: the first value, when the rest have ended, or all their failures.

use std::sync::Arc;

use mountain_core::effect::{Mode, Operation, Outcome};
use mountain_core::error::Error;
use mountain_core::value::Value;

use super::common::{Desk, Does, EAGAIN, ENOENT, Held, int, number, os};
use super::group::group;

/// The errnos of a race that must have failed.
#[track_caller]
fn errnos(outcome: &Outcome) -> Vec<i32> {
    match outcome {
        Err(Error::All(all)) => {
            all.iter().map(|e| if let Error::Os(e) = e { e.errno } else { panic!("not an errno: {e:?}") }).collect()
        }
        other => panic!("not failures: {other:?}"),
    }
}

#[test]
fn the_first_value_aborts_the_rest_and_waits_for_them() {
    let (desk, fast, slow) = (Desk::new(), Held::default(), Held::default());
    desk.start(&group(Mode::Race, vec![Arc::new(slow.clone()), Arc::new(Does::answers(|_| os(ENOENT))), Arc::new(fast.clone())]));
    assert_eq!((slow.counts(), fast.counts()), ((1, 0), (1, 0)), "a failure decides nothing");
    fast.finish(int(7));
    desk.settle();
    assert_eq!((slow.counts(), desk.answers.len()), ((1, 1), 0));
    slow.finish(int(8));
    desk.settle();
    assert_eq!(number(&desk.answer()), 7, "the first one, though the other had a value too");
}

#[test]
fn all_failures_come_in_the_order_of_the_children() {
    let (desk, held) = (Desk::new(), Held::default());
    desk.start(&group(Mode::Race, vec![Arc::new(held.clone()), Arc::new(Does::answers(|_| os(EAGAIN)))]));
    held.finish(os(ENOENT));
    desk.settle();
    assert_eq!(errnos(&desk.answer()), [ENOENT, EAGAIN]);
    assert_eq!(held.counts(), (1, 0));
}

#[test]
fn a_value_inside_start_keeps_the_later_children_from_starting() {
    let (desk, later) = (Desk::new(), Held::default());
    let children: Vec<Arc<dyn Operation>> = vec![Arc::new(Does::answers(|_| int(7))), Arc::new(later.clone())];
    assert_eq!(number(&desk.run(&group(Mode::Race, children))), 7);
    assert_eq!(later.counts(), (0, 0));
}

#[test]
fn a_panic_in_a_start_is_one_failure_among_others() {
    let desk = Desk::new();
    let panics = || Arc::new(Does::new(|_, _, _| panic!("in start"))) as Arc<dyn Operation>;
    assert_eq!(number(&desk.run(&group(Mode::Race, vec![panics(), Arc::new(Does::answers(|_| int(7)))]))), 7);
    let outcome = desk.run(&group(Mode::Race, vec![panics(), panics()]));
    assert!(matches!(&outcome, Err(Error::All(all)) if matches!(all[..], [Error::Panic(_), Error::Panic(_)])), "{outcome:?}");
}

#[test]
fn of_none_is_an_empty_list_too() {
    let desk = Desk::new();
    assert!(matches!(desk.run(&group(Mode::Race, Vec::new())), Ok(Value::List(none)) if none.is_empty()));
}
