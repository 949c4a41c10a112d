//! How the event loops are: how long what is ready for them lies there, and how much they find when they look.

use crate::observe::Times;

#[derive(Default)]
pub struct Pulse {
    /// From the bell's ring to the loop's answer.
    pub lag: Times,
    /// Letters a drain, counted as nanoseconds.
    pub messages: Times,
}
