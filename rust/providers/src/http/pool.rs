//! The connections of one client: which one a request gets, and which requests wait for one.
//!
//! A connection counts from the begin of its opening to its very end, by the `Place` that its task holds. Requests that
//! find none free wait in order, by host.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::client::conn::{http1, http2};
use mountain_core::sync::Mutex;
use tokio::sync::oneshot;

use super::settings::Settings;
use super::whole::Whole;

/// A connection that has been idle for longer is not used again: its server may close it any moment.
const STALE: Duration = Duration::from_secs(90);

/// Where connections lead.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub https: bool,
    pub host: String,
    pub port: u16,
}

/// The sending end of a connection.
pub(super) enum Sender {
    One(http1::SendRequest<Whole>),
    Two(http2::SendRequest<Whole>),
}

pub(super) struct Pool {
    pub settings: Arc<Settings>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    closed: bool,
    open: usize,
    hosts: HashMap<Arc<Key>, Host>,
}

#[derive(Default)]
struct Host {
    open: usize,
    connecting: usize,
    /// The one used last stands last.
    idle: VecDeque<(http1::SendRequest<Whole>, Instant)>,
    /// Shared by all requests.
    two: Option<http2::SendRequest<Whole>>,
    /// Whether it speaks HTTP/2, once that is known.
    speaks_two: Option<bool>,
    waiting: VecDeque<oneshot::Sender<()>>,
}

/// The outcome of a look for a connection.
pub(super) enum Got {
    Connection(Sender),
    /// The right to open one.
    Place(Place),
}

enum Next {
    Got(Got),
    Wait(oneshot::Receiver<()>),
}

impl Pool {
    pub(super) fn new(settings: Arc<Settings>) -> Arc<Self> {
        Arc::new(Pool { settings, state: Mutex::default() })
    }

    /// A connection, or the right to open one, in the order of asking.
    pub(super) async fn acquire(self: &Arc<Self>, key: &Arc<Key>) -> Got {
        let mut woken = false;
        loop {
            match self.next(key, woken) {
                Next::Got(got) => return got,
                Next::Wait(turn) => {
                    let mut waiting = Waiting { pool: self, key, turn };
                    woken = (&mut waiting.turn).await.is_ok();
                }
            }
        }
    }

    fn next(self: &Arc<Self>, key: &Arc<Key>, woken: bool) -> Next {
        let mut dropped = Vec::new();
        let mut state = self.state.lock();
        let State { open, hosts, .. } = &mut *state;
        if !hosts.contains_key(key) {
            hosts.insert(key.clone(), Host::default());
        }
        let host = hosts.get_mut(key).expect("it has just been put there");
        if let Some(two) = host.two.take_if(|two| two.is_closed()) {
            dropped.push(Sender::Two(two));
        }
        if let Some(two) = &host.two {
            return Next::Got(Got::Connection(Sender::Two(two.clone())));
        }
        let may_take = woken || host.waiting.is_empty();
        if may_take {
            while let Some((one, since)) = host.idle.pop_back() {
                if !one.is_closed() && since.elapsed() < STALE {
                    return Next::Got(Got::Connection(Sender::One(one)));
                }
                dropped.push(Sender::One(one));
            }
            // The first connection tells whether one is enough.
            let enough = host.connecting > 0 && key.https && self.settings.http2 && host.speaks_two != Some(false);
            if !enough && host.open < self.settings.per_host {
                if *open < self.settings.connections {
                    *open += 1;
                    host.open += 1;
                    host.connecting += 1;
                    return Next::Got(Got::Place(Place { pool: self.clone(), key: key.clone(), connecting: true }));
                }
                // Room is made by the one that has been idle longest; its end wakes this request.
                let oldest = hosts.values_mut().filter(|h| !h.idle.is_empty()).min_by_key(|h| h.idle[0].1);
                dropped.extend(oldest.and_then(|host| host.idle.pop_front()).map(|(one, _)| Sender::One(one)));
            }
        }
        let (wakes, turn) = oneshot::channel();
        let waiting = &mut hosts.get_mut(key).expect("it is there").waiting;
        if woken {
            waiting.push_front(wakes);
        } else {
            waiting.push_back(wakes);
        }
        drop(state);
        drop(dropped);
        Next::Wait(turn)
    }

    /// A connection is free again.
    pub(super) fn put_back(&self, key: &Arc<Key>, one: http1::SendRequest<Whole>) {
        let mut state = self.state.lock();
        let full = state.open >= self.settings.connections;
        let elsewhere = full && state.hosts.iter().any(|(other, host)| other != key && !host.waiting.is_empty());
        let closed = state.closed;
        let Some(host) = state.hosts.get_mut(key) else { return };
        let gives_way = closed || one.is_closed() || (elsewhere && host.waiting.is_empty());
        if !gives_way {
            host.idle.push_back((one, Instant::now()));
            host.wake();
        }
    }

    /// The connection that all requests to that host share.
    pub(super) fn share(&self, key: &Arc<Key>, two: http2::SendRequest<Whole>) {
        let mut state = self.state.lock();
        let closed = state.closed;
        if let Some(host) = state.hosts.get_mut(key) {
            // In a closed pool its requests alone hold it, and it closes with the last.
            host.two = (!closed).then_some(two);
            host.speaks_two = Some(true);
            host.wake_all();
        }
    }

    /// That host speaks HTTP/1 only.
    pub(super) fn speaks_one(&self, key: &Arc<Key>) {
        if let Some(host) = self.state.lock().hosts.get_mut(key) {
            host.speaks_two = Some(false);
            host.wake_all();
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

impl Host {
    /// Wakes the first that still waits. False: none does.
    fn wake(&mut self) -> bool {
        while let Some(next) = self.waiting.pop_front() {
            if next.send(()).is_ok() {
                return true;
            }
        }
        false
    }

    fn wake_all(&mut self) {
        while self.wake() {}
    }
}

/// A request that waits. Dropped after it was woken, it wakes the next.
struct Waiting<'a> {
    pool: &'a Arc<Pool>,
    key: &'a Arc<Key>,
    turn: oneshot::Receiver<()>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.turn.try_recv().is_ok()
            && let Some(host) = self.pool.state.lock().hosts.get_mut(self.key)
        {
            host.wake();
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
        let mut woken = false;
        if let Some(host) = state.hosts.get_mut(&self.key) {
            host.open -= 1;
            host.connecting -= usize::from(self.connecting);
            woken = host.wake();
            if host.open == 0 && host.waiting.is_empty() && host.idle.is_empty() && !woken && host.two.is_none() {
                state.hosts.remove(&self.key);
            }
        }
        if !woken {
            // Others may wait for room in all.
            state.hosts.values_mut().find_map(|host| host.wake().then_some(()));
        }
    }
}
