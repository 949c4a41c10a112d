//! A run that is dropped before its end leaves nothing on the clock.

use mountain_core::effect::Deadline;

use super::common::{Act, Reply, Run, Stage, doubling, inherited, limit, secs};

#[test]
fn in_a_backoff() {
    let stage = Stage::new([Act::fails(1)]);
    let (call, stack) = (stage.call(), [limit(60), doubling(None), limit(9)]);
    let mut run = Run::new(&stage, &call, &stack, inherited(90), true);
    assert!(run.poll().is_pending());
    assert_eq!(stage.clock.armed(), 3, "the backoff, the outer limit, the inherited one");
    drop(run);
    assert_eq!(stage.clock.armed(), 0);
    assert!(!stage.leaf.abandon());
}

#[test]
fn in_a_call() {
    let stage = Stage::new([Act::hangs()]);
    let (call, stack) = (stage.call(), [limit(60), doubling(None), limit(9)]);
    let mut run = Run::new(&stage, &call, &stack, Deadline::NONE, true);
    assert!(run.poll().is_pending());
    drop(run);
    assert!(stage.leaf.abandon(), "the call is its owner's to end");
    assert_eq!((stage.clock.armed(), stage.leaf.stops()), (0, 0));
}

#[test]
fn while_the_leaf_is_stopping() {
    let stage = Stage::new([Act::hangs().asked(Reply::GoesOn)]);
    let (call, stack) = (stage.call(), [limit(60), limit(9)]);
    let mut run = Run::new(&stage, &call, &stack, Deadline::NONE, true);
    assert!(run.poll().is_pending());
    stage.clock.advance(secs(9));
    assert!(run.poll().is_pending());
    drop(run);
    assert!(stage.leaf.abandon());
    assert_eq!(stage.clock.armed(), 0);
}

#[test]
fn before_the_first_poll() {
    let stage = Stage::new([Act::hangs()]);
    let (call, stack) = (stage.call(), [limit(60), doubling(None), limit(9)]);
    drop(Run::new(&stage, &call, &stack, Deadline::NONE, true));
    assert_eq!((stage.clock.armed(), stage.leaf.begun().len()), (0, 0));
}
