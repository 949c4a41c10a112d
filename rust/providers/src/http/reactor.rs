//! The thread that all connections live on: one loop of events for the process, made on first use. What is on it waits
//! for a socket and never blocks; only one thread touches a connection, so its parts hand over without waking another.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, Ordering};

use mountain_core::effect::{Abort, AtWork, Done, Outcome};
use mountain_core::error::Error;
use mountain_core::sync::Mutex;
use tokio::runtime::{Builder, Handle};

use super::forking::{after_fork, no_fork};
use super::pool::Pool;
use super::settings::Settings;

pub(super) struct Reactor {
    tokio: Handle,
    /// By client.
    pools: Mutex<HashMap<u64, Arc<Pool>>>,
    /// Of clients that are gone, with the number of requests that run.
    left: Mutex<HashMap<u64, (Arc<Pool>, usize)>>,
}

static REACTOR: AtomicPtr<Reactor> = AtomicPtr::new(std::ptr::null_mut());

fn existing() -> Option<&'static Reactor> {
    // SAFETY: what was in `REACTOR` is never freed.
    unsafe { REACTOR.load(Ordering::Acquire).as_ref() }
}

fn current() -> io::Result<&'static Reactor> {
    if let Some(reactor) = existing() {
        return Ok(reactor);
    }
    let _one = no_fork();
    if let Some(reactor) = existing() {
        return Ok(reactor);
    }
    // Threads for what the system only answers by blocking: names, certificates, files.
    let runtime = Builder::new_current_thread().enable_io().enable_time().max_blocking_threads(16).build()?;
    let reactor =
        Box::leak(Box::new(Reactor { tokio: runtime.handle().clone(), pools: Mutex::default(), left: Mutex::default() }));
    #[expect(clippy::disallowed_methods, reason = "all connections live on one thread that never ends")]
    std::thread::Builder::new().name("mountain-http".into()).spawn(move || runtime.block_on(std::future::pending::<()>()))?;
    REACTOR.store(reactor, Ordering::Release);
    Ok(reactor)
}

/// Its runtime, where the policies around a request run too. `None` where the system gives no thread.
pub(super) fn home() -> Option<&'static Handle> {
    current().ok().map(|reactor| &reactor.tokio)
}

/// Its runtime, if it runs: a test asks whether it is at rest.
pub fn runtime() -> Option<Handle> {
    existing().map(|reactor| reactor.tokio.clone())
}

impl Reactor {
    fn pool(&'static self, settings: &Arc<Settings>) -> (Arc<Pool>, Option<Guest>) {
        let mut pools = self.pools.lock();
        if !settings.dropped.load(Ordering::Relaxed) {
            return (pools.entry(settings.id).or_insert_with(|| Pool::new(settings.clone())).clone(), None);
        }
        drop(pools);
        let mut left = self.left.lock();
        let (pool, guests) = left.entry(settings.id).or_insert_with(|| (Pool::new(settings.clone()), 0));
        *guests += 1;
        (pool.clone(), Some(Guest { reactor: self, id: settings.id }))
    }
}

/// A request that outlives its client. The last one that runs closes their connections.
struct Guest {
    reactor: &'static Reactor,
    id: u64,
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut left = self.reactor.left.lock();
        let Some((_, guests)) = left.get_mut(&self.id) else { return };
        *guests -= 1;
        let last = if *guests == 0 { left.remove(&self.id) } else { None };
        drop(left);
        if let Some((pool, _)) = last {
            pool.close();
        }
    }
}

/// Runs `body` on the reactor's thread. Aborted, it is dropped there.
pub(super) fn run<F>(settings: &Arc<Settings>, done: Done, body: impl FnOnce(Arc<Pool>) -> F) -> Abort
where
    F: Future<Output = Outcome> + Send + 'static,
{
    let reactor = match current() {
        Ok(reactor) => reactor,
        Err(e) => {
            done.finish(Err(Error::io(&e, None)));
            return Abort::Never;
        }
    };
    let (pool, guest) = reactor.pool(settings);
    let body = body(pool);
    let at_work = AtWork::begin();
    let task = reactor.tokio.spawn(async move {
        let outcome = body.await;
        drop(guest);
        // The answer is on its way before virtual time may go on.
        done.finish(outcome);
        drop(at_work);
    });
    Abort::Task(task.abort_handle())
}

/// The client is gone: its connections close, and a request that it has made and that is yet to run keeps none.
pub fn leave(settings: &Settings) {
    // Before the pool goes: a request that begins meanwhile makes no other.
    settings.dropped.store(true, Ordering::Relaxed);
    close(settings.id);
}

/// Closes the idle connections of a client; those at work close when they are done.
pub fn close(id: u64) {
    let Some(reactor) = existing() else { return };
    let pool = reactor.pools.lock().remove(&id);
    // Connections are dropped on their own thread.
    if let Some(pool) = pool {
        pool.close();
        reactor.tokio.spawn(async move { drop(pool) });
    }
}

/// Closes the idle connections of all clients: their next requests open others.
pub fn close_idle() {
    let Some(reactor) = existing() else { return };
    let pools: Vec<_> = reactor.pools.lock().values().cloned().collect();
    for pool in pools {
        pool.close_idle();
    }
}

/// The connections of a client, open and idle.
pub fn connections(id: u64) -> (usize, usize) {
    let Some(reactor) = existing() else { return (0, 0) };
    let pool = reactor.pools.lock().get(&id).cloned();
    pool.map_or((0, 0), |pool| pool.counts())
}

/// The connections of all clients, open and idle.
pub fn all_connections() -> (usize, usize) {
    let Some(reactor) = existing() else { return (0, 0) };
    let pools: Vec<_> = reactor.pools.lock().values().cloned().collect();
    pools.iter().map(|pool| pool.counts()).fold((0, 0), |(open, idle), (o, i)| (open + o, idle + i))
}

/// In the child of a fork: the parent's thread and its connections are not here.
pub fn forget_after_fork() {
    after_fork();
    REACTOR.store(std::ptr::null_mut(), Ordering::Release);
}
