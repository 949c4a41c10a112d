//! Any stack over any leaf under any pace of the clock: it ends, in time, one call at a time, and leaves nothing
//! behind.

use std::time::Duration;

use mountain_core::effect::Deadline;
use mountain_core::error::Owner;
use mountain_core::policy::retry::{Backoff, Jitter};
use mountain_core::policy::{Layer, retry, timeout};
use mountain_core::time::Instant;
use proptest::collection::vec;
use proptest::prelude::*;

use super::common::{Act, End, Fail, Reply, Run, Stage};

/// How far beyond a deadline the clock may jump: a stalled loop.
const STALL: Duration = Duration::from_secs(2);

fn ms(most: u64) -> impl Strategy<Value = Duration> {
    prop_oneof![1 => Just(0), 4 => 0..=most].prop_map(Duration::from_millis)
}

fn a_timeout() -> impl Strategy<Value = Layer> {
    prop_oneof![9 => ms(20_000), 1 => Just(Duration::MAX)].prop_map(|limit| Layer::Timeout(timeout::Settings { limit }))
}

fn a_retry() -> impl Strategy<Value = Layer> {
    let jitter = prop_oneof![Just(Jitter::Full), Just(Jitter::Equal), Just(Jitter::None)];
    (proptest::option::of(1u32..5), ms(3000), 1.0f64..3.0, jitter).prop_map(|(attempts, initial, factor, jitter)| {
        let backoff = Backoff { initial: initial.as_secs_f64(), factor, max: 60.0, jitter };
        Layer::Retry(retry::Settings {
            attempts,
            backoff: Some(backoff),
            max_retry_after: Duration::from_mins(1),
            budget: None,
            until: false,
        })
    })
}

fn a_stack() -> impl Strategy<Value = Vec<Layer>> {
    vec(prop_oneof![a_timeout(), a_retry()], 1..=4)
}

fn an_end() -> impl Strategy<Value = End> {
    let (values, failures) = ((0u32..9).prop_map(End::Value), (0u32..9).prop_map(End::Plain));
    prop_oneof![2 => values, 5 => failures, 1 => Just(End::Stopped), 1 => Just(End::Exit)]
}

fn an_act() -> impl Strategy<Value = Act> {
    let asked = prop_oneof![2 => Just(End::Stopped), 1 => an_end()];
    let reply =
        prop_oneof![4 => (ms(3000), asked).prop_map(|(cleanup, end)| Reply::Ends(cleanup, end)), 1 => Just(Reply::GoesOn)];
    (ms(8000), an_end(), reply).prop_map(|(takes, end, reply)| Act { takes, end, reply })
}

/// Its last act is a value, so that a retry without end comes to one.
fn a_script() -> impl Strategy<Value = Vec<Act>> {
    vec(an_act(), 0..12).prop_map(|mut acts| {
        acts.push(Act::value(Duration::ZERO));
        acts
    })
}

fn a_limit_from_outside() -> impl Strategy<Value = Deadline> {
    let some = ms(15_000).prop_map(|d| Deadline { at: Instant::from_nanos(0).after(d), owner: Owner::Inherited });
    prop_oneof![2 => Just(Deadline::NONE), 1 => some]
}

/// When the earliest limit over the whole stack fires.
fn over_all(stack: &[Layer], inherited: Deadline) -> Instant {
    let outer = stack.iter().map_while(|layer| match layer {
        Layer::Timeout(t) => Some(Instant::from_nanos(0).after(t.limit)),
        Layer::Retry(_) => None,
        _ => unreachable!("none is drawn"),
    });
    outer.chain([inherited.at]).min().expect("one at least")
}

fn limit_of(layer: &Layer) -> Duration {
    match layer {
        Layer::Timeout(timeout) => timeout.limit,
        _ => Duration::MAX,
    }
}

/// How long a call may go on after it was asked to stop.
fn slack(script: &[Act]) -> Duration {
    let after = script.iter().map(|act| match act.reply {
        Reply::Ends(cleanup, _) => cleanup,
        Reply::GoesOn => act.takes,
    });
    after.max().expect("one at least")
}

/// Follow the run for at most so many jumps; `None`: it would have gone on.
fn follow(run: &mut Run<'_>, stage: &Stage, stalls: &[Duration], jumps: usize) -> Option<Result<u32, Fail>> {
    for jump in 0..jumps {
        if let std::task::Poll::Ready(result) = run.poll() {
            return Some(result);
        }
        assert!(run.woken() || run.poll().is_pending(), "it could go on, and woke nobody");
        if !run.woken() {
            let next = stage.clock.first().expect("pending with nothing to wait for");
            stage.clock.advance(next.since(stage.clock.now()) + stalls[jump % stalls.len()]);
            assert!(run.woken(), "a deadline passed and nobody was woken");
        }
    }
    None
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn ends_in_time_and_leaves_nothing(
        stack in a_stack(),
        script in a_script(),
        inherited in a_limit_from_outside(),
        stalls in vec(ms(2000), 1..9),
        seed: u64,
    ) {
        fastrand::seed(seed);
        let (fires, late) = (over_all(&stack, inherited), slack(&script) + 2 * STALL);
        let most = script.len();
        let stage = Stage::new(script);
        let call = stage.call();
        let mut run = Run::new(&stage, &call, &stack, inherited, true);
        let result = follow(&mut run, &stage, &stalls, 1000).expect("no end in sight");
        prop_assert_eq!(stage.clock.armed(), 0);
        prop_assert!(!stage.leaf.abandon(), "it ended before its call");
        prop_assert!(stage.clock.now() <= fires.after(late), "{:?} is later than {:?} and {:?}", stage.clock.now(), fires, late);
        let begun = stage.leaf.begun();
        prop_assert!(begun.len() <= most);
        prop_assert!(begun.iter().skip(1).all(|&b| b < fires), "an attempt began after {:?}: {:?}", fires, begun);
        if let Err(Fail::TimedOut(t)) = result {
            prop_assert!(t.attempts as usize == begun.len());
            let there = match t.owner {
                Owner::Layer(i) => matches!(stack[i], Layer::Timeout(_)),
                owner => owner == inherited.owner,
            };
            prop_assert!(there, "nobody's limit: {:?}", t);
            let has_passed = match t.owner {
                // One inside a retry began with one of its attempts.
                Owner::Layer(i) => begun.iter().any(|&b| b.after(limit_of(&stack[i])) <= stage.clock.now()),
                _ => inherited.at <= stage.clock.now(),
            };
            prop_assert!(has_passed, "time is left: {:?}", t);
        }
    }

    #[test]
    fn dropped_anywhere_it_leaves_nothing(
        stack in a_stack(),
        script in a_script(),
        inherited in a_limit_from_outside(),
        jumps in 0usize..9,
        seed: u64,
    ) {
        fastrand::seed(seed);
        let stage = Stage::new(script);
        let call = stage.call();
        let mut run = Run::new(&stage, &call, &stack, inherited, true);
        let ended = follow(&mut run, &stage, &[Duration::ZERO], jumps).is_some();
        drop(run);
        let left = stage.leaf.abandon();
        prop_assert!(!(ended && left));
        prop_assert_eq!(stage.clock.armed(), 0);
    }
}
