//! The health of the event loops: how long messages wait for a loop, and how many it finds when it looks.

use crate::observe::Times;

#[derive(Default)]
pub struct Pulse {
    /// From the bell's ring to the loop's answer.
    pub lag: Times,
    /// Messages a drain, recorded as nanoseconds.
    pub messages: Times,
}
