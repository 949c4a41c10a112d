//! What there is once a process: the clock, the default tokio runtime, the table of effect names. A fork leaves all of it behind.

use std::sync::atomic::{AtomicI32, AtomicPtr, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use mountain_core::effect::{AtWork, Host};
use mountain_core::policy::breaker::Ear;
use mountain_core::sync::Mutex;
use mountain_core::telemetry::{Gauges, SERIES, Telemetry};
use mountain_core::time::Clock;

/// Started on first use, never stopped: its threads touch no Python, so an interpreter may exit over their heads.
struct Process {
    clock: Arc<Clock>,
    workers: OnceLock<Workers>,
    /// All that there are, for who asks whether they are at rest.
    runtimes: Mutex<Vec<Weak<tokio::runtime::Handle>>>,
    telemetry: Telemetry,
    /// References that were dropped on threads that are not attached, as the numbers that `PyRef` makes of them.
    graveyard: Mutex<Vec<usize>>,
}

static PROCESS: AtomicPtr<Process> = AtomicPtr::new(std::ptr::null_mut());
/// What the process was forked from had: its effects go on here under their names.
static PARENT: AtomicPtr<Process> = AtomicPtr::new(std::ptr::null_mut());
static STARTING: Mutex<()> = Mutex::new(());
/// How many forks lie between the first process and this one: what was made under another number belongs to another process.
static FORKS: AtomicU32 = AtomicU32::new(0);

static BEGUN: AtomicU64 = AtomicU64::new(0);
pub(crate) static ABANDONED: AtomicU64 = AtomicU64::new(0);
/// Threads that are in a blocking function.
pub(crate) static BUSY: AtomicU64 = AtomicU64::new(0);
/// Who hears of the changes of breakers.
pub(crate) static BREAKERS: OnceLock<Ear> = OnceLock::new();
/// How many runs wait for something native, which the ports know.
pub(crate) static PARKED: OnceLock<fn() -> usize> = OnceLock::new();

/// One effect that has begun and not ended, for as long as it lives.
pub(crate) struct Begun(());

impl Begun {
    pub(crate) fn now() -> Self {
        BEGUN.fetch_add(1, Ordering::Relaxed);
        Begun(())
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        // Saturating: a fork set the gauge back, and what the parent had begun may still be dropped here.
        let _ = BEGUN.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1));
    }
}

/// Of this process, as the system numbers it: asked for at import and after a fork.
static ID: AtomicI32 = AtomicI32::new(0);

pub(crate) fn id() -> i32 {
    ID.load(Ordering::Relaxed)
}

/// The module is imported, or wakes up in a child.
pub(crate) fn note_id() {
    ID.store(std::process::id().cast_signed(), Ordering::Relaxed);
}

pub(crate) fn forks() -> u32 {
    FORKS.load(Ordering::Relaxed)
}

fn process() -> &'static Process {
    let p = PROCESS.load(Ordering::Acquire);
    // SAFETY: what the pointer names is never freed.
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

/// A tokio runtime, and how calls begin there.
pub(crate) struct Workers {
    pub(crate) tokio: tokio::runtime::Runtime,
    pub(crate) host: Arc<Host>,
    /// Its place among all, which ends with it.
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

/// The tokio runtimes that there are.
pub(crate) fn runtimes() -> Vec<tokio::runtime::Handle> {
    process().runtimes.lock().iter().filter_map(|r| r.upgrade().map(|r| (*r).clone())).collect()
}

/// The default place of native work.
pub(crate) fn default_host() -> Arc<Host> {
    process().workers.get_or_init(|| workers(None).expect("threads for the default runtime")).host.clone()
}

/// What is counted, and who is looked at.
pub(crate) fn telemetry() -> &'static Telemetry {
    &process().telemetry
}

/// Names a metric: as many as the environment says, or by default.
fn series() -> usize {
    std::env::var("MOUNTAIN_SERIES").ok().and_then(|n| n.parse().ok()).unwrap_or(SERIES)
}

/// What the process does now.
fn gauges() -> Gauges {
    let waiting = PARKED.get().map_or(0, |parked| parked()) as u64;
    Gauges {
        running: begun().saturating_sub(waiting),
        waiting,
        threads_busy: BUSY.load(Ordering::Relaxed),
        threads_abandoned: ABANDONED.load(Ordering::Relaxed) + mountain_providers::pool::abandoned() as u64,
    }
}

/// Effects that have begun and not ended.
pub(crate) fn begun() -> u64 {
    BEGUN.load(Ordering::Relaxed)
}

/// In the child of a fork: everything is the parent's, and is left as it is.
pub(crate) fn forget() {
    note_id();
    FORKS.fetch_add(1, Ordering::Relaxed);
    PARENT.store(PROCESS.swap(std::ptr::null_mut(), Ordering::AcqRel), Ordering::Release);
    for gauge in [&BEGUN, &ABANDONED, &BUSY] {
        gauge.store(0, Ordering::Relaxed);
    }
    AtWork::forget_all();
}
