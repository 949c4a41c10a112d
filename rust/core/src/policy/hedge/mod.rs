//! Hedge: a second attempt beside a slow first one. The first success is the value; the others are asked to end, and
//! waited for.
//!
//! The first attempt runs within the call itself, and each further one is a flight: where none begins, a call pays for
//! nothing but being counted.

mod attempts;
mod layer;
mod machine;
mod sketch;
mod state;

pub use super::budget::Budget;
pub use layer::hedged;
pub use state::{Counts, Hedge};

use std::sync::Arc;
use std::time::Duration;

use crate::sync::Mutex;

#[derive(Debug)]
pub struct Settings {
    pub after: After,
    /// Attempts in total, the first one included.
    pub attempts: u32,
    /// For the attempts beyond the first. `None`: no bound.
    pub budget: Option<Arc<Mutex<Budget>>>,
}

/// How long after one attempt the next begins.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum After {
    /// `Duration::MAX` is never.
    Fixed(Duration),
    /// The time within which this part of the first attempts end well.
    Percentile(f64),
}
