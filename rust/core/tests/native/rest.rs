//! Whether native work is at rest, asked again and again while it moves between workers, threads and the clock.

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use mountain_core::effect::{Abort, AtWork, Done, Host, Operation, Outcome, Starter, at_rest};
use mountain_core::runtime::spawn;
use mountain_core::sync::Mutex;
use mountain_core::time::{Clock, sleep_until};

use super::common::{Answers, Does, EAGAIN, int, limit, os, program, retry, secs};

/// Of these tests one runs at a time: they count what there is in the process.
static ALONE: Mutex<()> = Mutex::new(());

struct Works {
    runtime: tokio::runtime::Runtime,
    host: Arc<Host>,
    answers: Arc<Answers>,
}

impl Works {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(3).build().unwrap();
        let host = Host::new(runtime.handle().clone(), Clock::manual());
        Works { runtime, host, answers: Arc::default() }
    }

    fn start(&self, token: usize, operation: impl Operation + 'static) {
        Starter::begin(&self.host, Arc::new(operation), Done::new(self.answers.clone(), token));
    }

    fn at_rest(&self, but: usize) -> bool {
        at_rest(&[self.runtime.handle().clone()], but)
    }

    fn settle(&self, but: usize) {
        while !self.at_rest(but) {
            std::thread::yield_now();
        }
    }
}

/// Sleeps, and gives way a few times before and after; fails as often as it is told.
fn wanders(number: usize, failures: usize) -> impl Operation {
    Does::new(move |before, host, done| {
        let clock = host.clock.clone();
        let outcome: fn() -> Outcome = if before < failures { || os(EAGAIN) } else { || int(7) };
        spawn(host, done, async move {
            for _ in 0..number % 4 {
                tokio::task::yield_now().await;
            }
            sleep_until(&clock, clock.now().after(Duration::from_millis(1 + (number % 5) as u64))).await;
            for _ in 0..number % 3 {
                tokio::task::yield_now().await;
            }
            outcome()
        })
    })
}

/// When it says so, every call that has not been answered is asleep, and stays where it is.
#[test]
fn at_rest_all_that_is_not_answered_is_armed() {
    const CALLS: usize = 24;
    let _alone = ALONE.lock();
    let works = Works::new();
    let clock = &works.host.clock;
    for round in 0..60 {
        let begun = clock.now();
        for number in 0..CALLS {
            works.start(number, program(wanders(number, number % 7), &[retry(7, 0.01)]));
        }
        loop {
            works.settle(0);
            assert_eq!(works.answers.len() + clock.armed(), CALLS, "round {round}, after {:?}", clock.now().since(begun));
            let Some(next) = clock.first() else { break };
            assert!(next >= clock.now());
            clock.advance(next.since(clock.now()));
        }
        let answers = works.answers.take();
        assert!(answers.iter().all(|(_, outcome)| outcome.is_ok()), "{answers:?}");
        // The slowest is number 13: seven calls of 4 ms each, and 10 ms after each of six failures.
        assert_eq!(clock.now().since(begun), Duration::from_millis(88));
    }
}

/// A thread hands on what it has done before it counts no more.
#[test]
fn a_thread_at_work_is_waited_for() {
    let _alone = ALONE.lock();
    let works = Works::new();
    let (sender, jobs) = channel::<(Done, AtWork)>();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for (done, at_work) in jobs {
                std::thread::yield_now();
                done.finish(int(1));
                drop(at_work);
            }
        });
        let sender = Mutex::new(Some(sender));
        let by_thread = Arc::new(move |done: Option<Done>| match done {
            Some(done) => sender.lock().as_ref().unwrap().send((done, AtWork::begin())).unwrap(),
            None => drop(sender.lock().take()),
        });
        for round in 0..300 {
            for token in 0..4 {
                let to = by_thread.clone();
                let operation = Does::new(move |_, _: &Arc<Host>, done| {
                    to(Some(done));
                    Abort::Never
                });
                works.start(token, program(operation, &[limit(secs(60))]));
            }
            works.settle(0);
            assert_eq!(works.answers.take().len(), 4, "round {round}");
            assert_eq!(works.host.clock.armed(), 0);
        }
        by_thread(None);
    });
    let stuck = AtWork::begin();
    works.settle(1);
    assert!(!works.at_rest(0));
    assert_eq!(AtWork::count(), 1);
    drop(stuck);
    assert!(works.at_rest(0));
}

/// A busy worker is not at rest, even if no call waits for it.
#[test]
fn a_worker_that_is_busy_is_seen() {
    let _alone = ALONE.lock();
    let works = Works::new();
    works.settle(0);
    let (release, held) = channel::<()>();
    let (arrived, here) = channel();
    works.runtime.spawn(async move {
        arrived.send(()).unwrap();
        held.recv().unwrap();
    });
    here.recv().unwrap();
    for _ in 0..100 {
        assert!(!works.at_rest(0) && !works.at_rest(9));
    }
    release.send(()).unwrap();
    works.settle(0);
}
