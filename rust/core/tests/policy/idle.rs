//! Idle over a leaf whose waits a test sets: only the consumer's wait counts, and a late item wins.

use std::sync::Mutex;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use mountain_core::effect::{Begin, Call, Course, Deadline, Fault, Leaf, Terms, Trace, Verdict};
use mountain_core::error::Owner;
use mountain_core::policy::{self, Layer, idle};
use mountain_core::time::{Clock, Instant};

use crate::common::{Fail, at, doubling, limit, secs};

/// A stream's leaf, moved by hand.
#[derive(Default)]
struct Pulled(Mutex<State>);

#[derive(Default)]
struct State {
    begun: u32,
    running: bool,
    since: Option<Instant>,
    stops: u32,
    end: Option<Result<u32, Fail>>,
}

impl Pulled {
    fn waits(&self, since: Option<Instant>) {
        self.0.lock().unwrap().since = since;
    }

    fn ends(&self, end: Result<u32, Fail>) {
        self.0.lock().unwrap().end = Some(end);
    }
}

impl Leaf for Pulled {
    type Ok = u32;
    type Err = Fail;

    fn poll(&self, begin: Option<Begin<'_>>, _cx: &mut Context<'_>) -> Poll<Result<u32, Fail>> {
        let mut state = self.0.lock().unwrap();
        if begin.is_some() {
            state.begun += 1;
            state.running = true;
        }
        match state.end.take() {
            Some(end) => {
                state.running = false;
                Poll::Ready(end)
            }
            None => Poll::Pending,
        }
    }

    fn stop(&self, _whose: Owner) -> bool {
        let mut state = self.0.lock().unwrap();
        state.stops += u32::from(state.running);
        state.running
    }

    fn active(&self) -> bool {
        self.0.lock().unwrap().running
    }

    fn is_ending(&self) -> bool {
        let state = self.0.lock().unwrap();
        state.running && state.stops > 0
    }

    fn waiting(&self) -> Option<Instant> {
        self.0.lock().unwrap().since
    }

    fn verdict(&self, _layer: usize, _fault: &mut Fail) -> Result<Verdict, Fail> {
        Ok(Verdict::Yes)
    }

    fn retried(&self, _layer: usize, _attempt: u32, _course: Course, _fault: &mut Fail) {}

    fn injected(&self, _layer: usize, _errno: Option<i32>) -> Fail {
        Fail::Plain(0)
    }

    fn names(&self, _layer: usize, _fault: &mut Fail) -> bool {
        true
    }
}

fn idle(s: u64) -> Layer {
    Layer::Idle(idle::Settings { limit: secs(s) })
}

/// Polls a stack over the leaf when `steps` says so; each step moves the clock first.
fn play(
    opened: Option<Instant>,
    stack: &[Layer],
    mut steps: impl FnMut(u32, &Pulled, &Clock) -> bool,
) -> (Option<Result<u32, Fail>>, u32, usize) {
    let (clock, leaf, trace, terms) = (Clock::manual(), Pulled::default(), Trace::default(), Terms::default());
    let call = Call::new(&leaf, &clock, &trace, &terms).opened(opened);
    let mut run = Box::pin(policy::run(&call, stack, Deadline::NONE, None));
    let mut number = 0;
    let mut armed = 0;
    let ended = loop {
        if !steps(number, &leaf, &clock) {
            break None;
        }
        number += 1;
        if let Poll::Ready(end) = run.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            break Some(end);
        }
        armed = armed.max(clock.armed());
    };
    drop(run);
    assert_eq!(clock.armed(), 0, "a timer is left");
    let asked = leaf.0.lock().unwrap().stops;
    (ended, asked, armed)
}

#[test]
fn the_consumers_own_time_does_not_count() {
    let (ended, stops, _) = play(None, &[idle(2)], |step, leaf, clock| {
        match step {
            0 => leaf.waits(Some(clock.now())),
            1..5 => {
                clock.advance(secs(1));
                leaf.waits(if step % 2 == 0 { Some(clock.now()) } else { None });
            }
            5 => {
                leaf.waits(None);
                clock.advance(secs(3600));
            }
            _ => leaf.ends(Ok(7)),
        }
        true
    });
    assert_eq!((ended.unwrap().unwrap(), stops), (7, 0));
}

#[test]
fn an_item_that_comes_at_once_touches_no_heap() {
    let (_, _, armed) = play(None, &[idle(2)], |step, leaf, _| {
        leaf.waits(None);
        step < 9
    });
    assert_eq!(armed, 0);
}

#[test]
fn a_wait_that_lasts_too_long_is_asked_to_stop_and_followed_to_its_end() {
    let (ended, stops, armed) = play(None, &[idle(2)], |step, leaf, clock| {
        match step {
            0 => leaf.waits(Some(clock.now())),
            1 => clock.advance(Duration::from_nanos(1_999_999_999)),
            2 => {
                assert_eq!(leaf.0.lock().unwrap().stops, 0);
                clock.advance(Duration::from_nanos(1));
            }
            3 => assert_eq!(leaf.0.lock().unwrap().stops, 1),
            _ => leaf.ends(Err(Fail::stopped())),
        }
        true
    });
    assert_eq!((stops, armed), (1, 1));
    assert!(matches!(ended.unwrap().unwrap_err().parts(), (Owner::Layer(0), 1, None)));
}

#[test]
fn a_timer_of_an_earlier_wait_is_armed_anew() {
    let (ended, stops, armed) = play(None, &[idle(2)], |step, leaf, clock| {
        match step {
            0 => leaf.waits(Some(clock.now())),
            // The first wait has ended after a second, another begins: the timer fires a second too early.
            1 => {
                clock.advance(secs(1));
                leaf.waits(Some(clock.now()));
            }
            2 | 3 => clock.advance(secs(1)),
            _ => leaf.ends(Err(Fail::stopped())),
        }
        assert!(step < 3 || leaf.0.lock().unwrap().stops <= 1);
        true
    });
    assert_eq!((stops, armed), (1, 1));
    assert!(matches!(ended.unwrap().unwrap_err().parts().0, Owner::Layer(0)));
}

#[test]
fn each_attempt_inside_a_retry_has_its_own_wait() {
    let (ended, stops, _) = play(None, &[doubling(2), idle(2)], |step, leaf, clock| {
        match step {
            0 => leaf.waits(Some(clock.now())),
            1 => clock.advance(secs(2)),
            2 => leaf.ends(Err(Fail::stopped())),
            // The backoff: a second. The wait is as old as the first attempt's, and counts anew.
            3 | 4 => clock.advance(secs(1)),
            _ => leaf.ends(Ok(7)),
        }
        true
    });
    assert_eq!((ended.unwrap().unwrap(), stops), (7, 1));
}

#[test]
fn a_timeout_that_stands_first_counts_from_when_the_stream_was_opened() {
    let (ended, stops, _) = play(Some(at(0)), &[limit(3), idle(9)], |step, leaf, clock| {
        match step {
            0 => clock.advance(secs(2)),
            1 => clock.advance(secs(1)),
            _ => leaf.ends(Err(Fail::stopped())),
        }
        true
    });
    assert_eq!(stops, 1);
    assert!(matches!(ended.unwrap().unwrap_err().parts().0, Owner::Layer(0)));
    // Opened, and read when the time is up: nothing begins.
    let (ended, stops, _) = play(Some(at(0)), &[limit(3), idle(9)], |_, _, clock| {
        clock.advance(secs(3));
        true
    });
    assert_eq!(stops, 0);
    assert!(matches!(ended.unwrap().unwrap_err().parts(), (Owner::Layer(0), 0, None)));
    // A timeout inside a retry is the attempt's, which begins with the first pull.
    let (ended, stops, _) = play(Some(at(0)), &[doubling(2), limit(3)], |step, leaf, clock| {
        if step == 0 {
            clock.advance(secs(9));
        } else {
            leaf.ends(Ok(7));
        }
        true
    });
    assert_eq!((ended.unwrap().unwrap(), stops), (7, 0));
}
