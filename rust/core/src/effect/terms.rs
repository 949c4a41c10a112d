//! The terms of a run for the policies that queue or count it: read on its caller's thread, once a run.

use std::sync::atomic::{AtomicBool, AtomicU32};
use std::sync::{Arc, OnceLock};

use super::keys::Use;
use super::{Flight, Submitted};
use crate::schedule::Priority;

#[derive(Default)]
pub struct Terms {
    pub priority: Priority,
    /// By layer; empty where no layer has a key or a cost.
    pub layers: Vec<Term>,
    /// The permits under which the caller itself runs.
    pub held: Option<Holder<'static>>,
    /// The flight of which the caller is a part.
    pub flight: Option<Arc<Flight>>,
    /// The call is the work of that flight, no call within it.
    pub flies: bool,
}

/// A call's key and cost for one layer.
pub struct Term {
    /// `None`: the layer has one state for all.
    pub key: Option<Use>,
    pub cost: f64,
}

impl Default for Term {
    fn default() -> Self {
        Term { key: None, cost: 1.0 }
    }
}

impl Terms {
    pub fn used(&self, layer: usize) -> Option<&Use> {
        self.layers.get(layer).and_then(|term| term.key.as_ref())
    }

    pub fn key(&self, layer: usize) -> u32 {
        self.used(layer).map_or(0, Use::number)
    }

    /// Whether the call is the work of a flight that was asked to end.
    pub fn is_unwanted(&self) -> bool {
        self.flies && self.flight.as_ref().is_some_and(|flight| flight.is_over())
    }

    pub fn cost(&self, layer: usize) -> f64 {
        self.layers.get(layer).map_or(1.0, |term| term.cost)
    }
}

/// A call that holds a permit. Its [`PermitContext`] is made when it is first asked for.
pub struct Holder<'a> {
    limit: usize,
    key: u32,
    up: Option<&'a Holder<'a>>,
    told: OnceLock<Arc<PermitContext>>,
}

impl<'a> Holder<'a> {
    pub fn new(limit: usize, key: u32, up: Option<&'a Holder<'a>>) -> Self {
        Holder { limit, key, up, told: OnceLock::new() }
    }

    /// The name of the limit.
    pub fn limit(&self) -> usize {
        self.limit
    }

    pub fn held(&self) -> Arc<PermitContext> {
        self.told.get_or_init(|| PermitContext::new(self.limit, self.key, self.up.map(Holder::held))).clone()
    }

    /// The context, if it was asked for.
    pub fn told(&self) -> Option<&Arc<PermitContext>> {
        self.told.get()
    }
}

impl From<Arc<PermitContext>> for Holder<'_> {
    fn from(held: Arc<PermitContext>) -> Self {
        Holder { limit: held.limit, key: held.key, up: None, told: OnceLock::from(held) }
    }
}

/// A permit that a call holds, as the code inside the call knows it: with it a limit notices when all its holders wait
/// for itself.
pub struct PermitContext {
    /// The name of the limit.
    pub limit: usize,
    pub key: u32,
    /// How many calls inside wait for another permit of the same limit. This and `gone` change under the limit's lock.
    pub waits: AtomicU32,
    /// The permit was given back, or its block was abandoned: code that inherited it holds it no more.
    pub gone: AtomicBool,
    pub up: Option<Arc<PermitContext>>,
    /// A block of code took the permit, or one further out. The host knows that a block was entered, not that it was
    /// abandoned.
    by_block: bool,
    /// The work in which it is held: submitted work, a batch or a flight.
    pub work: Option<Arc<Submitted>>,
}

impl PermitContext {
    pub fn new(limit: usize, key: u32, up: Option<Arc<PermitContext>>) -> Arc<Self> {
        let by_block = up.as_ref().is_some_and(|up| up.by_block);
        Self::made(limit, key, up, by_block)
    }

    pub fn of_block(limit: usize, key: u32, up: Option<Arc<PermitContext>>) -> Arc<Self> {
        Self::made(limit, key, up, true)
    }

    fn made(limit: usize, key: u32, up: Option<Arc<PermitContext>>, by_block: bool) -> Arc<Self> {
        let work = up.as_ref().and_then(|up| up.work.clone());
        Arc::new(PermitContext { limit, key, waits: AtomicU32::new(0), gone: AtomicBool::new(false), up, by_block, work })
    }

    /// The context with which such work begins: a permit of no limit.
    pub fn of_work(work: Arc<Submitted>) -> Arc<Self> {
        let (waits, gone) = (AtomicU32::new(0), AtomicBool::new(true));
        Arc::new(PermitContext { limit: 0, key: 0, waits, gone, up: None, by_block: false, work: Some(work) })
    }

    /// Whether a block took a permit that waits for this code: the host knows that a block was entered, not that it was
    /// abandoned.
    pub fn by_block(&self) -> bool {
        self.by_block || self.work.as_ref().is_some_and(|work| work.by_block())
    }

    /// Whether the permit was taken by code inside `call`.
    pub fn is_inside(&self, call: &Arc<PermitContext>) -> bool {
        std::iter::successors(self.up.as_ref(), |held| held.up.as_ref()).any(|held| Arc::ptr_eq(held, call))
    }
}
