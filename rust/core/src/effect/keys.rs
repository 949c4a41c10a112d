//! Keys as numbers. A key is interned where the host language can compare it, and forgotten when the policy's state for
//! it is at rest.
//!
//! A key is a token of the host's, with its hash. Only the host can compare tokens, and that may run user code, so no
//! lock is held meanwhile. A number stays its key's while a [`Use`] of it lives; a number without a [`Use`] whose state
//! is at rest is freed when new keys come, and at the latest when the clock says so.

use std::sync::{Arc, Weak};
use std::task::{Wake, Waker};
use std::time::Duration;

use hashbrown::HashTable;
use slab::Slab;

use crate::sync::Mutex;
use crate::time::{Clock, Instant, Key};

/// Whether the state of a key is at rest; if so, drops that state.
type Rest = Box<dyn Fn(u32, Instant) -> bool + Send + Sync>;

pub struct Keys {
    /// Drops a token.
    forget: fn(usize),
    rest: Rest,
    every: Duration,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    numbers: HashTable<u32>,
    entries: Slab<Entry>,
    /// The number at which the next look for keys at rest begins.
    hand: usize,
    /// The clock's next timed look at all keys.
    timed: Option<(Weak<Clock>, Key)>,
    /// Whether there was ever a key.
    used: bool,
}

struct Entry {
    hash: u64,
    token: usize,
    users: u32,
}

/// Keys that are looked at for each new one.
const LOOKS: usize = 4;
/// Keys that are looked at before the lock is released.
const AT_ONCE: usize = 1024;

impl Keys {
    /// Makes an empty table. Each `every`, unused keys for which `rest` is true are forgotten.
    pub fn new(forget: fn(usize), every: Duration, rest: impl Fn(u32, Instant) -> bool + Send + Sync + 'static) -> Arc<Self> {
        // Seldom enough that the looks cost nothing, and often enough that memory comes back.
        let every = every.clamp(Duration::from_millis(100), Duration::from_mins(1));
        Arc::new(Keys { forget, rest: Box::new(rest), every, inner: Mutex::default() })
    }

    /// The number of a key, new or known. `same` compares it with a known token; it may fail, and may run any code.
    pub fn intern<E>(
        self: &Arc<Self>,
        clock: &Arc<Clock>,
        hash: u64,
        token: impl FnOnce() -> usize,
        mut same: impl FnMut(usize) -> Result<bool, E>,
    ) -> Result<Use, E> {
        let mut seen: Vec<Use> = Vec::new();
        loop {
            let mut inner = self.inner.lock();
            let Inner { numbers, entries, .. } = &mut *inner;
            let unseen = numbers
                .iter_hash(hash)
                .copied()
                .find(|&number| entries[number as usize - 1].hash == hash && seen.iter().all(|seen| seen.number != number));
            let Some(number) = unseen else {
                let number = entries.insert(Entry { hash, token: token(), users: 1 }) as u32 + 1;
                numbers.insert_unique(hash, number, |&number| entries[number as usize - 1].hash);
                let found = Use { keys: self.clone(), number };
                self.came(inner, clock);
                return Ok(found);
            };
            let entry = &mut entries[number as usize - 1];
            entry.users += 1;
            let token = entry.token;
            drop(inner);
            let candidate = Use { keys: self.clone(), number };
            if same(token)? {
                return Ok(candidate);
            }
            seen.push(candidate);
        }
    }

    /// The number of a known key.
    pub fn find<E>(self: &Arc<Self>, hash: u64, mut same: impl FnMut(usize) -> Result<bool, E>) -> Result<Option<Use>, E> {
        let candidates: Vec<(Use, usize)> = {
            let mut inner = self.inner.lock();
            let Inner { numbers, entries, .. } = &mut *inner;
            let equal: Vec<u32> = numbers.iter_hash(hash).copied().filter(|&n| entries[n as usize - 1].hash == hash).collect();
            let pinned = equal.into_iter().map(|number| {
                let entry = &mut entries[number as usize - 1];
                entry.users += 1;
                (Use { keys: self.clone(), number }, entry.token)
            });
            pinned.collect()
        };
        for (candidate, token) in candidates {
            if same(token)? {
                return Ok(Some(candidate));
            }
        }
        Ok(None)
    }

    /// A key was added: looks at a few others.
    fn came(self: &Arc<Self>, mut inner: std::sync::MutexGuard<'_, Inner>, clock: &Arc<Clock>) {
        inner.used = true;
        let now = clock.now();
        // In the child of a fork the clock is a new one, and the parent's never fires.
        if inner.timed.as_ref().is_none_or(|(on, _)| !std::ptr::eq(on.as_ptr(), Arc::as_ptr(clock))) {
            let clock_too = Arc::downgrade(clock);
            let look = Arc::new(Look { keys: Arc::downgrade(self), clock: clock_too.clone() });
            inner.timed = Some((clock_too, clock.arm_aside(now.after(self.every), Waker::from(look))));
        }
        let gone = self.look(&mut inner, LOOKS, now);
        drop(inner);
        gone.into_iter().for_each(self.forget);
    }

    fn look(&self, inner: &mut Inner, most: usize, now: Instant) -> Vec<usize> {
        let mut gone = Vec::new();
        // Numbers are dense but for those freed: the hand goes up to the highest, then starts again at the first.
        let end = inner.entries.capacity();
        for _ in 0..most.min(end) {
            let at = inner.hand;
            inner.hand = if at + 1 >= end { 0 } else { at + 1 };
            let Some(entry) = inner.entries.get(at) else { continue };
            let number = at as u32 + 1;
            if entry.users == 0 && (self.rest)(number, now) {
                let entry = inner.entries.remove(at);
                if let Ok(found) = inner.numbers.find_entry(entry.hash, |&n| n == number) {
                    found.remove();
                }
                gone.push(entry.token);
            }
        }
        if inner.entries.is_empty() && end > AT_ONCE {
            *inner = Inner { timed: inner.timed.take(), used: true, ..Inner::default() };
        }
        gone
    }

    /// Looks at all keys.
    fn sweep(&self, now: Instant) {
        let mut left = self.inner.lock().entries.capacity();
        while left > 0 {
            let most = left.min(AT_ONCE);
            let gone = self.look(&mut self.inner.lock(), most, now);
            gone.into_iter().for_each(self.forget);
            left -= most;
        }
    }

    /// A use of a number's key; `None` if the number is free.
    pub fn hold(self: &Arc<Self>, number: u32) -> Option<Use> {
        let mut inner = self.inner.lock();
        let entry = inner.entries.get_mut((number as usize).checked_sub(1)?)?;
        entry.users += 1;
        Some(Use { keys: self.clone(), number })
    }

    /// A predicate for the numbers that are in use at this moment.
    pub fn taken(&self) -> impl Fn(u32) -> bool + use<> {
        let inner = self.inner.lock();
        let mut taken = vec![false; inner.entries.capacity() + 1];
        inner.entries.iter().for_each(|(at, _)| taken[at + 1] = true);
        move |number| taken.get(number as usize).copied().unwrap_or(false)
    }

    /// Whether there was ever a key.
    pub fn used(&self) -> bool {
        self.inner.lock().used
    }

    pub fn len(&self) -> usize {
        self.inner.lock().entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Visits the token of each key, for a host that collects garbage. Visits none if the table is locked.
    pub fn visit<E>(&self, mut visit: impl FnMut(usize) -> Result<(), E>) -> Result<(), E> {
        let Some(inner) = self.inner.try_lock() else { return Ok(()) };
        inner.entries.iter().try_for_each(|(_, entry)| visit(entry.token))
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        let Inner { entries, timed, .. } = std::mem::take(self.inner.get_mut());
        entries.into_iter().for_each(|(_, entry)| (self.forget)(entry.token));
        if let Some((clock, key)) = timed
            && let Some(clock) = clock.upgrade()
        {
            clock.disarm_aside(key);
        }
    }
}

/// The clock's timed look.
struct Look {
    keys: Weak<Keys>,
    clock: Weak<Clock>,
}

impl Wake for Look {
    fn wake(self: Arc<Self>) {
        let (Some(keys), Some(clock)) = (self.keys.upgrade(), self.clock.upgrade()) else { return };
        let now = clock.now();
        keys.sweep(now);
        let mut inner = keys.inner.lock();
        let more = (!inner.entries.is_empty()).then(|| clock.arm_aside(now.after(keys.every), Waker::from(self.clone())));
        inner.timed = more.map(|key| (self.clock.clone(), key));
    }
}

/// A use of a key: while it lives, the number stays this key's.
pub struct Use {
    keys: Arc<Keys>,
    number: u32,
}

impl Use {
    /// The number, from 1 on: 0 is the state of a policy without keys.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// The host's token of the key.
    pub fn token(&self) -> usize {
        self.keys.inner.lock().entries[self.number as usize - 1].token
    }
}

impl Clone for Use {
    fn clone(&self) -> Self {
        if let Some(entry) = self.keys.inner.lock().entries.get_mut(self.number as usize - 1) {
            entry.users += 1;
        }
        Use { keys: self.keys.clone(), number: self.number }
    }
}

impl Drop for Use {
    fn drop(&mut self) {
        if let Some(entry) = self.keys.inner.lock().entries.get_mut(self.number as usize - 1) {
            entry.users -= 1;
        }
    }
}

#[cfg(test)]
#[path = "keys_tests.rs"]
mod tests;
