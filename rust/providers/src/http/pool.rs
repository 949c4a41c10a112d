//! The connections of one client: which one a request gets, and which requests wait for one.
//!
//! A connection counts from the begin of its opening to its very end, by the `Place` that its task holds. Requests that
//! find none free wait in order: the one that has waited longest of those that can go on goes on.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::client::conn::http2;
use mountain_core::sync::Mutex;
use tokio::sync::oneshot;

use super::hosts::{Host, Key, State};
use super::one::One;
use super::settings::Settings;
use super::whole::Whole;

/// A connection that has been idle for longer is not used again: its server may close it any moment.
const STALE: Duration = Duration::from_secs(90);
/// The requests that a connection still serves, of those behind one that waits for room to another host. A new
/// connection costs more than a request, so that it does not give way to each.
const PASSED: usize = 32;

/// The sending end of a connection.
pub(super) enum Sender {
    One(One),
    Two(http2::SendRequest<Whole>),
}

pub(super) struct Pool {
    pub settings: Arc<Settings>,
    state: Mutex<State>,
}

/// The outcome of a look for a connection.
pub(super) enum Got {
    Connection(Sender),
    /// The right to open one.
    Place(Place),
}

enum Next {
    Got(Got),
    Wait(u64, oneshot::Receiver<()>),
}

impl Pool {
    pub(super) fn new(settings: Arc<Settings>) -> Arc<Self> {
        Arc::new(Pool { settings, state: Mutex::default() })
    }

    /// A connection, or the right to open one, in the order of asking.
    pub(super) async fn acquire(self: &Arc<Self>, key: &Arc<Key>) -> Got {
        let mut woken = None;
        loop {
            match self.next(key, woken) {
                Next::Got(got) => return got,
                Next::Wait(number, turn) => {
                    let mut waiting = Waiting { pool: self, key, number, turn };
                    let _ = (&mut waiting.turn).await;
                    woken = Some(number);
                }
            }
        }
    }

    /// `woken` is the number of a request that has waited. What woke it may be another's by now, and what it takes may
    /// be something else: either way the next that can go on is woken.
    fn next(self: &Arc<Self>, key: &Arc<Key>, woken: Option<u64>) -> Next {
        let mut dropped = Vec::new();
        let mut state = self.state.lock();
        let got = self.got(&mut state, key, woken, &mut dropped);
        let next = got.map_or_else(
            || {
                let (wakes, turn) = oneshot::channel();
                let number = woken.unwrap_or(state.asked + 1);
                state.asked = state.asked.max(number);
                state.waiting += 1;
                state.hosts.entry(key.clone()).or_default().waiting.insert(number, wakes);
                Next::Wait(number, turn)
            },
            Next::Got,
        );
        if woken.is_some() {
            state.wake(&self.settings);
        }
        drop(state);
        drop(dropped);
        next
    }

    fn got(self: &Arc<Self>, state: &mut State, key: &Arc<Key>, woken: Option<u64>, dropped: &mut Vec<Sender>) -> Option<Got> {
        let State { open, hosts, .. } = state;
        if !hosts.contains_key(key) {
            hosts.insert(key.clone(), Host::default());
        }
        let host = hosts.get_mut(key).expect("it has just been put there");
        dropped.extend(host.two.take_if(|two| two.is_closed()).map(Sender::Two));
        if let Some(two) = &host.two {
            return Some(Got::Connection(Sender::Two(two.clone())));
        }
        if woken.is_none() && !host.waiting.is_empty() {
            return None;
        }
        while let Some((one, since)) = host.idle.pop_back() {
            if !one.send.is_closed() && since.elapsed() < STALE {
                return Some(Got::Connection(Sender::One(one)));
            }
            dropped.push(Sender::One(one));
        }
        if host.may_open(key, &self.settings) {
            if *open < self.settings.connections {
                *open += 1;
                host.open += 1;
                host.connecting += 1;
                return Some(Got::Place(Place { pool: self.clone(), key: key.clone(), connecting: true }));
            }
            // Room is made by the one that has been idle longest; its end wakes a request.
            let oldest = hosts.values_mut().filter(|h| !h.idle.is_empty()).min_by_key(|h| h.idle[0].1);
            dropped.extend(oldest.and_then(|host| host.idle.pop_front()).map(|(one, _)| Sender::One(one)));
        }
        None
    }

    /// A connection is free again.
    pub(super) fn put_back(&self, key: &Arc<Key>, mut one: One) {
        let mut state = self.state.lock();
        one.passed = if state.is_wanted(key, &self.settings) { one.passed + 1 } else { 0 };
        let closed = state.closed;
        let Some(host) = state.hosts.get_mut(key) else { return };
        let most = if host.waiting.is_empty() { 0 } else { PASSED };
        if !closed && !one.send.is_closed() && one.passed <= most {
            host.idle.push_back((one, Instant::now()));
            state.wake(&self.settings);
        }
    }

    /// Its idle connections close: one of them was lost, and what ended it may have ended all.
    pub(super) fn forget(&self, key: &Arc<Key>) {
        let idle = self.state.lock().hosts.get_mut(key).map(|host| std::mem::take(&mut host.idle));
        drop(idle);
    }

    /// The connection that all requests to that host share.
    pub(super) fn share(&self, key: &Arc<Key>, two: http2::SendRequest<Whole>) {
        let mut state = self.state.lock();
        let closed = state.closed;
        if let Some(host) = state.hosts.get_mut(key) {
            // In a closed pool its requests alone hold it, and it closes with the last.
            host.two = (!closed).then_some(two);
            host.speaks_two = Some(true);
            state.wake(&self.settings);
        }
    }

    /// That host speaks HTTP/1 only.
    pub(super) fn speaks_one(&self, key: &Arc<Key>) {
        let mut state = self.state.lock();
        if let Some(host) = state.hosts.get_mut(key) {
            host.speaks_two = Some(false);
            state.wake(&self.settings);
        }
    }

    /// Idle connections close now, those at work when they are done.
    pub(super) fn close(&self) {
        self.state.lock().closed = true;
        self.close_idle();
    }

    pub(super) fn close_idle(&self) {
        let mut state = self.state.lock();
        let idle: Vec<_> = state.hosts.values_mut().map(|host| (std::mem::take(&mut host.idle), host.two.take())).collect();
        drop(state);
        drop(idle);
    }

    /// How many connections are open, and how many of these are idle.
    pub(super) fn counts(&self) -> (usize, usize) {
        let state = self.state.lock();
        (state.open, state.hosts.values().map(|host| host.idle.len()).sum())
    }
}

/// A request that waits. Dropped, it leaves the queue; after it was woken, it wakes the next.
struct Waiting<'a> {
    pool: &'a Arc<Pool>,
    key: &'a Arc<Key>,
    number: u64,
    turn: oneshot::Receiver<()>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut state = self.pool.state.lock();
        if state.hosts.get_mut(self.key).is_some_and(|host| host.waiting.remove(&self.number).is_some()) {
            state.waiting -= 1;
            state.tidy(self.key);
        } else if self.turn.try_recv().is_ok() {
            state.wake(&self.pool.settings);
        }
    }
}

/// One connection's place among those that may be open.
pub(super) struct Place {
    pool: Arc<Pool>,
    key: Arc<Key>,
    connecting: bool,
}

impl Place {
    /// The connection stands.
    pub(super) fn connected(&mut self) {
        self.connecting = false;
        if let Some(host) = self.pool.state.lock().hosts.get_mut(&self.key) {
            host.connecting -= 1;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.pool.state.lock();
        state.open -= 1;
        if let Some(host) = state.hosts.get_mut(&self.key) {
            host.open -= 1;
            host.connecting -= usize::from(self.connecting);
        }
        state.wake(&self.pool.settings);
        state.tidy(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;
    use crate::http::tls::Trust;

    fn key(number: usize) -> Arc<Key> {
        Arc::new(Key { https: false, host: format!("{number}.test"), port: 80 })
    }

    fn poll<T>(asked: &mut std::pin::Pin<Box<impl Future<Output = T>>>) -> Option<T> {
        match asked.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(got) => Some(got),
            Poll::Pending => None,
        }
    }

    #[test]
    fn the_turn_of_a_request_that_went_away_after_it_was_woken_is_the_next_ones() {
        let pool = Pool::new(Arc::new(Settings { connections: 1, ..Settings::new(Trust::default()) }));
        let keys: Vec<_> = (0..8).map(key).collect();
        let Got::Place(place) = poll(&mut Box::pin(pool.acquire(&keys[0]))).unwrap() else { panic!() };
        let mut asked: Vec<_> = keys.iter().map(|key| Box::pin(pool.acquire(key))).collect();
        assert!(asked.iter_mut().all(|asked| poll(asked).is_none()));
        drop(place);
        let mut last = asked.pop().unwrap();
        drop(asked);
        assert!(matches!(poll(&mut last), Some(Got::Place(_))));
    }

    #[test]
    fn requests_that_have_gone_away_leave_nothing_in_the_queue() {
        let pool = Pool::new(Arc::new(Settings { connections: 1, ..Settings::new(Trust::default()) }));
        let _place = poll(&mut Box::pin(pool.acquire(&key(0)))).unwrap();
        for number in 0..100 {
            let _ = pin!(pool.acquire(&key(number % 10))).poll(&mut Context::from_waker(Waker::noop()));
        }
        let state = pool.state.lock();
        assert_eq!((state.waiting, state.hosts.len()), (0, 1));
        assert!(state.hosts.values().all(|host| host.waiting.is_empty()));
    }
}
