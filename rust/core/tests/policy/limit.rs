//! ConcurrencyLimit as a layer: which calls get in, which are refused, and that a permit always comes back.

use std::sync::Arc;

use mountain_core::effect::{Deadline, Terms};
use mountain_core::error::{Owner, Reason, Refused};
use mountain_core::policy::Layer;
use mountain_core::policy::limit::{Limit, Overflow, Settings};
use mountain_core::schedule::Priority;
use mountain_core::time::Clock;

use super::common::{Act, Fail, Run, Stage, at, limit, secs};

fn of(n: u32, most_waiting: Option<u32>, overflow: Overflow) -> Arc<Limit> {
    Limit::new(Settings { n, most_waiting, overflow })
}

#[test]
fn a_time_limit_while_waiting_leaves_no_trace() {
    let one = of(1, None, Overflow::Reject);
    let stage = Stage::new([Act::value(secs(0))]);
    let taken = one.try_permit(&stage.clock, 0, None).unwrap();
    let (result, when) = stage.play(&[limit(3), Layer::Limit(one.clone())]);
    assert_eq!(result.unwrap_err().parts().0, Owner::Layer(0));
    assert_eq!((when, one.counts(), stage.leaf.begun().len()), (at(3), (1, [0, 0, 0]), 0));
    drop(taken);
    assert_eq!(one.counts().0, 0);
}

/// Whatever has looked at the clock before the wait: the inside begins after it.
#[test]
fn a_limit_inside_counts_from_the_permit() {
    let stack = [limit(100), Layer::Limit(of(1, None, Overflow::Reject)), limit(5)];
    let clock = Clock::manual();
    clock.advance(secs(1)); // at 0 the clock is read each time
    let stages = [4, 4].map(|takes| Stage::at(&clock, [Act::value(secs(takes))]));
    let calls = stages.each_ref().map(Stage::call);
    let mut runs = [0, 1].map(|n| Run::new(&stages[n], &calls[n], &stack, Deadline::NONE, true));
    assert!(runs.iter_mut().all(|run| run.poll().is_pending()));
    clock.advance(secs(4));
    assert!(runs[0].poll().is_ready() && runs[1].poll().is_pending());
    clock.advance(secs(2)); // where a deadline that counts from the beginning has passed
    assert!(runs[1].poll().is_pending());
    clock.advance(secs(2));
    assert!(matches!(runs[1].poll(), std::task::Poll::Ready(Ok(7))));
}

#[test]
fn a_permit_is_handed_over_by_priority_and_kept_until_the_call_has_ended() {
    let one = of(1, None, Overflow::Reject);
    let clock = Clock::manual();
    let stages = [Priority::Low, Priority::Low, Priority::Normal, Priority::High].map(|priority| {
        let mut stage = Stage::at(&clock, [Act::value(secs(1))]);
        stage.terms = Terms { priority, ..Terms::default() };
        stage
    });
    let stack = [Layer::Limit(one.clone())];
    let calls: Vec<_> = stages.iter().map(Stage::call).collect();
    let mut runs: Vec<_> =
        stages.iter().zip(&calls).map(|(stage, call)| Run::new(stage, call, &stack, Deadline::NONE, true)).collect();
    assert!(runs.iter_mut().all(|run| run.poll().is_pending()));
    assert_eq!(one.counts(), (1, [1, 1, 1]));
    let mut ended = Vec::new();
    while ended.len() < 4 {
        clock.advance(secs(1));
        for (n, run) in runs.iter_mut().enumerate() {
            if run.woken() && run.poll().is_ready() {
                ended.push(n);
            }
        }
        for run in &mut runs {
            if run.woken() {
                assert!(run.poll().is_pending());
            }
        }
    }
    assert_eq!(ended, [0, 3, 2, 1]);
    assert_eq!((one.counts(), clock.now()), ((0, [0, 0, 0]), at(4)));
}

#[test]
fn too_many_waiters_are_refused_or_the_least_urgent_is_sent_away() {
    for (overflow, refused) in [(Overflow::Reject, 2), (Overflow::Shed, 1)] {
        let one = of(1, Some(1), overflow);
        let stages: Vec<Stage> = [Priority::Normal, Priority::Low, Priority::High]
            .map(|priority| {
                let mut stage = Stage::new([Act::value(secs(1))]);
                stage.terms = Terms { priority, ..Terms::default() };
                stage
            })
            .into();
        let stack = [Layer::Limit(one.clone())];
        let calls: Vec<_> = stages.iter().map(Stage::call).collect();
        let mut runs: Vec<_> =
            stages.iter().zip(&calls).map(|(stage, call)| Run::new(stage, call, &stack, Deadline::NONE, true)).collect();
        let polled: Vec<_> = runs.iter_mut().map(Run::poll).collect();
        let polled: Vec<_> = polled.into_iter().zip(&mut runs).map(|(p, run)| if run.woken() { run.poll() } else { p }).collect();
        for (n, polled) in polled.into_iter().enumerate() {
            match polled {
                std::task::Poll::Ready(Err(Fail::Refused(Refused { layer: 0, why: Reason::Full(1), .. }))) => {
                    assert_eq!(n, refused);
                }
                polled => assert!(polled.is_pending() && n != refused),
            }
        }
        drop(runs);
        assert_eq!(one.counts(), (0, [0, 0, 0]));
    }
}

#[test]
fn who_would_wait_for_himself_is_refused() {
    let two = of(2, None, Overflow::Reject);
    let stage = Stage::new([Act::value(secs(0))]);
    let outer = two.try_permit(&stage.clock, 0, None).unwrap();
    let inner = two.try_permit(&stage.clock, 0, Some(outer.held().clone())).unwrap();
    let mut third = Stage::new([Act::value(secs(0))]);
    third.terms.held = Some(inner.held().clone().into());
    let (result, _) = third.play(&[Layer::Limit(two.clone())]);
    assert!(matches!(result, Err(Fail::Refused(Refused { why: Reason::Reentered, .. }))));
    assert_eq!(two.counts(), (2, [0, 0, 0]));
    // A holder of another's, which can end, keeps it possible.
    drop(inner);
    let other = two.try_permit(&stage.clock, 0, None).unwrap();
    third.terms.held = Some(outer.held().clone().into());
    let call = third.call();
    let stack = [Layer::Limit(two.clone())];
    let mut run = Run::new(&third, &call, &stack, Deadline::NONE, true);
    assert!(run.poll().is_pending());
    drop(other);
    assert!(run.woken() && run.poll().is_ready());
    // Fewer permits than holders that wait: the newest waiter is refused.
    let third_call = third.call();
    let more = two.try_permit(&stage.clock, 0, None).unwrap();
    let mut run = Run::new(&third, &third_call, &stack, Deadline::NONE, true);
    assert!(run.poll().is_pending());
    two.resize(1, stage.clock.now());
    drop(more);
    assert!(run.woken());
    assert!(matches!(run.poll(), std::task::Poll::Ready(Err(Fail::Refused(Refused { why: Reason::Reentered, .. })))));
}

#[test]
fn a_call_that_goes_on_without_its_caller_keeps_its_permit() {
    let one = of(1, None, Overflow::Reject);
    let stage = Stage::new([Act::value(secs(0))]);
    stage.leaf.outlive();
    assert!(stage.play(&[Layer::Limit(one.clone())]).0.is_ok());
    assert_eq!(one.counts().0, 1);
    assert_eq!(stage.leaf.let_go(), 1);
    assert_eq!(one.counts().0, 0);
}

/// Callers inside the block are counted as waiting for it until then, and the permit is still out.
#[test]
fn an_abandoned_block_holds_its_permit_for_nobody() {
    for waits_before in [true, false] {
        let two = of(2, None, Overflow::Reject);
        let mut stage = Stage::new([Act::value(secs(0))]);
        let [block, other] = [0, 1].map(|_| two.try_permit(&stage.clock, 0, None).unwrap());
        stage.terms.held = Some(block.held().clone().into());
        let (stack, call) = ([Layer::Limit(two.clone())], stage.call());
        let mut inside = Run::new(&stage, &call, &stack, Deadline::NONE, true);
        assert!(!waits_before || inside.poll().is_pending());
        assert_eq!(two.reenters(0, other.held()), waits_before);
        block.disown();
        block.disown();
        assert!(!two.reenters(0, block.held()) && !two.reenters(0, other.held()));
        assert!(inside.poll().is_pending());
        assert_eq!(two.counts(), (2, [0, 1, 0]));
        drop(block);
        assert!(inside.woken() && inside.poll().is_ready());
        // Nothing is left over of it: as before, it takes all holders to wait.
        let more = two.try_permit(&stage.clock, 0, Some(other.held().clone())).unwrap();
        assert!(two.reenters(0, more.held()));
        let again = two.try_permit(&stage.clock, 0, None);
        assert!(again.is_none());
        drop(more);
        let more = two.try_permit(&stage.clock, 0, None).unwrap();
        assert!(!two.reenters(0, more.held()) && !two.reenters(0, other.held()));
    }
}
