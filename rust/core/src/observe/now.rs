//! The present state of a call as one word: written by the thread that polls the call, read by any.

use std::sync::atomic::{AtomicU64, Ordering};

use super::{Event, Injected};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doing {
    Running,
    /// In the queue of the policy at that layer.
    Waiting(usize),
    /// Before another attempt of the retry at that layer.
    BackingOff(usize),
    /// The fallback at that layer stands in.
    FallingBack(usize),
}

/// The state in the lowest two bits, the layer in the next thirty, the attempt above.
#[derive(Default)]
pub struct Now(AtomicU64);

const LAYER: u64 = 0x3fff_ffff;

impl Now {
    pub fn doing(&self) -> Doing {
        let now = self.0.load(Ordering::Relaxed);
        let layer = (now >> 2 & LAYER) as usize;
        match now & 3 {
            0 => Doing::Running,
            1 => Doing::Waiting(layer),
            2 => Doing::BackingOff(layer),
            _ => Doing::FallingBack(layer),
        }
    }

    pub fn attempt(&self) -> u32 {
        (self.0.load(Ordering::Relaxed) >> 32) as u32
    }

    pub fn told(&self, event: Event) {
        let (state, layer, attempt) = match event {
            Event::Waits(layer)
            | Event::Cache(layer, super::Found::Missing | super::Found::Flying)
            | Event::Chaos(layer, Injected::Delay(_) | Injected::Hang) => (1, layer, self.attempt()),
            Event::BacksOff(layer, _) => (2, layer, self.attempt()),
            Event::Waited(_) => (0, 0, self.attempt()),
            Event::Attempt(n) => (0, 0, n),
            Event::Degraded(layer) => (3, layer, self.attempt()),
            Event::Hedged(..)
            | Event::Won(..)
            | Event::Refused(_)
            | Event::Cache(..)
            | Event::NotAccepted(_)
            | Event::FirstItem
            | Event::Items(_)
            | Event::Left
            | Event::Chaos(_, Injected::Failure) => return,
        };
        self.0.store(state | (layer as u64 & LAYER) << 2 | u64::from(attempt) << 32, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Instant;

    #[test]
    fn it_follows_what_it_is_told() {
        let now = Now::default();
        let told = |event| {
            now.told(event);
            (now.doing(), now.attempt())
        };
        assert_eq!(told(Event::Waits(3)), (Doing::Waiting(3), 0));
        assert_eq!(told(Event::Waited(3)), (Doing::Running, 0));
        assert_eq!(told(Event::Attempt(1)), (Doing::Running, 1));
        assert_eq!(told(Event::BacksOff(2, Instant::NEVER)), (Doing::BackingOff(2), 1));
        assert_eq!(told(Event::Refused(0)), (Doing::BackingOff(2), 1));
        assert_eq!(told(Event::Degraded(1)), (Doing::FallingBack(1), 1));
        assert_eq!(told(Event::Attempt(u32::MAX)), (Doing::Running, u32::MAX));
        assert_eq!(told(Event::Chaos(1, Injected::Failure)), (Doing::Running, u32::MAX));
        assert_eq!(told(Event::Chaos(1, Injected::Hang)), (Doing::Waiting(1), u32::MAX));
    }
}
