//! A program that is asked to end from outside answers once, when its operation has ended.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use mountain_core::error::Error;
use mountain_core::policy::Layer;
use mountain_core::runtime::spawn;

use super::common::{Desk, Does, EAGAIN, Held, int, limit, number, os, program, retry, secs};

fn stack() -> [Layer; 3] {
    [limit(secs(7200)), retry(9, 3600.0), limit(secs(600))]
}

#[test]
fn while_the_operation_runs_it_is_asked_and_waited_for() {
    let (desk, held) = (Desk::new(), Held::default());
    let abort = desk.start(&program(held.clone(), &stack()));
    for _ in 0..3 {
        abort.abort();
        desk.settle();
    }
    assert_eq!(held.counts(), (1, 1), "asked once, however often we are");
    assert_eq!(desk.answers.len(), 0, "it still runs");
    held.finish(Err(Error::Cancelled));
    desk.settle();
    assert!(matches!(desk.answer(), Err(Error::Cancelled)));
}

#[test]
fn a_value_in_reply_wins() {
    let (desk, held) = (Desk::new(), Held::default());
    let abort = desk.start(&program(held.clone(), &stack()));
    abort.abort();
    desk.settle();
    held.finish(int(7));
    desk.settle();
    assert_eq!(number(&desk.answer()), 7);
}

#[test]
fn a_failure_in_reply_is_not_retried_and_its_backoff_not_slept() {
    for wait in [3600.0, 0.0] {
        let (desk, held) = (Desk::new(), Held::default());
        let abort = desk.start(&program(held.clone(), &[retry(9, wait)]));
        abort.abort();
        desk.settle();
        held.finish(os(EAGAIN));
        desk.settle();
        assert!(matches!(desk.answer(), Err(Error::Cancelled)));
        assert_eq!(held.counts(), (1, 1));
    }
}

#[test]
fn before_anything_ran_nothing_is_started() {
    let (desk, held) = (Desk::new(), Held::default());
    let abort = desk.begin(&program(held.clone(), &stack()));
    abort.abort();
    desk.settle();
    assert!(matches!(desk.answer(), Err(Error::Cancelled)));
    assert_eq!(held.counts(), (0, 0));
}

#[test]
fn in_a_backoff_the_answer_comes_at_once() {
    let desk = Desk::new();
    let operation = Does::answers(|_| os(EAGAIN));
    let starts = operation.starts();
    let abort = desk.start(&program(operation, &stack()));
    assert_eq!(desk.answers.len(), 0);
    abort.abort();
    desk.settle();
    assert!(matches!(desk.answer(), Err(Error::Cancelled)));
    assert_eq!(starts.load(Ordering::SeqCst), 1);
}

#[test]
fn after_the_end_it_is_nothing() {
    let desk = Desk::new();
    let abort = desk.start(&program(Does::answers(|_| int(7)), &stack()));
    abort.abort();
    desk.settle();
    assert_eq!(number(&desk.answer()), 7);
}

#[test]
fn a_spawned_body_is_gone_before_its_answer_comes() {
    struct Bomb(Arc<AtomicUsize>, Arc<super::common::Answers>);
    impl Drop for Bomb {
        fn drop(&mut self) {
            self.0.store(1 + self.1.len(), Ordering::SeqCst);
        }
    }
    for stack in [&[][..], &stack()] {
        let desk = Desk::new();
        let (seen, answers) = (Arc::new(AtomicUsize::new(0)), desk.answers.clone());
        let operation = {
            let seen = seen.clone();
            Does::new(move |_, host, done| {
                let bomb = Bomb(seen.clone(), answers.clone());
                spawn(host, done, async move {
                    std::future::pending::<()>().await;
                    drop(bomb);
                    int(1)
                })
            })
        };
        let abort = desk.start(&program(operation, stack));
        assert_eq!(seen.load(Ordering::SeqCst), 0);
        abort.abort();
        desk.settle();
        assert!(matches!(desk.answer(), Err(Error::Cancelled)));
        assert_eq!(seen.load(Ordering::SeqCst), 1, "dropped when no answer had come yet");
    }
}
