use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use mountain_core::error::Error;
use mountain_core::value::Value;

use super::seats::Pool;
use super::{Grip, Job, Step};
use crate::testing::{self, Call, Gate, start_job};

fn answer(n: i64) -> Step {
    Step::Answer(Ok(Value::Int(n)))
}

/// A pool of a test's own.
#[derive(Clone, Copy)]
struct Own(&'static Pool<Job>);

impl Own {
    fn new() -> Self {
        Own(Box::leak(Box::new(Pool::new(2))))
    }

    fn start(self, grip: Grip, work: impl FnOnce(&Job) -> Step + Send + 'static) -> Call {
        testing::call(|done| super::run_on(self.0, grip, done, work))
    }

    /// So many jobs held up at the gate, on the pool's two seats or in its queue.
    fn hold(self, count: usize, grip: Grip, gate: &Gate) -> Vec<Call> {
        let hold = |_| {
            let gate = gate.clone();
            self.start(grip, move |_| {
                gate.wait();
                answer(0)
            })
        };
        (0..count).map(hold).collect()
    }

    fn assert_usable(self) {
        let calls: Vec<Call> = (0..100).map(|i| self.start(Grip::Firm, move |_| answer(i))).collect();
        for (i, call) in (0..).zip(&calls) {
            assert!(matches!(call.outcome(), Ok(Value::Int(n)) if n == i));
        }
    }

    /// Every thread that was left behind has come back, and no more of them stay than there are seats.
    fn assert_settles(self) {
        while self.0.abandoned() > 0 {
            std::thread::yield_now();
        }
        self.assert_usable();
        assert!(self.0.seated() <= 2 && self.0.queued() == 0);
    }
}

fn abort_all(calls: &[Call]) {
    for call in calls {
        call.abort.abort();
    }
}

fn is_cancelled(call: &Call) -> bool {
    matches!(call.within(1000), Some(Err(Error::Cancelled)))
}

#[test]
fn a_queued_job_is_dropped_at_once() {
    let (pool, gate) = (Own::new(), Gate::default());
    let held = pool.hold(2, Grip::Firm, &gate);
    gate.reached(2);
    let (ran, count) = (Arc::new(AtomicUsize::new(0)), 50);
    let queue = |_| {
        let ran = ran.clone();
        pool.start(Grip::Firm, move |_| {
            ran.fetch_add(1, Ordering::SeqCst);
            answer(1)
        })
    };
    let waiting: Vec<Call> = (0..count).map(queue).collect();
    abort_all(&waiting);
    assert!(waiting.iter().all(is_cancelled));
    assert_eq!(Arc::strong_count(&ran), 1, "what the work held is let go");
    gate.open();
    assert!(held.iter().all(|call| call.outcome().is_ok()));
    pool.assert_usable();
    assert_eq!(ran.load(Ordering::SeqCst), 0);
}

#[test]
fn aborted_loose_jobs_are_answered_and_their_seats_taken_over() {
    let (pool, gate) = (Own::new(), Gate::default());
    for round in 1..=3 {
        let mut held = pool.hold(3, Grip::Loose, &gate);
        gate.reached(2 * round);
        held.reverse(); // the one in the queue first, before it gets a seat
        abort_all(&held);
        assert!(held.iter().all(is_cancelled));
        assert_eq!(pool.0.abandoned(), 2 * round);
        pool.assert_usable();
    }
    gate.open();
    pool.assert_settles();
}

#[test]
fn an_aborted_firm_job_answers_when_it_has_ended() {
    let gate = Gate::default();
    let ours = gate.clone();
    let call = start_job(Grip::Firm, move |job| {
        ours.wait();
        assert!(job.check().is_err() && job.commit().is_err() && job.stall().is_err());
        Step::Answer(job.check().map(|()| Value::Unit))
    });
    gate.reached(1);
    call.abort.abort();
    call.abort.abort();
    assert!(call.within(20).is_none());
    gate.open();
    assert!(is_cancelled(&call));
    assert!(call.within(20).is_none(), "one answer");
}

#[test]
fn an_abort_after_the_commit_loses() {
    for grip in [Grip::Firm, Grip::Loose] {
        let gate = Gate::default();
        let ours = gate.clone();
        let call = start_job(grip, move |job| {
            job.commit().unwrap();
            ours.wait();
            assert!(job.check().is_ok());
            answer(7)
        });
        gate.reached(1);
        call.abort.abort();
        gate.open();
        assert!(matches!(call.outcome(), Ok(Value::Int(7))));
    }
}

#[test]
fn jobs_that_stall_leave_their_seats_to_others() {
    let (pool, gate) = (Own::new(), Gate::default());
    let stall = |_| {
        let gate = gate.clone();
        pool.start(Grip::Firm, move |job| {
            job.stall().unwrap();
            gate.wait();
            Step::Answer(job.check().map(|()| Value::Unit))
        })
    };
    let mut stalled: Vec<Call> = (0..6).map(stall).collect();
    gate.reached(6);
    pool.assert_usable();
    let aborted = stalled.split_off(2);
    abort_all(&aborted);
    assert!(aborted.iter().all(is_cancelled));
    gate.open();
    assert!(stalled.iter().all(|call| call.outcome().is_ok()));
    pool.assert_settles();
}

#[test]
fn a_panic_is_an_outcome() {
    let pool = Own::new();
    let calls: Vec<Call> = (0..20).map(|i| pool.start(Grip::Firm, move |_| panic!("on purpose, {i}"))).collect();
    for (i, call) in calls.iter().enumerate() {
        assert!(matches!(call.outcome(), Err(Error::Panic(text)) if text == format!("on purpose, {i}")));
    }
    pool.assert_usable();
}

#[test]
fn random_aborts_are_answered_once_each() {
    let pool = Own::new();
    let mut random = 1u64;
    for _ in 0..5_000 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let (grip, spins) = (if random & (1 << 40) == 0 { Grip::Firm } else { Grip::Loose }, (random >> 50) as usize);
        let call = pool.start(grip, move |job| {
            (0..spins / 2).for_each(|_| std::hint::spin_loop());
            Step::Answer(job.check().map(|()| Value::Unit))
        });
        (0..spins).for_each(|_| std::hint::spin_loop());
        call.abort.abort();
        assert!(matches!(call.outcome(), Ok(Value::Unit) | Err(Error::Cancelled)));
        assert!(call.within(0).is_none());
    }
    pool.assert_settles();
}

#[test]
fn a_forked_child_starts_afresh() {
    let gate = Gate::default();
    let ours = gate.clone();
    let call = start_job(Grip::Firm, move |_| {
        ours.wait();
        answer(1)
    });
    gate.reached(1);
    // SAFETY: the child touches nothing that another thread may hold: a new pool, and channels of its own.
    let child = unsafe { libc::fork() };
    if child == 0 {
        super::forget_after_fork();
        call.abort.abort(); // nothing of this process's: nothing happens
        let again = start_job(Grip::Firm, |_| answer(2)).within(5000);
        let right = matches!(again, Some(Ok(Value::Int(2)))) && call.within(0).is_none();
        // SAFETY: ends the child without running anything else of the test's.
        unsafe { libc::_exit(i32::from(!right)) };
    }
    let mut status = -1;
    // SAFETY: our child, and an integer of ours.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    assert_eq!(status, 0);
    gate.open();
    assert!(matches!(call.outcome(), Ok(Value::Int(1))));
}
