//! Retry: calls the inside again when it fails with what `on` names, or gives a value that `until` does not accept,
//! after a backoff that never overflows and never outlasts a deadline.

mod layer;
mod machine;

pub use super::backoff::{Backoff, Jitter};
pub use super::budget::{Budget, Counts};
pub use layer::retry;

use std::sync::Arc;
use std::time::Duration;

use crate::sync::Mutex;

#[derive(Clone, Debug)]
pub struct Settings {
    /// Attempts in total, the first one included. `None`: no bound.
    pub attempts: Option<u32>,
    /// `None`: a function of the leaf's gives each wait.
    pub backoff: Option<Backoff>,
    /// The cap on a delay returned by `on`.
    pub max_retry_after: Duration,
    /// The budget, which other retries may share.
    pub budget: Option<Arc<Mutex<Budget>>>,
    /// The leaf judges values, too.
    pub until: bool,
}
