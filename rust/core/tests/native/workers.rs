//! On real workers and real time: panics leave them alive, and however starts, ends and aborts fall, each call is
//! answered once.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mountain_core::effect::{Abort, Done, Group, Host, Mode, Operation, Outcome, Sink};
use mountain_core::error::Error;
use mountain_core::runtime::spawn;
use mountain_core::time::{Clock, sleep_until};
use mountain_core::value::Memory;

use super::common::{Does, EAGAIN, int, limit, number, os, program, retry, secs};

struct Post(Mutex<Sender<(usize, Outcome)>>);

impl Sink for Post {
    fn deliver(&self, token: usize, outcome: Outcome) {
        // A failed send is a test that has ended already.
        let _ = self.0.lock().unwrap().send((token, outcome));
    }

    fn allocate(&self, _sizes: Vec<usize>, _then: Box<dyn FnOnce(Arc<dyn Memory>) + Send>) {}
}

struct Works {
    runtime: tokio::runtime::Runtime,
    host: Arc<Host>,
    post: Arc<Post>,
    answers: Receiver<(usize, Outcome)>,
}

impl Works {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
        let (sender, answers) = channel();
        let host = Host::new(runtime.handle().clone(), Clock::real());
        Works { runtime, host, post: Arc::new(Post(Mutex::new(sender))), answers }
    }

    fn start(&self, token: usize, operation: &dyn Operation) -> Abort {
        operation.start(&self.host, Done::new(self.post.clone(), token))
    }

    #[track_caller]
    fn answer(&self) -> (usize, Outcome) {
        self.answers.recv_timeout(Duration::from_secs(30)).expect("an answer")
    }

    /// Nothing is left on the clock, and no call is answered twice.
    fn close(self) {
        assert_eq!(self.host.clock.armed(), 0);
        drop(self.runtime);
        assert!(self.answers.try_recv().is_err());
        self.host.clock.close();
    }
}

/// Lets others go first a few times, then ends so.
fn dawdles(times: usize, outcome: fn() -> Outcome) -> impl Operation {
    Does::new(move |_, host, done| {
        spawn(host, done, async move {
            for _ in 0..times {
                tokio::task::yield_now().await;
            }
            outcome()
        })
    })
}

#[test]
fn a_limit_fires_in_real_time() {
    let works = Works::new();
    let sleeps = Does::new(|_, host, done| {
        let clock = host.clock.clone();
        spawn(host, done, async move {
            sleep_until(&clock, clock.now().after(secs(3600))).await;
            int(1)
        })
    });
    let began = works.host.clock.now();
    works.start(0, &program(sleeps, &[limit(Duration::from_millis(10))]));
    let (_, outcome) = works.answer();
    assert!(matches!(&outcome, Err(Error::TimedOut(t)) if t.cause.is_none()), "{outcome:?}");
    let took = works.host.clock.now().since(began);
    assert!(took >= Duration::from_millis(10) && took < secs(30), "{took:?}");
    works.close();
}

#[test]
fn panics_leave_the_workers_alive() {
    let works = Works::new();
    for token in 0..20 {
        let panics = Does::new(|_, host, done| spawn(host, done, async { panic!("on purpose") }));
        works.start(token, &program(panics, &[retry(3, 0.0)]));
    }
    for _ in 0..20 {
        let (_, outcome) = works.answer();
        assert!(matches!(&outcome, Err(Error::Panic(text)) if text == "on purpose"), "{outcome:?}");
    }
    works.start(20, &program(dawdles(1, || int(7)), &[limit(secs(60))]));
    assert_eq!(number(&works.answer().1), 7);
    works.close();
}

#[test]
fn each_call_is_answered_once_wherever_its_abort_falls() {
    const CALLS: usize = 3000;
    let works = Works::new();
    for token in 0..CALLS {
        let outcome: fn() -> Outcome = if token % 2 == 0 { || int(7) } else { || os(EAGAIN) };
        let stack = [limit(secs(60)), retry(3, 1e-6 * f64::from(u8::try_from(token % 5).unwrap()))];
        let abort = works.start(token, &program(dawdles(token % 7, outcome), &stack));
        if token % 3 != 0 {
            (0..token % 11 * 50).for_each(|_| std::hint::spin_loop());
            abort.abort();
        }
    }
    let mut seen = vec![0; CALLS];
    for _ in 0..CALLS {
        let (token, outcome) = works.answer();
        seen[token] += 1;
        let fits = match outcome {
            Ok(_) => token % 2 == 0,
            Err(Error::Os(_) | Error::Attempted(..)) => token % 2 == 1,
            Err(Error::Cancelled) => token % 3 != 0,
            Err(_) => false,
        };
        assert!(fits, "call {token}");
    }
    assert!(seen.iter().all(|&n| n == 1));
    works.close();
}

#[test]
fn each_group_is_answered_once_wherever_its_abort_falls() {
    const GROUPS: usize = 500;
    let works = Works::new();
    for token in 0..GROUPS {
        let mode = if token % 2 == 0 { Mode::All } else { Mode::Race };
        let children = (0..8).map(|i| {
            let outcome: fn() -> Outcome = if i == token % 16 { || os(EAGAIN) } else { || int(7) };
            Arc::new(program(dawdles((token + i) % 5, outcome), &[limit(secs(60))])) as Arc<dyn Operation>
        });
        let abort = works.start(token, &Group { children: children.collect(), mode, told: None });
        if token % 3 == 0 {
            (0..token % 13 * 100).for_each(|_| std::hint::spin_loop());
            abort.abort();
        }
    }
    let mut seen = vec![0; GROUPS];
    for _ in 0..GROUPS {
        let (token, outcome) = works.answer();
        seen[token] += 1;
        assert!(!matches!(outcome, Err(Error::Cancelled)) || token % 3 == 0, "group {token}: {outcome:?}");
    }
    assert!(seen.iter().all(|&n| n == 1));
    works.close();
}
