//! Fixtures of tests: temporary folders, a sink that a test can wait on, memory made of vectors, and a gate for jobs.

use std::cell::UnsafeCell;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use mountain_core::effect::{Abort, Done, Host, Operation, Outcome, Sink};
use mountain_core::error::Error;
use mountain_core::sync::{Condvar, Mutex};
use mountain_core::time::Clock;
use mountain_core::value::{Filled, Memory, Value};

use crate::pool::{self, Grip, Job, Step};

/// A folder of a test's own.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("mountain-test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Folder(path)
    }

    pub(crate) fn root(&self) -> &Path {
        &self.0
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(crate) fn dir(&self, name: &str) -> PathBuf {
        fs::create_dir_all(self.path(name)).unwrap();
        self.path(name)
    }

    pub(crate) fn file(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    pub(crate) fn link(&self, name: &str, target: &str) -> PathBuf {
        std::os::unix::fs::symlink(target, self.path(name)).unwrap();
        self.path(name)
    }

    pub(crate) fn fifo(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        let c = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
        // SAFETY: a plain system call with a path that ends in a zero.
        assert_eq!(unsafe { libc::mkfifo(c.as_ptr(), 0o600) }, 0);
        path
    }

    /// The names in it, sorted.
    pub(crate) fn names(&self) -> Vec<String> {
        let name = |e: fs::DirEntry| e.file_name().to_string_lossy().into_owned();
        let mut names: Vec<String> = fs::read_dir(&self.0).unwrap().map(|e| name(e.unwrap())).collect();
        names.sort();
        names
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

/// Buffers that are plain vectors.
pub(crate) struct Vectors(Vec<(UnsafeCell<Box<[u8]>>, usize)>);

impl Vectors {
    pub(crate) fn of(sizes: &[usize]) -> Arc<dyn Memory> {
        Arc::new(Vectors(sizes.iter().map(|&n| (UnsafeCell::new(vec![0; n].into_boxed_slice()), n)).collect()))
    }
}

// SAFETY: every buffer is an allocation of its own, and is written by the one worker that has claimed it.
unsafe impl Memory for Vectors {
    fn buffers(&self) -> usize {
        self.0.len()
    }

    fn size(&self, buffer: usize) -> usize {
        self.0[buffer].1
    }

    fn buffer(&self, buffer: usize) -> *mut u8 {
        // SAFETY: only the box is looked at, and it is never replaced.
        unsafe { (*self.0[buffer].0.get()).as_mut_ptr() }
    }
}

// SAFETY: as above.
unsafe impl Send for Vectors {}
// SAFETY: as above.
unsafe impl Sync for Vectors {}

/// An operation that asked for buffers, and waits.
pub(crate) type Request = (Vec<usize>, Box<dyn FnOnce(Arc<dyn Memory>) + Send>);

struct Wire {
    outcomes: Sender<Outcome>,
    /// Where requests for buffers wait for the test; none: they are granted at once.
    requests: Option<Sender<Request>>,
}

impl Sink for Wire {
    fn deliver(&self, _token: usize, outcome: Outcome) {
        drop(self.outcomes.send(outcome));
    }

    fn allocate(&self, sizes: Vec<usize>, then: Box<dyn FnOnce(Arc<dyn Memory>) + Send>) {
        match &self.requests {
            Some(requests) => drop(requests.send((sizes, then))),
            None => then(Vectors::of(&sizes)),
        }
    }
}

/// A started operation.
pub(crate) struct Call {
    pub(crate) abort: Abort,
    outcomes: Receiver<Outcome>,
}

impl Call {
    /// The outcome, if it comes within so many milliseconds. Its value is taken.
    pub(crate) fn within(&self, millis: u64) -> Option<Outcome> {
        let taken = |value| if let Value::Taken(taken) = value { taken.keep() } else { value };
        self.untaken(millis).map(|outcome| outcome.map(taken))
    }

    /// The outcome as a host has it that may yet drop it.
    pub(crate) fn untaken(&self, millis: u64) -> Option<Outcome> {
        self.outcomes.recv_timeout(Duration::from_millis(millis)).ok()
    }

    pub(crate) fn outcome(&self) -> Outcome {
        self.within(10_000).expect("an operation is answered")
    }
}

fn done(requests: Option<Sender<Request>>) -> (Done, Receiver<Outcome>) {
    let (outcomes, receiver) = channel();
    (Done::new(Arc::new(Wire { outcomes, requests }), 0), receiver)
}

pub(crate) fn host() -> &'static Arc<Host> {
    static HOST: OnceLock<(tokio::runtime::Runtime, Arc<Host>)> = OnceLock::new();
    let (_, host) = HOST.get_or_init(|| {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        let host = Host::new(runtime.handle().clone(), Clock::manual());
        (runtime, host)
    });
    host
}

pub(crate) fn start(operation: &dyn Operation) -> Call {
    call(|done| operation.start(host(), done))
}

/// Started with a host that leaves requests for buffers to the test.
pub(crate) fn start_held(operation: &dyn Operation) -> (Call, Receiver<Request>) {
    let (requests, held) = channel();
    let (done, outcomes) = done(Some(requests));
    (Call { abort: operation.start(host(), done), outcomes }, held)
}

pub(crate) fn start_job(grip: Grip, work: impl FnOnce(&Job) -> Step + Send + 'static) -> Call {
    call(|done| pool::run(grip, done, work))
}

pub(crate) fn call(begin: impl FnOnce(Done) -> Abort) -> Call {
    let (done, outcomes) = done(None);
    Call { abort: begin(done), outcomes }
}

pub(crate) fn run(operation: &dyn Operation) -> Outcome {
    start(operation).outcome()
}

/// One result's bytes, whichever way they came.
pub(crate) fn bytes(outcome: Outcome) -> Vec<u8> {
    match outcome {
        Ok(Value::Bytes(bytes)) => bytes,
        Ok(Value::Filled(filled)) if filled.single => contents(&filled).remove(0),
        other => panic!("{other:?}"),
    }
}

/// The contents of the buffers of filled memory.
pub(crate) fn contents(filled: &Filled) -> Vec<Vec<u8>> {
    // SAFETY: so much of each buffer has been written, and no worker writes it any more.
    let buffer = |i: usize| unsafe { std::slice::from_raw_parts(filled.memory.buffer(i), filled.lengths[i]).to_vec() };
    let mut all: Vec<Vec<u8>> = (0..filled.memory.buffers()).map(buffer).collect();
    for (i, tail) in &filled.tails {
        all[*i].extend_from_slice(tail);
    }
    all
}

pub(crate) fn os_error(outcome: Outcome) -> (i32, Option<PathBuf>) {
    match outcome {
        Err(Error::Os(e)) => (e.errno, e.path.map(PathBuf::from)),
        other => panic!("{other:?}"),
    }
}

/// Holds a job up until the test lets it go on.
#[derive(Clone, Default)]
pub(crate) struct Gate(Arc<(Mutex<GateState>, Condvar)>);

#[derive(Default)]
struct GateState {
    waiting: usize,
    open: bool,
}

impl Gate {
    pub(crate) fn wait(&self) {
        let mut state = self.0.0.lock();
        state.waiting += 1;
        self.0.1.notify_all();
        drop(self.0.1.wait_while(state, |s| !s.open));
    }

    /// Until so many jobs stand at the gate.
    pub(crate) fn reached(&self, count: usize) {
        drop(self.0.1.wait_while(self.0.0.lock(), |s| s.waiting < count));
    }

    pub(crate) fn open(&self) {
        self.0.0.lock().open = true;
        self.0.1.notify_all();
    }
}
