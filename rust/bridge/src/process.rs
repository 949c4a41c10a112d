//! What there is once a process: the clock, the default tokio runtime, the table of effect names. A fork leaves all of it behind.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use mountain_core::effect::Host;
use mountain_core::observe::Tally;
use mountain_core::sync::Mutex;
use mountain_core::time::Clock;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::port;
use crate::pyref::PyRef;

/// Started on first use, never stopped: its threads touch no Python, so an interpreter may exit over their heads.
struct Process {
    clock: Arc<Clock>,
    workers: OnceLock<Workers>,
    tallies: Mutex<BTreeMap<String, Arc<Tally>>>,
    /// References that were dropped on threads that are not attached.
    graveyard: Mutex<Vec<PyRef>>,
}

static PROCESS: AtomicPtr<Process> = AtomicPtr::new(std::ptr::null_mut());
static STARTING: Mutex<()> = Mutex::new(());
/// How many forks lie between the first process and this one: what was made under another number belongs to another process.
static FORKS: AtomicU32 = AtomicU32::new(0);

static BEGUN: AtomicU64 = AtomicU64::new(0);
pub(crate) static ABANDONED: AtomicU64 = AtomicU64::new(0);

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
    let p = Box::leak(Box::new(Process {
        clock: Clock::real(),
        workers: OnceLock::new(),
        tallies: Mutex::default(),
        graveyard: Mutex::default(),
    }));
    PROCESS.store(p, Ordering::Release);
    p
}

pub(crate) fn graveyard() -> &'static Mutex<Vec<PyRef>> {
    &process().graveyard
}

pub(crate) fn clock() -> &'static Arc<Clock> {
    &process().clock
}

/// A tokio runtime, and how calls begin there.
pub(crate) struct Workers {
    pub(crate) tokio: tokio::runtime::Runtime,
    pub(crate) host: Arc<Host>,
}

pub(crate) fn workers(workers: Option<usize>) -> std::io::Result<Workers> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if let Some(workers) = workers {
        builder.worker_threads(workers);
    }
    let tokio = builder.thread_name("mountain-worker").build()?;
    let host = Arc::new(Host::new(tokio.handle().clone(), clock().clone()));
    Ok(Workers { tokio, host })
}

/// The default place of native work.
pub(crate) fn default_host() -> Arc<Host> {
    process().workers.get_or_init(|| workers(None).expect("threads for the default runtime")).host.clone()
}

/// The counters of an effect's name, for all effects of that name.
pub(crate) fn tally(name: &str) -> Arc<Tally> {
    let mut tallies = process().tallies.lock();
    if let Some(t) = tallies.get(name) {
        return t.clone();
    }
    let t = Arc::new(Tally::default());
    tallies.insert(name.to_owned(), t.clone());
    t
}

/// In the child of a fork: let go of everything without reading, closing or waiting for it. What it holds is the parent's.
#[pyfunction]
pub(crate) fn after_fork() {
    FORKS.fetch_add(1, Ordering::Relaxed);
    PROCESS.store(std::ptr::null_mut(), Ordering::Release);
    for gauge in [&BEGUN, &ABANDONED] {
        gauge.store(0, Ordering::Relaxed);
    }
    mountain_providers::pool::forget_after_fork();
    port::forget_all();
}

/// Gauges of the process.
#[pyfunction]
pub(crate) fn statistics(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let d = PyDict::new(py);
    let waiting = port::parked() as u64;
    d.set_item("running", BEGUN.load(Ordering::Relaxed).saturating_sub(waiting))?;
    d.set_item("waiting", waiting)?;
    d.set_item("abandoned_threads", ABANDONED.load(Ordering::Relaxed) + mountain_providers::pool::abandoned() as u64)?;
    d.set_item("timers", clock().armed())?;
    d.set_item("graveyard", graveyard().lock().len())?;
    Ok(d)
}

type Row = (u64, u64, u64, u64, u64, u64, u64, f64, f64);

/// By name: started, succeeded, failed, timed_out, cancelled, retried, rejected, p50 and p99 in seconds.
#[pyfunction]
pub(crate) fn effect_statistics() -> BTreeMap<String, Row> {
    let n = |c: &AtomicU64| c.load(Ordering::Relaxed);
    let row = |t: &Tally| {
        let (p50, p99) = (t.times.quantile(0.5), t.times.quantile(0.99));
        (n(&t.started), n(&t.succeeded), n(&t.failed), n(&t.timed_out), n(&t.cancelled), n(&t.retried), n(&t.rejected), p50, p99)
    };
    process().tallies.lock().iter().map(|(name, t)| (name.clone(), row(t))).collect()
}
