//! RateLimit as a layer: turns in order, by one timer, given back by callers that do not take them.

use std::sync::Arc;
use std::time::Duration;

use mountain_core::effect::Deadline;
use mountain_core::error::{Reason, Refused};
use mountain_core::policy::Layer;
use mountain_core::policy::rate::{Rate, Settings};
use mountain_core::time::Clock;

use super::common::{Act, Fail, Run, Stage, at, limit, secs};

fn of(n: f64, per: u64) -> Arc<Rate> {
    Rate::new(&Settings { n, per: secs(per), burst: None, max_wait: None })
}

#[test]
fn ten_at_once_start_three_in_three_seconds() {
    let clock = Clock::manual();
    let rate = of(3.0, 3);
    let stack = [Layer::Rate(rate.clone())];
    let stages: Vec<Stage> = (0..10).map(|_| Stage::at(&clock, [Act::value(secs(0))])).collect();
    let calls: Vec<_> = stages.iter().map(Stage::call).collect();
    let mut runs: Vec<_> =
        stages.iter().zip(&calls).map(|(stage, call)| Run::new(stage, call, &stack, Deadline::NONE, true)).map(Some).collect();
    let mut ended = Vec::new();
    for _ in 0..10 {
        for (n, place) in runs.iter_mut().enumerate() {
            if place.as_mut().is_some_and(|run| run.poll().is_ready()) {
                ended.push((n, clock.now()));
                *place = None;
            }
        }
        assert!(clock.armed() <= 1, "one timer whatever the number of waiters");
        clock.advance(secs(1));
    }
    let expected: Vec<_> = (0..10).map(|n| (n, at(n as u64 / 3 * 3))).collect();
    assert_eq!(ended, expected);
    assert_eq!((rate.waiting(), clock.armed()), (0, 0));
}

/// Whatever has looked at the clock before the wait: the inside begins after it.
#[test]
fn a_limit_inside_counts_from_the_turn() {
    let stack = [limit(100), Layer::Rate(of(1.0, 10)), limit(5)];
    let stage = Stage::new([Act::value(secs(4))]);
    for end in [4, 14, 24] {
        let (result, when) = stage.play(&stack);
        assert_eq!((result.unwrap(), when), (7, at(end)));
    }
}

#[test]
fn who_would_be_too_late_is_refused_at_once() {
    let rate = of(1.0, 10);
    let stage = Stage::new([Act::value(secs(0))]);
    let stack = [limit(5), Layer::Rate(rate)];
    assert!(stage.play(&stack).0.is_ok());
    let (result, when) = stage.play(&stack);
    let Err(Fail::Refused(Refused { layer: 1, why: Reason::Limited(after), .. })) = result else { panic!("{result:?}") };
    assert_eq!((after, when), (secs(10), at(0)));
}

#[test]
fn a_turn_that_is_not_taken_is_the_next_ones() {
    let clock = Clock::manual();
    let rate = of(1.0, 10);
    let stack = [Layer::Rate(rate.clone())];
    let stages: Vec<Stage> = (0..3).map(|_| Stage::at(&clock, [Act::value(secs(0))])).collect();
    let calls: Vec<_> = stages.iter().map(Stage::call).collect();
    let mut runs: Vec<_> =
        stages.iter().zip(&calls).map(|(stage, call)| Run::new(stage, call, &stack, Deadline::NONE, true)).collect();
    assert!(runs[0].poll().is_ready() && runs[1].poll().is_pending() && runs[2].poll().is_pending());
    clock.advance(secs(10));
    assert!(runs[1].woken() && !runs[2].woken());
    runs.remove(1);
    clock.advance(Duration::ZERO);
    assert!(runs[1].woken() && runs[1].poll().is_ready());
    assert_eq!((rate.waiting(), clock.now()), (0, at(10)));
}

#[test]
fn a_pause_and_a_change_move_the_turns() {
    let clock = Clock::manual();
    let rate = of(1.0, 10);
    let stack = [Layer::Rate(rate.clone())];
    let stage = Stage::at(&clock, [Act::value(secs(0))]);
    rate.pause(&clock, 0, secs(4));
    let (_, when) = stage.play(&stack);
    assert_eq!(when, at(4));
    let call = stage.call();
    let mut run = Run::new(&stage, &call, &stack, Deadline::NONE, true);
    assert!(run.poll().is_pending());
    rate.set(&clock, 2.0, secs(10));
    clock.advance(Duration::ZERO);
    assert!(run.woken() && run.poll().is_ready());
}

#[test]
fn with_nobody_waiting_no_timer_is_left() {
    let rate = of(4.0, 10);
    let stage = Stage::new([Act::value(secs(0))]);
    let stack = [Layer::Rate(rate.clone())];
    rate.charge(&stage.clock, 0, 4.0);
    let call = stage.call();
    let mut run = Run::new(&stage, &call, &stack, Deadline::NONE, true);
    assert!(run.poll().is_pending() && stage.clock.armed() == 1);
    drop(run);
    assert_eq!((rate.waiting(), stage.clock.armed()), (0, 0));
    let mut run = Run::new(&stage, &call, &stack, Deadline::NONE, true);
    assert!(run.poll().is_pending() && stage.clock.armed() == 1);
    rate.set(&stage.clock, 0.5, secs(10));
    assert!(run.woken() && run.poll().is_ready());
    assert_eq!((rate.waiting(), stage.clock.armed()), (0, 0));
}
