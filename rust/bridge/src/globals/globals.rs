//! State of the process: the clock, the default tokio runtime, the table of effect names. A forked child makes its own.

use std::sync::atomic::{AtomicI32, AtomicPtr, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use mountain_core::effect::{AtWork, Host};
use mountain_core::policy::breaker::Ear;
use mountain_core::sync::Mutex;
use mountain_core::telemetry::{Gauges, SERIES, Telemetry};
use mountain_core::time::Clock;

/// Made on first use and never stopped: its threads touch no Python, so the interpreter may exit while they run.
struct Process {
    clock: Arc<Clock>,
    workers: OnceLock<Workers>,
    /// All tokio runtimes of this process, so that a test can ask whether they are at rest.
    runtimes: Mutex<Vec<Weak<tokio::runtime::Handle>>>,
    telemetry: Telemetry,
    /// References that were dropped on threads that are not attached, as the numbers that `PyRef` makes of them.
    graveyard: Mutex<Vec<usize>>,
}

static PROCESS: AtomicPtr<Process> = AtomicPtr::new(std::ptr::null_mut());
/// The state of the process that this one was forked from: effects here go on under the names given there.
static PARENT: AtomicPtr<Process> = AtomicPtr::new(std::ptr::null_mut());
static STARTING: Mutex<()> = Mutex::new(());
/// The number of forks between the first process and this one. An object that was made under another number belongs to
/// another process.
static FORKS: AtomicU32 = AtomicU32::new(0);

static BEGUN: AtomicU64 = AtomicU64::new(0);
pub(crate) static ABANDONED: AtomicU64 = AtomicU64::new(0);
/// The number of threads that run a blocking function.
pub(crate) static BUSY: AtomicU64 = AtomicU64::new(0);
/// Called for each change of a breaker.
pub(crate) static BREAKERS: OnceLock<Ear> = OnceLock::new();
/// Counts the runs that wait for something native. Set by the ports, which know them.
pub(crate) static PARKED: OnceLock<fn() -> usize> = OnceLock::new();

/// Counts one begun effect in `BEGUN` until it is dropped.
pub(crate) struct Begun(());

impl Begun {
    pub(crate) fn now() -> Self {
        BEGUN.fetch_add(1, Ordering::Relaxed);
        Begun(())
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        // Saturating: a fork resets the gauge, and effects that the parent began may still be dropped here.
        let _ = BEGUN.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1));
    }
}

/// The system's number of this process, read at import and after a fork.
static ID: AtomicI32 = AtomicI32::new(0);

pub(crate) fn id() -> i32 {
    ID.load(Ordering::Relaxed)
}

/// Called at import and in a forked child.
pub(crate) fn note_id() {
    ID.store(std::process::id().cast_signed(), Ordering::Relaxed);
}

pub(crate) fn forks() -> u32 {
    FORKS.load(Ordering::Relaxed)
}

fn process() -> &'static Process {
    let p = PROCESS.load(Ordering::Acquire);
    // SAFETY: the pointer is null or to a `Process` that is never freed.
    if let Some(p) = unsafe { p.as_ref() } { p } else { start() }
}

#[cold]
fn start() -> &'static Process {
    let _one = STARTING.lock();
    // SAFETY: as in `process`.
    if let Some(p) = unsafe { PROCESS.load(Ordering::Acquire).as_ref() } {
        return p;
    }
    let clock = Clock::real();
    let telemetry = Telemetry::new(clock.clone(), series(), gauges);
    // SAFETY: as in `process`.
    if let Some(parent) = unsafe { PARENT.load(Ordering::Acquire).as_ref() } {
        telemetry.inherit(&parent.telemetry);
    }
    let p = Box::leak(Box::new(Process {
        clock,
        telemetry,
        workers: OnceLock::new(),
        runtimes: Mutex::default(),
        graveyard: Mutex::default(),
    }));
    PROCESS.store(p, Ordering::Release);
    p
}

pub(crate) fn graveyard() -> &'static Mutex<Vec<usize>> {
    &process().graveyard
}

pub(crate) fn clock() -> &'static Arc<Clock> {
    &process().clock
}

/// A tokio runtime, and the host by which calls begin there.
pub(crate) struct Workers {
    pub(crate) tokio: tokio::runtime::Runtime,
    pub(crate) host: Arc<Host>,
    /// Keeps its entry in `runtimes`.
    _listed: Arc<tokio::runtime::Handle>,
}

pub(crate) fn workers(workers: Option<usize>) -> std::io::Result<Workers> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if let Some(workers) = workers {
        builder.worker_threads(workers);
    }
    let tokio = builder.thread_name("mountain-worker").build()?;
    let host = Host::new(tokio.handle().clone(), clock().clone());
    let listed = Arc::new(tokio.handle().clone());
    let mut runtimes = process().runtimes.lock();
    runtimes.retain(|r| r.strong_count() > 0);
    runtimes.push(Arc::downgrade(&listed));
    Ok(Workers { tokio, host, _listed: listed })
}

/// All tokio runtimes of this process.
pub(crate) fn runtimes() -> Vec<tokio::runtime::Handle> {
    let ours: Vec<_> = process().runtimes.lock().iter().filter_map(|r| r.upgrade().map(|r| (*r).clone())).collect();
    ours.into_iter().chain(mountain_providers::all::runtimes()).collect()
}

/// Where native work runs by default.
pub(crate) fn default_host() -> Arc<Host> {
    process().workers.get_or_init(|| workers(None).expect("threads for the default runtime")).host.clone()
}

/// The figures of this process, and its list of live calls.
pub(crate) fn telemetry() -> &'static Telemetry {
    &process().telemetry
}

/// The number of names that each metric tells apart: `MOUNTAIN_SERIES`, or the default.
fn series() -> usize {
    std::env::var("MOUNTAIN_SERIES").ok().and_then(|n| n.parse().ok()).unwrap_or(SERIES)
}

/// The process's gauges at this moment.
fn gauges() -> Gauges {
    let waiting = PARKED.get().map_or(0, |parked| parked()) as u64;
    let (open, idle) = mountain_providers::all::connections();
    Gauges {
        running: begun().saturating_sub(waiting),
        waiting,
        threads_busy: BUSY.load(Ordering::Relaxed),
        threads_abandoned: ABANDONED.load(Ordering::Relaxed) + mountain_providers::pool::abandoned() as u64,
        connections_busy: open.saturating_sub(idle) as u64,
        connections_idle: idle as u64,
    }
}

/// The number of effects that have begun and not ended.
pub(crate) fn begun() -> u64 {
    BEGUN.load(Ordering::Relaxed)
}

/// In the child of a fork: leaves the parent's state as it is, and counts anew.
pub(crate) fn forget() {
    note_id();
    FORKS.fetch_add(1, Ordering::Relaxed);
    PARENT.store(PROCESS.swap(std::ptr::null_mut(), Ordering::AcqRel), Ordering::Release);
    for gauge in [&BEGUN, &ABANDONED, &BUSY] {
        gauge.store(0, Ordering::Relaxed);
    }
    AtWork::forget_all();
}
