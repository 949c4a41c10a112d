//! The busiest keys of a policy one by one, and the others together, for the page. Computed only while a page is open.

use std::cmp::Reverse;

use crate::effect::Use;
use crate::policy::breaker;

/// Keys that are shown one by one.
pub const KEYS: usize = 20;

/// The present state of a key. A field that the policy does not have is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyReading {
    pub in_flight: u32,
    pub waiting: u32,
    pub state: Option<breaker::State>,
}

impl KeyReading {
    /// The sort key, heaviest first: calls that wait, then calls at work; of a breaker, how far it is from closed.
    fn weight(&self) -> (u8, u32, u32) {
        let shut = match self.state {
            None | Some(breaker::State::Closed) => 0,
            Some(breaker::State::HalfOpen) => 1,
            Some(breaker::State::Open) => 2,
            Some(breaker::State::Isolated) => 3,
        };
        (shut, self.waiting, self.in_flight)
    }
}

/// By number, heaviest first.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Busiest {
    pub(super) keys: Vec<(u32, KeyReading)>,
    pub(super) others: u64,
    pub(super) other: KeyReading,
}

impl Busiest {
    /// The busiest of all keys: reads each key, and keeps few.
    pub(super) fn of(all: impl Iterator<Item = (u32, KeyReading)>) -> Self {
        let mut found = Busiest::default();
        let weight = |(number, reading): &(u32, KeyReading)| (reading.weight(), Reverse(*number));
        for entry in all {
            let at = found.keys.partition_point(|known| weight(known) > weight(&entry));
            if at < KEYS {
                found.keys.insert(at, entry);
            }
            let left = if at >= KEYS { Some(entry) } else { (found.keys.len() > KEYS).then(|| found.keys.pop()).flatten() };
            if let Some((_, left)) = left {
                found.others += 1;
                found.other.in_flight += left.in_flight;
                found.other.waiting += left.waiting;
                // The worst state of those left out, none of which is worse than those that are kept.
                if found.other.state.is_none() || left.weight().0 > found.other.weight().0 {
                    found.other.state = left.state;
                }
            }
        }
        found
    }
}

/// The same with the host's keys: `None` for calls without one.
pub struct ByKey {
    pub kind: &'static str,
    pub name: String,
    pub keys: Vec<(Option<Use>, KeyReading)>,
    pub others: u64,
    pub other: KeyReading,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(waiting: u32) -> KeyReading {
        KeyReading { waiting, in_flight: 1, ..KeyReading::default() }
    }

    #[test]
    fn the_heaviest_are_kept_in_order_and_the_others_add_up() {
        let of = |n: u32| (n, waiting(n * 7919 % 1000));
        let found = Busiest::of((1..=1000).map(of));
        let mut right: Vec<_> = (1..=1000).map(of).collect();
        right.sort_by_key(|(number, reading)| (Reverse(reading.weight()), *number));
        assert_eq!(found.keys, right[..KEYS]);
        assert_eq!(found.others, 980);
        let all: u32 = right.iter().map(|(_, reading)| reading.waiting).sum();
        let kept: u32 = found.keys.iter().map(|(_, reading)| reading.waiting).sum();
        assert_eq!((found.other.waiting, found.other.in_flight), (all - kept, 980));
    }

    #[test]
    fn a_breaker_s_worst_keys_come_first() {
        use breaker::State::{Closed, HalfOpen, Isolated, Open};
        let states = [Closed, Open, HalfOpen, Isolated].into_iter().cycle().take(40);
        let all = (1u32..).zip(states.map(|state| KeyReading { state: Some(state), ..KeyReading::default() }));
        let found = Busiest::of(all);
        let states: Vec<_> = found.keys.iter().filter_map(|(_, reading)| reading.state).collect();
        assert_eq!((states[..10].to_vec(), states[10..].to_vec()), (vec![Isolated; 10], vec![Open; 10]));
        assert_eq!((found.others, found.other.state), (20, Some(HalfOpen)));
    }
}
