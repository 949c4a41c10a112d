//! The policies that hold state, by kind and name, as they are asked by whoever looks. They are known weakly: one that its program has let go of
//! is gone from here, and its name is free.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::shortened;
use crate::effect::Keys;
use crate::observe::Summary;
use crate::policy::breaker::Breaker;
use crate::policy::cache::{Cache, Counts};
use crate::policy::limit::Limit;
use crate::policy::rate::Rate;
use crate::sync::Mutex;
use crate::time::Instant;

/// A policy as it is now, over all its keys.
pub enum Reading {
    Limit { capacity: u32, in_flight: u32, waiting: [u32; 3], waits: Summary },
    Rate { n: f64, per: f64, waiting: usize, waits: Summary },
    Breaker { states: [u64; 4], opens: u64 },
    Cache { counts: Counts, size: usize, max_size: usize },
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Limit,
    Rate,
    Breaker,
    Cache,
}

struct Known {
    /// Its address, by which it is known again while it lives.
    of: usize,
    read: Box<dyn Fn(Instant) -> Option<Reading> + Send>,
}

pub struct Policies {
    most: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    known: BTreeMap<(Kind, String), Known>,
    names: BTreeMap<(Kind, usize), String>,
    folded: u64,
}

impl Policies {
    pub(super) fn new(most: usize) -> Self {
        Policies { most, state: Mutex::default() }
    }

    pub fn limit(&self, limit: &Arc<Limit>, name: &str) {
        let weak = Arc::downgrade(limit);
        self.add(Kind::Limit, Arc::as_ptr(limit) as usize, name, move |_| {
            let limit = weak.upgrade()?;
            let (in_flight, waiting) = limit.counts();
            Some(Reading::Limit { capacity: limit.capacity(), in_flight, waiting, waits: limit.waits.summary() })
        });
    }

    pub fn rate(&self, rate: &Arc<Rate>, name: &str) {
        let weak = Arc::downgrade(rate);
        self.add(Kind::Rate, Arc::as_ptr(rate) as usize, name, move |_| {
            let rate = weak.upgrade()?;
            let (n, per) = rate.settings();
            Some(Reading::Rate { n, per: per.as_secs_f64(), waiting: rate.waiting(), waits: rate.waits.summary() })
        });
    }

    pub fn breaker(&self, breaker: &Arc<Mutex<Breaker>>, keys: &Arc<Keys>, name: &str) {
        breaker.lock().name.get_or_insert_with(|| shortened(name).into());
        let (weak, keys) = (Arc::downgrade(breaker), Arc::downgrade(keys));
        self.add(Kind::Breaker, Arc::as_ptr(breaker) as usize, name, move |now| {
            let (breaker, keys) = (weak.upgrade()?, keys.upgrade().map_or(0, |keys| keys.len()));
            let (states, opens) = breaker.lock().states(keys, now);
            Some(Reading::Breaker { states, opens })
        });
    }

    pub fn cache(&self, cache: &Arc<Cache>, name: &str) {
        let weak = Arc::downgrade(cache);
        self.add(Kind::Cache, Arc::as_ptr(cache) as usize, name, move |_| {
            let cache = weak.upgrade()?;
            let (counts, size) = cache.counts();
            Some(Reading::Cache { counts, size, max_size: cache.max_size() })
        });
    }

    /// A policy that is known keeps the name it was first given. Of two with one name, the later is `name#2`.
    fn add(&self, kind: Kind, of: usize, name: &str, read: impl Fn(Instant) -> Option<Reading> + Send + 'static) {
        let now = Instant::from_nanos(0);
        let mut state = self.state.lock();
        let State { known, names, folded } = &mut *state;
        let there = names.get(&(kind, of)).and_then(|name| known.get(&(kind, name.clone())));
        // At the address of one that has gone there may be another.
        if there.is_some_and(|known| known.of == of && (known.read)(now).is_some()) {
            return;
        }
        if known.len() >= self.most {
            known.retain(|_, known| (known.read)(now).is_some());
            names.retain(|(kind, of), name| known.get(&(*kind, name.clone())).is_some_and(|known| known.of == *of));
        }
        if known.keys().filter(|(of, _)| *of == kind).count() >= self.most {
            *folded += 1;
            return;
        }
        let base = shortened(name);
        let free = |name: &String| known.get(&(kind, name.clone())).is_none_or(|known| (known.read)(now).is_none());
        let mut name = base.to_string();
        let mut number = 1;
        while !free(&name) {
            number += 1;
            name = format!("{base}#{number}");
        }
        names.insert((kind, of), name.clone());
        if let Some(gone) = known.insert((kind, name), Known { of, read: Box::new(read) })
            && gone.of != of
        {
            names.remove(&(kind, gone.of));
        }
    }

    /// Those that there are, by name within their kinds.
    pub fn all(&self, now: Instant) -> Vec<(String, Reading)> {
        let state = self.state.lock();
        state.known.iter().filter_map(|((_, name), known)| Some((name.clone(), (known.read)(now)?))).collect()
    }

    pub(super) fn inherit(&self, parent: &Policies) {
        if let Some(mut parent) = parent.state.try_lock() {
            *self.state.lock() = std::mem::take(&mut *parent);
        }
    }

    /// How many found no room, for one that is too many.
    pub fn folded(&self) -> u64 {
        self.state.lock().folded
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::limit::{Overflow, Settings};

    fn limit() -> Arc<Limit> {
        Limit::new(Settings { n: 1, most_waiting: None, overflow: Overflow::Reject })
    }

    fn names(policies: &Policies) -> Vec<String> {
        policies.all(Instant::from_nanos(0)).into_iter().map(|(name, _)| name).collect()
    }

    #[test]
    fn a_policy_has_one_name_and_a_name_one_policy() {
        let policies = Policies::new(10);
        let (a, b) = (limit(), limit());
        policies.limit(&a, "github");
        policies.limit(&a, "stars");
        policies.limit(&b, "github");
        assert_eq!(names(&policies), ["github", "github#2"]);
        drop(a);
        assert_eq!(names(&policies), ["github#2"]);
        let c = limit();
        policies.limit(&c, "github");
        assert_eq!(names(&policies), ["github", "github#2"]);
    }

    #[test]
    fn those_that_come_and_go_leave_nothing_and_there_is_a_bound() {
        let policies = Policies::new(10);
        for n in 0..10_000 {
            policies.limit(&limit(), &format!("limit {n}"));
        }
        assert!(policies.state.lock().known.len() <= 10 && policies.state.lock().names.len() <= 11);
        assert_eq!(policies.folded(), 0);
        let kept: Vec<_> = (0..15).map(|_| limit()).collect();
        for limit in &kept {
            policies.limit(limit, "kept");
        }
        assert_eq!((names(&policies).len(), policies.folded()), (10, 5));
    }
}
