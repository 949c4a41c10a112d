//! Calls that are queued for a worker to begin: each is answered, whether it begins, is asked to end before, panics, or
//! finds no worker.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use mountain_core::effect::{Abort, Done, Host, Operation, Starter};
use mountain_core::error::Error;

use super::common::{Desk, Does, Held, int};

fn queue(desk: &Desk, host: &Arc<Host>, token: usize, operation: impl Operation + 'static) -> Abort {
    Starter::begin(host, Arc::new(operation), Done::new(desk.answers.clone(), token))
}

#[test]
fn each_begins_once_and_in_order() {
    let desk = Desk::new();
    let host = desk.host.clone();
    let count = Arc::new(AtomicUsize::new(0));
    for n in 0..300 {
        let count = count.clone();
        let _ = queue(&desk, &host, n, Does::answers(move |_| int(count.fetch_add(1, Ordering::SeqCst).try_into().unwrap())));
    }
    assert_eq!(desk.answers.len(), 0, "nothing begins on the thread that queues");
    desk.settle();
    let answers = desk.answers.take();
    assert!((0..300).all(|n| answers[n].0 == n && matches!(&answers[n].1, Ok(v) if format!("{v:?}") == format!("Int({n})"))));
}

#[test]
fn asked_before_it_begins_it_never_does() {
    let (desk, held) = (Desk::new(), Held::default());
    let host = desk.host.clone();
    let abort = queue(&desk, &host, 0, held.clone());
    abort.abort();
    abort.abort();
    assert!(matches!(desk.answer(), Err(Error::Cancelled)));
    desk.settle();
    assert_eq!((held.counts(), desk.answers.len()), ((0, 0), 0));
}

#[test]
fn asked_after_it_has_begun_it_is_told() {
    let (desk, held) = (Desk::new(), Held::default());
    let host = desk.host.clone();
    let abort = queue(&desk, &host, 0, held.clone());
    desk.settle();
    abort.abort();
    assert_eq!((held.counts(), desk.answers.len()), ((1, 1), 0));
    held.finish(Err(Error::Cancelled));
    assert!(matches!(desk.answer(), Err(Error::Cancelled)));
}

#[test]
fn a_panic_as_it_begins_is_its_outcome_and_the_next_one_begins() {
    let desk = Desk::new();
    let host = desk.host.clone();
    let _ = queue(&desk, &host, 0, Does::new(|_, _, _| panic!("in start")));
    let _ = queue(&desk, &host, 1, Does::answers(|_| int(1)));
    desk.settle();
    let answers = desk.answers.take();
    assert!(matches!(&answers[..], [(0, Err(Error::Panic(_))), (1, Ok(_))]), "{answers:?}");
}

#[test]
fn without_workers_it_is_cancelled() {
    let (desk, held) = (Desk::new(), Held::default());
    let host = desk.host.clone();
    let kept = [queue(&desk, &host, 0, held.clone()), queue(&desk, &host, 1, held.clone())];
    let answers = desk.close();
    assert!(matches!(&answers.take()[..], [(0, Err(Error::Cancelled)), (1, Err(Error::Cancelled))]));
    // The workers have gone; a caller that still has the host is answered as well.
    let late = Starter::begin(&host, Arc::new(held.clone()), Done::new(answers.clone(), 2));
    assert!(matches!(&answers.take()[..], [(2, Err(Error::Cancelled))]));
    assert_eq!(held.counts(), (0, 0));
    drop((kept, late));
}
