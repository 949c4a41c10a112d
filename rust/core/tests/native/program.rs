//! An operation under its stack: values, failures by errno, retries, panics, lost answers.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use mountain_core::effect::NativeOn;
use mountain_core::error::Error;
use mountain_core::observe::{Count, Tally};
use mountain_core::runtime::spawn;

use super::common::{Desk, Does, EAGAIN, ENOENT, Held, attempts_and_errno, int, limit, number, on, os, program, retry, secs};

#[test]
fn a_value_comes_back_through_any_stack() {
    let desk = Desk::new();
    for stack in [&[][..], &[limit(secs(5))], &[limit(secs(5)), retry(3, 1.0), limit(secs(1))]] {
        assert_eq!(number(&desk.run(&program(Does::answers(|_| int(7)), stack))), 7);
        let spawned = Does::new(|_, host, done| spawn(host, done, async { int(8) }));
        assert_eq!(number(&desk.run(&program(spawned, stack))), 8);
    }
}

#[test]
fn starting_it_twice_does_it_twice() {
    let desk = Desk::new();
    let operation = Does::answers(|n| int(i64::try_from(n).unwrap()));
    let program = program(operation, &[limit(secs(5))]);
    assert_eq!(number(&desk.run(&program)), 0);
    assert_eq!(number(&desk.run(&program)), 1);
}

#[test]
fn a_retry_goes_on_from_the_errnos_that_it_names() {
    let cases: [(NativeOn, i32, u32); 5] = [
        (NativeOn::All, ENOENT, 3),
        (NativeOn::Errnos(vec![ENOENT, EAGAIN]), ENOENT, 3),
        (NativeOn::Errnos(vec![EAGAIN]), EAGAIN, 3),
        (NativeOn::Errnos(vec![EAGAIN]), ENOENT, 1),
        (NativeOn::Errnos(vec![]), ENOENT, 1),
    ];
    let desk = Desk::new();
    for (named, raised, starts) in cases {
        let operation = Does::answers(move |_| os(raised));
        let count = operation.starts();
        let outcome = desk.run(&on(operation, &[retry(3, 0.0)], std::slice::from_ref(&named)));
        assert_eq!(attempts_and_errno(&outcome), (starts, raised), "{named:?}");
        assert_eq!(count.load(Ordering::SeqCst), starts as usize);
    }
}

#[test]
fn each_retry_has_its_own_names() {
    let desk = Desk::new();
    let operation = Does::answers(|n| os([EAGAIN, ENOENT][n % 2]));
    let count = operation.starts();
    let outcome = desk.run(&on(
        operation,
        &[retry(2, 0.0), retry(9, 0.0)],
        &[NativeOn::Errnos(vec![ENOENT]), NativeOn::Errnos(vec![EAGAIN])],
    ));
    assert_eq!(attempts_and_errno(&outcome), (4, ENOENT));
    assert_eq!(count.load(Ordering::SeqCst), 4, "the inner one goes on from EAGAIN, the outer one once from ENOENT");
}

#[test]
fn what_is_no_os_error_is_not_retried() {
    let desk = Desk::new();
    for outcome in [|| Error::Invalid("no".into()), || Error::Cancelled, || Error::Panic("ours".into())] {
        let operation = Does::answers(move |_| Err(outcome()));
        let count = operation.starts();
        assert!(desk.run(&program(operation, &[retry(3, 0.0)])).is_err());
        assert_eq!(count.load(Ordering::SeqCst), 1);
    }
}

#[test]
fn a_backoff_is_slept_on_the_clock_and_retries_are_counted() {
    let desk = Desk::new();
    let tally = Arc::new(Tally::default());
    let operation = Does::answers(|n| if n < 2 { os(EAGAIN) } else { int(7) });
    let mut program = program(operation, &[retry(5, 10.0)]);
    program.tally = Some(tally.clone());
    desk.start(&program);
    for _ in 0..2 {
        assert_eq!((desk.answers.len(), desk.host.clock.armed()), (0, 1));
        desk.advance(10);
    }
    assert_eq!(number(&desk.answer()), 7);
    assert_eq!(tally.total(Count::Retried), 2);
}

#[test]
fn a_panic_is_an_outcome_and_is_not_retried() {
    let desk = Desk::new();
    let in_start = Does::new(|_, _, _| panic!("in start"));
    let in_body = Does::new(|_, host, done| spawn(host, done, async { panic!("in body") }));
    let starts = [in_start.starts(), in_body.starts()];
    let stack = [retry(3, 0.0), limit(secs(5))];
    for (program, said) in [(program(in_start, &stack), "in start"), (program(in_body, &stack), "in body")] {
        let outcome = desk.run(&program);
        assert!(matches!(&outcome, Err(Error::Panic(text)) if text == said), "{outcome:?}");
    }
    assert!(starts.iter().all(|s| s.load(Ordering::SeqCst) == 1));
    assert_eq!(number(&desk.run(&program(Does::answers(|_| int(1)), &stack))), 1, "the next call works");
}

#[test]
fn a_forgotten_call_is_answered_as_cancelled() {
    for stack in [&[][..], &[retry(3, 0.0), limit(secs(5))]] {
        let (desk, held) = (Desk::new(), Held::default());
        desk.start(&program(held.clone(), stack));
        held.forget();
        desk.settle();
        assert!(matches!(desk.answer(), Err(Error::Cancelled)));
        assert_eq!(held.counts().0, 1);
    }
}

#[test]
fn a_runtime_that_ends_answers_what_it_still_had() {
    let (desk, held) = (Desk::new(), Held::default());
    desk.start(&program(held.clone(), &[limit(secs(5))]));
    desk.begin(&program(Does::answers(|_| int(1)), &[limit(secs(5))]));
    let clock = desk.host.clock.clone();
    let answers = desk.close().take();
    assert_eq!(answers.len(), 2);
    assert!(answers.iter().all(|(_, outcome)| matches!(outcome, Err(Error::Cancelled))));
    assert_eq!((held.counts(), clock.armed()), ((1, 1), 0), "the call that ran was asked to end");
}

#[test]
fn programs_nest() {
    let desk = Desk::new();
    let flaky = Does::answers(|n| if n == 2 { int(7) } else { os(EAGAIN) });
    let inner = program(flaky, &[retry(2, 0.0)]);
    assert_eq!(number(&desk.run(&program(inner, &[retry(2, 0.0)]))), 7);
}
