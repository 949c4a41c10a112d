//! Any order of events, against what must hold of every call.

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use mountain_core::effect::{Deadline, Flight, Landed, Landing, Leaf};
use mountain_core::error::{Owner, TimedOut};
use mountain_core::policy::hedge::{After, Budget};
use mountain_core::time::Instant;
use proptest::prelude::*;

use super::super::common::{Act, End, Fail, Reply, Run, Stage, at, limit, secs};
use super::{failed, fails, hedged, value};

/// A flight found that the time of the limit around the hedge is up.
fn late() -> Fail {
    Fail::TimedOut(Box::new(TimedOut { owner: Owner::Layer(0), attempts: 1, cause: None }))
}

#[derive(Clone, Copy, Debug)]
enum Step {
    /// Half a second passes.
    Half,
    /// The flight of that number lands with a value, with a failure, lost, or by a decision from outside.
    Lands(usize, u8),
    Cancel,
    Poll,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let lands = (0usize..3, 0u8..4).prop_map(|(flight, how)| Step::Lands(flight, how));
    let step = prop_oneof![4 => Just(Step::Half), 3 => lands, 1 => Just(Step::Cancel), 3 => Just(Step::Poll)];
    proptest::collection::vec(step, 0..24)
}

fn first_attempt() -> impl Strategy<Value = Act> {
    let end = prop_oneof![Just(End::Value(7)), Just(End::Plain(1)), Just(End::Exit)];
    let reply = prop_oneof![
        (0u64..4, prop_oneof![3 => Just(End::Stopped), 1 => Just(End::Value(8)), 1 => Just(End::Plain(2)), 1 => Just(End::Exit)])
            .prop_map(|(half, end)| Reply::Ends(Duration::from_millis(half * 500), end)),
        Just(Reply::GoesOn),
    ];
    (0u64..12, end, reply).prop_map(|(half, end, reply)| Act::new(Duration::from_millis(half * 500), end).asked(reply))
}

/// The facts known of a call from outside: the beginnings of its attempts, and the ends.
#[derive(Default)]
struct Reference {
    begun: Vec<Instant>,
    succeeded: bool,
    decided: bool,
}

proptest! {
    /// In any order of landings, time, polls and a cancel: attempts begin in time and no more than allowed, none after
    /// a deadline, a cancel or an outcome; no result before all flights have landed and the first attempt has ended,
    /// none after a cancel; a success if there was one; and nothing is left over.
    #[test]
    fn in_any_order(
        steps in steps(),
        act in first_attempt(),
        timeout in 0u64..8,
        attempts in 2u32..4,
        cents in prop_oneof![Just(None), Just(Some(0.0)), Just(Some(1.0))],
    ) {
        let stage = Stage::new([act]);
        let (shared, layer) = hedged(attempts, After::Fixed(secs(1)), cents.map(|ratio| Budget::new(ratio, 0.0)));
        let stack = [limit(timeout), layer];
        let call = stage.call();
        let awaits = &call.trace.awaits;
        let mut run = Run::new(&stage, &call, &stack, Deadline::NONE, true);
        let (mut flying, mut flights): (Vec<Option<Landing>>, Vec<Arc<Flight>>) = (Vec::new(), Vec::new());
        let mut known = Reference::default();
        let (mut cancelled, mut result) = (false, Poll::Pending);
        // At the end everything lands, and the first attempt has the time that it needs.
        let end = [Step::Half, Step::Poll, Step::Lands(0, 2), Step::Lands(1, 2)];
        let end = std::iter::repeat_n(end, 30).flatten();
        for step in std::iter::once(Step::Poll).chain(steps).chain(end) {
            if result.is_ready() {
                break;
            }
            let now = stage.clock.now();
            match step {
                Step::Half => stage.clock.advance(Duration::from_millis(500)),
                Step::Lands(flight, how) => {
                    let Some(landing) = flying.get_mut(flight).and_then(Option::take) else { continue };
                    known.succeeded |= how == 0 && !cancelled;
                    known.decided |= how == 3;
                    landing.land(match how {
                        0 => value(5),
                        1 => failed(3),
                        2 => Landed::Lost,
                        _ => fails(late),
                    });
                }
                // A host cancels the waits of a call in whose leaf nothing runs.
                Step::Cancel if !stage.leaf.active() => cancelled |= awaits.cancel(),
                Step::Cancel => {}
                Step::Poll if cancelled => {}
                Step::Poll => result = run.poll(),
            }
            for (layer, landing) in stage.leaf.flights() {
                prop_assert_eq!(layer, 1);
                prop_assert!(!cancelled && result.is_pending() && now < at(timeout), "an attempt began too late");
                prop_assert!(!known.succeeded && !known.decided, "an attempt began though the outcome was known");
                let last = known.begun.last().copied().unwrap_or(at(0));
                prop_assert!(now.since(last) >= secs(1), "an attempt began too early");
                known.begun.push(now);
                flights.push(landing.flight().clone());
                flying.push(Some(landing));
            }
            prop_assert!(known.begun.len() < attempts as usize);
            prop_assert!(cents != Some(0.0) || known.begun.is_empty());
            let flies = flying.iter().any(Option::is_some);
            prop_assert!(!cancelled || awaits.has_ended() != flies);
            if result.is_ready() {
                prop_assert!(!flies && !cancelled && !stage.leaf.active());
            }
        }
        prop_assert!(result.is_ready() != cancelled);
        prop_assert!(cents == Some(0.0) || shared.counts().hedged as usize == known.begun.len());
        if let Poll::Ready(result) = result {
            match result {
                Ok(5) => prop_assert!(known.succeeded),
                Ok(7) => prop_assert!(act.end == End::Value(7)),
                Ok(8) => prop_assert!(matches!(act.reply, Reply::Ends(_, End::Value(8)))),
                Ok(n) => prop_assert!(false, "{n}"),
                Err(Fail::Exit) => prop_assert!(act.end == End::Exit || matches!(act.reply, Reply::Ends(_, End::Exit))),
                Err(Fail::TimedOut(t)) => prop_assert!(!known.succeeded && t.owner == Owner::Layer(0)),
                Err(e) => prop_assert!(!known.succeeded && matches!(e, Fail::Plain(1)), "{e:?}"),
            }
        }
        drop(run);
        stage.leaf.abandon();
        prop_assert!(flights.iter().all(|flight| Arc::strong_count(flight) == 1) && awaits.has_ended());
        prop_assert_eq!(stage.clock.armed(), 0);
    }
}
