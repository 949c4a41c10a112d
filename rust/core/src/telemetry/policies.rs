//! The policies that hold state, by kind and name, for exports and the page. They are referenced weakly: a policy that
//! its program has dropped is gone from here, and its name is free.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use super::by_key::Busiest;
use super::reading::Reading;
use super::{ByKey, KeyReading, shortened};
use crate::effect::Keys;
use crate::observe::Progress;
use crate::policy::breaker::Breaker;
use crate::policy::cache::Cache;
use crate::policy::chaos::Chaos;
use crate::policy::hedge::Hedge;
use crate::policy::limit::Limit;
use crate::policy::rate::Rate;
use crate::policy::retry;
use crate::sync::Mutex;
use crate::time::Instant;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Limit,
    Rate,
    Breaker,
    Cache,
    Budget,
    Hedge,
    Chaos,
    Work,
}

impl Kind {
    /// The name on the page.
    fn name(self) -> &'static str {
        match self {
            Kind::Limit => "limits",
            Kind::Rate => "rates",
            Kind::Breaker => "breakers",
            Kind::Cache => "caches",
            Kind::Budget => "budgets",
            Kind::Hedge => "hedges",
            Kind::Chaos => "chaos",
            Kind::Work => "work",
        }
    }
}

struct Known {
    /// The address, which identifies the policy while it lives.
    of: usize,
    read: Box<dyn Fn(Instant) -> Option<Reading> + Send>,
    keys: Option<Keyed>,
}

/// The keys of a policy with a state for each.
struct Keyed {
    keys: Weak<Keys>,
    busiest: Box<Busy>,
}

/// Reads the keys for which the predicate holds. It takes no lock of theirs while it holds the policy's.
type Busy = dyn Fn(Instant, &dyn Fn(&(u32, KeyReading)) -> bool) -> Option<Busiest> + Send;

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

impl Keyed {
    fn new(
        keys: &Arc<Keys>,
        busiest: impl Fn(Instant, &dyn Fn(&(u32, KeyReading)) -> bool) -> Option<Busiest> + Send + 'static,
    ) -> Self {
        Keyed { keys: Arc::downgrade(keys), busiest: Box::new(busiest) }
    }
}

impl Policies {
    pub(super) fn new(most: usize) -> Self {
        Policies { most, state: Mutex::default() }
    }

    pub fn limit(&self, limit: &Arc<Limit>, keys: Option<&Arc<Keys>>, name: &str) {
        let weak = Arc::downgrade(limit);
        let keyed = keys.map(|keys| {
            let weak = weak.clone();
            let of = |(number, in_flight, waiting)| (number, KeyReading { in_flight, waiting, state: None });
            Keyed::new(keys, move |_, there| Some(weak.upgrade()?.by_key(|all| Busiest::of(all.map(of).filter(there)))))
        });
        let keys = keys.map(Arc::downgrade);
        self.add(Kind::Limit, Arc::as_ptr(limit) as usize, name, keyed, move |_| {
            let limit = weak.upgrade()?;
            let (in_flight, waiting) = limit.counts();
            let keyed = keys.as_ref().and_then(Weak::upgrade).is_some_and(|keys| keys.used());
            let add = |(fullest, keys): (u32, usize), (number, taken, _): (u32, u32, u32)| {
                (fullest.max(taken), keys + usize::from(number > 0 && taken > 0))
            };
            let (fullest, at_work) = limit.by_key(|all| all.fold((0, 0), add));
            let keys = keyed.then_some(at_work);
            Some(Reading::Limit { capacity: limit.capacity(), in_flight, fullest, keys, waiting, waits: limit.waits.summary() })
        });
    }

    pub fn rate(&self, rate: &Arc<Rate>, keys: Option<&Arc<Keys>>, name: &str) {
        let weak = Arc::downgrade(rate);
        let keyed = keys.map(|keys| {
            let weak = weak.clone();
            let of = |(number, n): (u32, usize)| (number, KeyReading { waiting: n as u32, ..KeyReading::default() });
            Keyed::new(keys, move |_, there| Some(weak.upgrade()?.by_key(|all| Busiest::of(all.map(of).filter(there)))))
        });
        self.add(Kind::Rate, Arc::as_ptr(rate) as usize, name, keyed, move |_| {
            let rate = weak.upgrade()?;
            let (n, per) = rate.settings();
            Some(Reading::Rate { n, per: per.as_secs_f64(), waiting: rate.waiting(), waits: rate.waits.summary() })
        });
    }

    pub fn breaker(&self, breaker: &Arc<Mutex<Breaker>>, keys: &Arc<Keys>, name: &str) {
        let (weak, known) = (Arc::downgrade(breaker), Arc::downgrade(keys));
        let keyed = {
            let weak = weak.clone();
            let of = |(number, state)| (number, KeyReading { state: Some(state), ..KeyReading::default() });
            Keyed::new(keys, move |now, there| Some(Busiest::of(weak.upgrade()?.lock().by_key(now).map(of).filter(there))))
        };
        let called = self.add(Kind::Breaker, Arc::as_ptr(breaker) as usize, name, Some(keyed), move |now| {
            let (breaker, keys) = (weak.upgrade()?, known.upgrade().map_or(0, |keys| keys.len()));
            let (states, opens) = breaker.lock().states(keys, now);
            Some(Reading::Breaker { states, opens })
        });
        breaker.lock().name.get_or_insert_with(|| called.unwrap_or_else(|| shortened(name).into()).into());
    }

    pub fn cache(&self, cache: &Arc<Cache>, name: &str) {
        let weak = Arc::downgrade(cache);
        self.add(Kind::Cache, Arc::as_ptr(cache) as usize, name, None, move |_| {
            let cache = weak.upgrade()?;
            let (counts, size) = cache.counts();
            Some(Reading::Cache { counts, size, max_size: cache.max_size() })
        });
    }

    pub fn budget(&self, budget: &Arc<Mutex<retry::Budget>>, name: &str) {
        let weak = Arc::downgrade(budget);
        let of = Arc::as_ptr(budget) as usize;
        self.add(Kind::Budget, of, name, None, move |_| Some(Reading::Budget(weak.upgrade()?.lock().counts())));
    }

    pub fn hedge(&self, hedge: &Arc<Hedge>, name: &str) {
        let weak = Arc::downgrade(hedge);
        self.add(Kind::Hedge, Arc::as_ptr(hedge) as usize, name, None, move |_| {
            let hedge = weak.upgrade()?;
            Some(Reading::Hedge { counts: hedge.counts(), delay: hedge.longest_delay() })
        });
    }

    pub fn chaos(&self, chaos: &Arc<Chaos>, name: &str) {
        let weak = Arc::downgrade(chaos);
        self.add(Kind::Chaos, Arc::as_ptr(chaos) as usize, name, None, move |_| {
            let chaos = weak.upgrade()?;
            Some(Reading::Chaos { on: chaos.is_on(), faults: chaos.all_figures() })
        });
    }

    /// Work that grows is no policy, and is listed as one: it has a name, a state, and an end.
    pub fn work(&self, progress: &Arc<Progress>, name: &str) {
        let weak = Arc::downgrade(progress);
        self.add(Kind::Work, Arc::as_ptr(progress) as usize, name, None, move |_| {
            let (done, left) = weak.upgrade()?.read();
            Some(Reading::Work { done, left })
        });
    }

    /// Adds a policy, and returns its name: the second of a name is `name#2`. `None`: it is known, and keeps the name
    /// that it was first given, or there is no room.
    fn add(
        &self,
        kind: Kind,
        of: usize,
        name: &str,
        keys: Option<Keyed>,
        read: impl Fn(Instant) -> Option<Reading> + Send + 'static,
    ) -> Option<String> {
        let now = Instant::from_nanos(0);
        let mut state = self.state.lock();
        let State { known, names, folded } = &mut *state;
        let there = names.get(&(kind, of)).and_then(|name| known.get(&(kind, name.clone())));
        // A new policy may have the address of one that is gone.
        if there.is_some_and(|known| known.of == of && (known.read)(now).is_some()) {
            return None;
        }
        if known.len() >= self.most {
            known.retain(|_, known| (known.read)(now).is_some());
            names.retain(|(kind, of), name| known.get(&(*kind, name.clone())).is_some_and(|known| known.of == *of));
        }
        if known.keys().filter(|(of, _)| *of == kind).count() >= self.most {
            *folded += 1;
            return None;
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
        if let Some(gone) = known.insert((kind, name.clone()), Known { of, read: Box::new(read), keys })
            && gone.of != of
        {
            names.remove(&(kind, gone.of));
        }
        Some(name)
    }

    /// All policies that are alive, by name within their kinds.
    pub fn all(&self, now: Instant) -> Vec<(String, Reading)> {
        let state = self.state.lock();
        state.known.iter().filter_map(|((_, name), known)| Some((name.clone(), (known.read)(now)?))).collect()
    }

    /// The policies that are in use with keys, each as its kind on the page and its name.
    pub fn keyed(&self) -> Vec<(&'static str, String)> {
        let state = self.state.lock();
        let used = |known: &Known| known.keys.as_ref().and_then(|keyed| keyed.keys.upgrade()).is_some_and(|keys| keys.used());
        state.known.iter().filter(|(_, known)| used(known)).map(|((kind, name), _)| (kind.name(), name.clone())).collect()
    }

    /// The busiest keys of each policy that is in use with keys. A key's number may have become another's since its
    /// policy was read: then it is shown under that key's name until the next look.
    pub fn by_key(&self, now: Instant) -> Vec<ByKey> {
        let state = self.state.lock();
        let keyed = state.known.iter().filter_map(|((kind, name), known)| Some((kind.name(), name, known.keys.as_ref()?)));
        let read = keyed.filter_map(|(kind, name, keyed)| {
            let keys = keyed.keys.upgrade().filter(|keys| keys.used())?;
            let taken = keys.taken();
            // Number 0 is that of calls without a key, of which there may be none.
            let there = |(number, r): &(u32, KeyReading)| taken(*number) || (*number == 0 && r.in_flight + r.waiting > 0);
            let Busiest { keys: found, others, other } = (keyed.busiest)(now, &there)?;
            let held = |(number, reading)| match number {
                0 => Some((None, reading)),
                _ => Some((Some(keys.hold(number)?), reading)),
            };
            Some(ByKey { kind, name: name.clone(), keys: found.into_iter().filter_map(held).collect(), others, other })
        });
        read.collect()
    }

    pub(super) fn inherit(&self, parent: &Policies) {
        if let Some(mut parent) = parent.state.try_lock() {
            *self.state.lock() = std::mem::take(&mut *parent);
        }
    }

    /// The number of policies for which there was no room.
    pub fn folded(&self) -> u64 {
        self.state.lock().folded
    }
}

#[cfg(test)]
#[path = "policies_tests.rs"]
mod tests;
