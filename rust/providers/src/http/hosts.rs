//! The hosts of a pool: what is open to each, and which requests wait for what.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use hyper::client::conn::http2;
use tokio::sync::oneshot;

use super::one::One;
use super::settings::Settings;
use super::whole::Whole;

/// Where connections lead.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub https: bool,
    pub host: String,
    pub port: u16,
}

/// Of one pool.
#[derive(Default)]
pub(super) struct State {
    pub closed: bool,
    pub open: usize,
    /// The requests that wait, and the number of the last that began to.
    pub waiting: usize,
    pub asked: u64,
    pub hosts: HashMap<Arc<Key>, Host>,
}

#[derive(Default)]
pub(super) struct Host {
    pub open: usize,
    pub connecting: usize,
    /// The one used last stands last.
    pub idle: VecDeque<(One, Instant)>,
    /// Shared by all requests.
    pub two: Option<http2::SendRequest<Whole>>,
    /// Whether it speaks HTTP/2, once that is known.
    pub speaks_two: Option<bool>,
    /// By their numbers.
    pub waiting: BTreeMap<u64, oneshot::Sender<()>>,
}

impl State {
    /// Wakes the request that has waited longest of those that can go on. Whatever is freed wakes one, and each that
    /// was woken wakes the next: no request waits beside a connection, or room for one, that it could have.
    pub(super) fn wake(&mut self, settings: &Settings) {
        if self.waiting == 0 {
            return;
        }
        let room = self.open < settings.connections;
        let is_free = |host: &Host| host.two.is_some() || !host.idle.is_empty();
        let can = |key: &Key, host: &Host| is_free(host) || (room && host.may_open(key, settings));
        let hosts = self.hosts.iter_mut().filter(|(key, host)| !host.waiting.is_empty() && can(key, host));
        let first = hosts.map(|(_, host)| host).min_by_key(|host| host.first());
        if let Some((_, next)) = first.and_then(|host| host.waiting.pop_first()) {
            self.waiting -= 1;
            // Its end is held by a `Waiting`, which leaves the queue first.
            let _ = next.send(());
        }
    }

    /// Whether a request to another host has waited longer for room than those to this one, and there is none.
    pub(super) fn is_wanted(&self, key: &Key, settings: &Settings) -> bool {
        if self.waiting == 0 || self.open < settings.connections {
            return false;
        }
        let ours = self.hosts.get(key).and_then(Host::first).unwrap_or(u64::MAX);
        let waits = |host: &Host| host.first().is_some_and(|first| first < ours);
        self.hosts.iter().any(|(other, host)| &**other != key && waits(host) && host.may_open(other, settings))
    }

    /// A host of which there is nothing to know is left out.
    pub(super) fn tidy(&mut self, key: &Arc<Key>) {
        let is_unused = |host: &Host| host.open == 0 && host.waiting.is_empty() && host.idle.is_empty() && host.two.is_none();
        if self.hosts.get(key).is_some_and(is_unused) {
            self.hosts.remove(key);
        }
    }
}

impl Host {
    /// The number of the request that has waited longest.
    fn first(&self) -> Option<u64> {
        self.waiting.first_key_value().map(|(number, _)| *number)
    }

    /// Whether one more connection is of use, and allowed by the host's own limit.
    pub(super) fn may_open(&self, key: &Key, settings: &Settings) -> bool {
        // The first connection tells whether one is enough.
        let enough = self.connecting > 0 && key.https && settings.http2 && self.speaks_two != Some(false);
        !enough && self.open < settings.per_host
    }
}
