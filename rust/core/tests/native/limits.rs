//! A limit over an operation: it is asked to end, and waited for.

use mountain_core::effect::Deadline;
use mountain_core::effect::NativeOn;
use mountain_core::error::Error;
use mountain_core::error::Owner;
use mountain_core::time::Instant;

use super::common::{Desk, EAGAIN, Held, int, limit, number, os, program, retry, secs};

#[track_caller]
fn owner_and_cause(outcome: Result<mountain_core::value::Value, Error>) -> (Owner, Option<Error>) {
    match outcome {
        Err(Error::TimedOut(t)) => (t.owner, t.cause),
        other => panic!("not a time-out: {other:?}"),
    }
}

#[test]
fn the_answer_waits_for_the_operations_own_end() {
    let (desk, held) = (Desk::new(), Held::default());
    desk.start(&program(held.clone(), &[limit(secs(9)), limit(secs(5))]));
    desk.advance(4);
    assert_eq!(held.counts(), (1, 0));
    desk.advance(1);
    assert_eq!(held.counts(), (1, 1));
    desk.advance(60);
    assert_eq!(held.counts(), (1, 1), "asked once, though two limits passed");
    assert_eq!(desk.answers.len(), 0);
    held.finish(Err(Error::Cancelled));
    desk.settle();
    let (owner, cause) = owner_and_cause(desk.answer());
    assert_eq!(owner, Owner::Layer(0));
    assert!(matches!(cause, Some(Error::TimedOut(t)) if t.owner == Owner::Layer(1) && t.cause.is_none()));
}

#[test]
fn late_values_win_and_late_failures_are_the_cause() {
    let (desk, held) = (Desk::new(), Held::default());
    let program = program(held.clone(), &[limit(secs(5))]);
    desk.start(&program);
    desk.advance(5);
    held.finish(int(7));
    desk.settle();
    assert_eq!(number(&desk.answer()), 7);
    desk.start(&program);
    desk.advance(5);
    held.finish(os(EAGAIN));
    desk.settle();
    assert!(matches!(owner_and_cause(desk.answer()), (Owner::Layer(0), Some(Error::Os(e))) if e.errno == EAGAIN));
}

#[test]
fn an_inner_time_out_is_retried_without_being_named() {
    let (desk, held) = (Desk::new(), Held::default());
    let named_nothing =
        super::common::on(held.clone(), &[retry(2, 0.0), limit(secs(5))], &[NativeOn::Errnos(vec![]), NativeOn::Errnos(vec![])]);
    desk.start(&named_nothing);
    desk.advance(5);
    held.finish(Err(Error::Cancelled));
    desk.settle();
    assert_eq!(held.counts(), (2, 1));
    held.finish(int(7));
    desk.settle();
    assert_eq!(number(&desk.answer()), 7);
}

#[test]
fn an_inherited_deadline_is_kept_by_the_program_itself() {
    let (desk, held) = (Desk::new(), Held::default());
    let mut program = program(held.clone(), &[]);
    program.inherited = Deadline { at: Instant::from_nanos(0).after(secs(5)), owner: Owner::Inherited };
    desk.start(&program);
    desk.advance(5);
    assert_eq!(held.counts(), (1, 1));
    held.finish(Err(Error::Cancelled));
    desk.settle();
    assert!(matches!(owner_and_cause(desk.answer()), (Owner::Inherited, None)));
    assert!(matches!(owner_and_cause(desk.run(&program)), (Owner::Inherited, None)));
    assert_eq!(held.counts().0, 1, "it had passed: nothing was started");
}

#[test]
fn a_late_panic_is_not_hidden_by_the_limit() {
    let (desk, held) = (Desk::new(), Held::default());
    desk.start(&program(held.clone(), &[limit(secs(5))]));
    desk.advance(5);
    held.finish(Err(Error::Panic("ours".into())));
    desk.settle();
    assert!(matches!(desk.answer(), Err(Error::Panic(text)) if text == "ours"));
}
