//! A hedge over a scripted leaf.

mod attempts;
mod ends;
mod model;
mod streams;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;

use mountain_core::effect::{Abortable, Call, Deadline, Landed, Landing};
use mountain_core::policy::Layer;
use mountain_core::policy::hedge::{After, Budget, Hedge, Settings};
use mountain_core::sync::Mutex;

use super::common::{Act, End, Fail, Reply, Run, Scripted, Stage, secs};

/// Begins another attempt each two seconds.
fn hedge(attempts: u32) -> Layer {
    hedged(attempts, After::Fixed(secs(2)), None).1
}

fn hedged(attempts: u32, after: After, budget: Option<Budget>) -> (Arc<Hedge>, Layer) {
    let budget = budget.map(|budget| Arc::new(Mutex::new(budget)));
    let hedge = Arc::new(Hedge::new(Settings { after, attempts, budget }));
    (hedge.clone(), Layer::Hedge(hedge))
}

fn stage() -> Stage {
    Stage::new([Act::hangs()])
}

/// A first attempt that takes so long and ends so; asked to end, it cleans up for a second.
fn cleans_up(takes: u64, end: End) -> Act {
    Act::new(secs(takes), end).asked(Reply::Ends(secs(1), End::Stopped))
}

fn value(n: u32) -> Landed {
    Landed::Value(Arc::new(n))
}

fn failed(n: u32) -> Landed {
    Landed::Failed(Arc::new(n))
}

fn fails(fail: fn() -> Fail) -> Landed {
    Landed::Failed(Arc::new(fail))
}

/// Counts how often a flight is asked to end.
#[derive(Default)]
struct Asked(AtomicUsize);

impl Abortable for Asked {
    fn abort(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A call whose second attempt has begun, after two seconds.
fn both<'a>(stage: &'a Stage, call: &'a Call<'a, Scripted>, stack: &'a [Layer]) -> (Run<'a>, Landing) {
    let mut run = Run::new(stage, call, stack, Deadline::NONE, true);
    assert!(run.poll().is_pending() && stage.leaf.flights().is_empty());
    stage.clock.advance(secs(2));
    assert!(run.woken() && run.poll().is_pending());
    let mut landings = stage.leaf.flights();
    assert_eq!(landings.len(), 1);
    let (layer, landing) = landings.remove(0);
    assert!(matches!(stack[layer], Layer::Hedge(_)) && !landing.flight().is_over());
    (run, landing)
}

#[track_caller]
fn ready(run: &mut Run<'_>) -> Result<u32, Fail> {
    let Poll::Ready(result) = run.poll() else { panic!("it waits on") };
    result
}
