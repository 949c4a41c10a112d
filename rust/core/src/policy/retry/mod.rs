//! Retry: call the inside again when it fails with what `on` names, after a backoff that never overflows and never outlasts a deadline.

mod budget;
mod layer;
mod machine;

pub use super::backoff::{Backoff, Jitter};
pub use budget::{Budget, Counts};
pub use layer::retry;

use std::sync::Arc;
use std::time::Duration;

use crate::sync::Mutex;

#[derive(Clone, Debug)]
pub struct Settings {
    /// In total, the first one included. `None` is without end.
    pub attempts: Option<u32>,
    pub backoff: Backoff,
    /// The most that a delay returned by `on` is believed.
    pub max_retry_after: Duration,
    /// Shared with others.
    pub budget: Option<Arc<Mutex<Budget>>>,
}
