//! What there is once a process: the clock, the default tokio runtime, the table of effect names. A fork leaves all of it behind.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI32, AtomicPtr, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use mountain_core::effect::{AtWork, Host};
use mountain_core::observe::Tally;
use mountain_core::sync::Mutex;
use mountain_core::time::Clock;

/// Started on first use, never stopped: its threads touch no Python, so an interpreter may exit over their heads.
struct Process {
    clock: Arc<Clock>,
    workers: OnceLock<Workers>,
    /// All that there are, for who asks whether they are at rest.
    runtimes: Mutex<Vec<Weak<tokio::runtime::Handle>>>,
    tallies: Mutex<BTreeMap<String, Arc<Tally>>>,
    /// References that were dropped on threads that are not attached, as the numbers that `PyRef` makes of them.
    graveyard: Mutex<Vec<usize>>,
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
    let p = Box::leak(Box::new(Process {
        clock: Clock::real(),
        workers: OnceLock::new(),
        runtimes: Mutex::default(),
        tallies: Mutex::default(),
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

/// The counters of all names.
pub(crate) fn tallies() -> Vec<(String, Arc<Tally>)> {
    process().tallies.lock().iter().map(|(name, t)| (name.clone(), t.clone())).collect()
}

/// Effects that have begun and not ended.
pub(crate) fn begun() -> u64 {
    BEGUN.load(Ordering::Relaxed)
}

/// In the child of a fork: everything is the parent's, and is left as it is.
pub(crate) fn forget() {
    note_id();
    FORKS.fetch_add(1, Ordering::Relaxed);
    PROCESS.store(std::ptr::null_mut(), Ordering::Release);
    for gauge in [&BEGUN, &ABANDONED] {
        gauge.store(0, Ordering::Relaxed);
    }
    AtWork::forget_all();
}
