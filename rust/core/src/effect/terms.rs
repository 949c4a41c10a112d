//! What a run brings to the policies that queue it or count it: read on its caller's thread, once a run.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32};

use super::Flight;
use super::keys::Use;
use crate::schedule::Priority;

#[derive(Default)]
pub struct Terms {
    pub priority: Priority,
    /// By layer; empty where no layer has a key or a cost.
    pub layers: Vec<Term>,
    /// The permits under which the caller itself runs.
    pub held: Option<Arc<Held>>,
    /// The flight that the caller is a part of.
    pub flight: Option<Arc<Flight>>,
}

/// How one layer sees the call.
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

    pub fn cost(&self, layer: usize) -> f64 {
        self.layers.get(layer).map_or(1.0, |term| term.cost)
    }
}

/// A permit that a call holds, as what runs inside the call knows it: so that a limit notices when all its holders wait for itself.
pub struct Held {
    /// The limit, by its address.
    pub limit: usize,
    pub key: u32,
    /// How many wait for another permit of the same limit inside the call. This and `gone` change under the limit's lock.
    pub waits: AtomicU32,
    /// The permit was given back.
    pub gone: AtomicBool,
    pub up: Option<Arc<Held>>,
}
