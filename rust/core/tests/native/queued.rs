//! Native calls that wait for a permit: the order in which they begin, and that each permit comes back.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};

use mountain_core::effect::{Abort, Done, Operation, Outcome, Sink};
use mountain_core::error::{Error, Reason, Refused};
use mountain_core::policy::limit::{Limit, Overflow, Permit, Settings};
use mountain_core::runtime::{Queued, Then};
use mountain_core::schedule::Priority;
use mountain_core::value::{Memory, Value};

use super::common::{Desk, Does, Held, int};

fn of(n: u32) -> Arc<Limit> {
    Limit::new(Settings { n, most_waiting: None, overflow: Overflow::Reject })
}

fn queued(limit: &Arc<Limit>, priority: Priority, operation: impl Operation + 'static) -> Queued {
    Queued { limit: limit.clone(), priority, held: None, then: Then::Begin(Arc::new(operation)) }
}

#[test]
fn they_begin_by_priority_and_in_their_order() {
    let (desk, one, held) = (Desk::new(), of(1), Held::default());
    desk.start(&queued(&one, Priority::Normal, held.clone()));
    for (n, priority) in [Priority::Low, Priority::Low, Priority::Normal, Priority::High].into_iter().enumerate() {
        desk.start(&queued(&one, priority, Does::answers(move |_| int(n.try_into().unwrap()))));
    }
    assert_eq!((desk.answers.len(), one.counts()), (0, (1, [2, 1, 1])));
    held.finish(int(9));
    desk.settle();
    let order: Vec<usize> = desk.answers.take().into_iter().map(|(token, _)| token).collect();
    assert_eq!((order, one.counts()), (vec![0, 4, 3, 1, 2], (0, [0, 0, 0])));
}

#[test]
fn many_that_end_at_once_are_no_recursion() {
    let (desk, one, held) = (Desk::new(), of(1), Held::default());
    desk.start(&queued(&one, Priority::Normal, held.clone()));
    let noop = Arc::new(Does::answers(|_| int(1)));
    for _ in 0..100_000 {
        let then = Then::Begin(noop.clone());
        desk.begin(&Queued { limit: one.clone(), priority: Priority::Normal, held: None, then });
    }
    held.finish(int(0));
    while one.counts().0 > 0 {
        desk.settle();
    }
    assert_eq!(desk.answers.len(), 100_001);
}

#[test]
fn asked_to_end_they_leave_or_are_asked_on() {
    let (desk, one, held, next) = (Desk::new(), of(1), Held::default(), Held::default());
    let first = desk.start(&queued(&one, Priority::Normal, held.clone()));
    let second = desk.start(&queued(&one, Priority::Normal, next.clone()));
    desk.start(&queued(&one, Priority::Normal, next.clone()));
    second.abort();
    assert!(matches!(desk.answers.take()[..], [(1, Err(Error::Cancelled))]));
    assert_eq!(one.counts(), (1, [0, 1, 0]));
    first.abort();
    assert_eq!((held.counts(), next.counts(), one.counts().0), ((1, 1), (0, 0), 1));
    // It has its permit until it has ended; a bug that forgets it gives it back all the same.
    held.forget();
    desk.settle();
    assert_eq!((next.counts(), one.counts()), ((1, 0), (1, [0, 0, 0])));
    next.finish(int(1));
    assert_eq!(one.counts().0, 0);
}

#[test]
fn with_nothing_to_begin_any_more_they_are_told() {
    let (desk, one, held) = (Desk::new(), of(1), Held::default());
    desk.start(&queued(&one, Priority::Normal, held.clone()));
    desk.start(&queued(&one, Priority::Normal, held.clone()));
    one.refuse_all();
    let answers = desk.answers.take();
    assert!(matches!(answers[..], [(1, Err(Error::Refused(Refused { why: Reason::Stopping, .. })))]));
    held.finish(int(1));
    assert_eq!(one.counts(), (0, [0, 0, 0]));
}

#[test]
fn a_permit_that_is_handed_on_is_given_back_with_its_value() {
    let (desk, one) = (Desk::new(), of(1));
    let hand = Queued { limit: one.clone(), priority: Priority::Normal, held: None, then: Then::Hand(None) };
    desk.start(&hand);
    let waiting = desk.start(&hand);
    desk.start(&hand);
    let (_, first) = desk.answers.take().pop().unwrap();
    waiting.abort();
    assert!(matches!(desk.answers.take()[..], [(1, Err(Error::Cancelled))]));
    let Ok(Value::Other(permit)) = first else { panic!("{first:?}") };
    assert!(permit.is::<Permit>() && one.counts() == (1, [0, 1, 0]));
    drop(permit);
    desk.settle();
    assert_eq!(one.counts(), (1, [0, 0, 0]));
    drop(desk.answers.take());
    assert_eq!(one.counts(), (0, [0, 0, 0]));
}

/// Lets go of what it is given, and counts.
#[derive(Default)]
struct Drain(AtomicUsize);

impl Sink for Drain {
    fn deliver(&self, _token: usize, _outcome: Outcome) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    fn allocate(&self, _sizes: Vec<usize>, _then: Box<dyn FnOnce(Arc<dyn Memory>) + Send>) {}
}

/// In the very moment: the permit goes on from one to the next while another thread asks them all to end, and none
/// leaves by another's number.
#[test]
fn asked_to_end_as_their_permit_comes() {
    const CALLS: usize = 32;
    for then in [Then::Hand(None), Then::Begin(Arc::new(Does::answers(|_| int(1))))] {
        let (desk, one, drain) = (Desk::new(), of(1), Arc::new(Drain::default()));
        let call = Queued { limit: one.clone(), priority: Priority::Normal, held: None, then };
        for round in 1..=3000 {
            let permit = one.try_permit(&desk.host.clock, 0, None).unwrap();
            let begin = |token| call.start(&desk.host, Done::new(drain.clone(), token));
            let calls: Vec<_> = (0..CALLS).map(begin).collect();
            let both = Barrier::new(2);
            std::thread::scope(|threads| {
                threads.spawn(|| {
                    both.wait();
                    calls.iter().for_each(Abort::abort);
                });
                both.wait();
                drop(permit);
            });
            desk.settle();
            assert_eq!((drain.0.load(Ordering::SeqCst), one.counts()), (round * CALLS, (0, [0, 0, 0])));
        }
    }
}
