//! The live page of a runtime: its server, and the board that holds the state known only to Python.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mountain_core::sync::Mutex;
use mountain_core::time::Instant;
use mountain_dashboard::{Address, Board, Failure, Keys, Service, Serving, serve};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::globals::{clock, forks, telemetry};
use crate::observe::watchers;
use crate::policy::keyed;
use crate::python::os_error::os_error;

/// The boards of all live pages, which show failures and changes.
static BOARDS: Mutex<Vec<Weak<Board>>> = Mutex::new(Vec::new());
/// The number of live pages served: calls are listed while there is one.
static OPEN: AtomicUsize = AtomicUsize::new(0);

#[pyclass(frozen, weakref, module = "mountain_runtime._native")]
pub(crate) struct Dashboard {
    board: Arc<Board>,
    serving: Mutex<Option<Serving>>,
    #[pyo3(get)]
    url: String,
    /// Whether the token was made here.
    #[pyo3(get)]
    made_token: bool,
    /// The fork count of the process that serves the page.
    forks: u32,
    /// When keys were last shown, in nanoseconds of the clock.
    keys_shown: AtomicU64,
    /// The interval at which keys are shown while a page is open: a little shorter than the page's own.
    keys_every: Duration,
}

#[pymethods]
impl Dashboard {
    /// Serves at `address`. A token is made where the address needs one and `token` is empty. `tick`: the seconds
    /// between two states of the page.
    #[new]
    #[pyo3(signature = (address, token, program, tick, /))]
    fn new(py: Python<'_>, address: &str, token: String, program: String, tick: f64) -> PyResult<Self> {
        let tick = Duration::try_from_secs_f64(tick).map_err(|e| PyValueError::new_err(e.to_string()))?;
        // Parsing may look up a host name, which blocks.
        let address = py.detach(|| Address::parse(address, || token)).map_err(|e| PyValueError::new_err(e.to_string()))?;
        let (made_token, place) = (address.made, address.place.clone());
        let board = Arc::new(Board::default());
        let shown = board.clone();
        let serving = py.detach(move || serve(telemetry(), shown, address, program, tick));
        let serving = serving.map_err(|e| os_error(&e, Some(&place)))?;
        BOARDS.lock().push(Arc::downgrade(&board));
        if OPEN.fetch_add(1, Ordering::SeqCst) == 0 {
            show(true);
        }
        let url = serving.url.clone();
        Ok(Dashboard {
            board,
            serving: Mutex::new(Some(serving)),
            url,
            made_token,
            forks: forks(),
            keys_shown: AtomicU64::new(0),
            keys_every: tick.mul_f64(0.9),
        })
    }

    /// Called on the loop: sets the state of the application. `shutdown` is JSON. `late`: the loop's lag in seconds, if
    /// this call had a due time.
    #[pyo3(signature = (services, shutdown, ready, late, /))]
    fn push(
        &self,
        py: Python<'_>,
        services: BTreeMap<String, Service>,
        shutdown: &str,
        ready: bool,
        late: Option<f64>,
    ) -> PyResult<()> {
        let shutdown = shutdown.parse().map_err(|e| PyValueError::new_err(format!("a shutdown that is no JSON: {e}")))?;
        self.board.set_services(services);
        self.board.set_shutdown(shutdown);
        self.board.set_ready(ready);
        let now = clock().now();
        self.board.heard(now);
        self.push_keys(py, now);
        if let Some(late) = late {
            telemetry().pulse.lag.record((late.max(0.0) * 1e9) as u64);
        }
        Ok(())
    }

    /// Whether a page is open.
    #[getter]
    fn watched(&self) -> bool {
        self.serving.lock().as_ref().is_some_and(Serving::is_watched)
    }

    /// Sets the workers of pools, as JSON.
    #[pyo3(signature = (workers, /))]
    fn set_workers(&self, workers: &str) -> PyResult<()> {
        let workers = workers.parse().map_err(|e| PyValueError::new_err(format!("workers that are no JSON: {e}")))?;
        self.board.set_workers(workers);
        Ok(())
    }

    /// Stops serving.
    fn close(&self, py: Python<'_>) {
        let serving = self.serving.lock().take();
        if let Some(serving) = serving {
            self.closed();
            py.detach(|| drop(serving));
        }
    }
}

impl Drop for Dashboard {
    fn drop(&mut self) {
        if self.serving.lock().is_some() {
            self.closed();
        }
    }
}

impl Dashboard {
    /// Shows the keys of policies as text, at most once for each state and only while a page is open: keys are the
    /// program's own objects, so that only an attached thread can show them.
    fn push_keys(&self, py: Python<'_>, now: Instant) {
        let serving = self.serving.lock();
        if !serving.as_ref().is_some_and(Serving::is_watched) {
            self.board.forget_keys();
            self.keys_shown.store(0, Ordering::Relaxed);
            return;
        }
        drop(serving);
        let last = Instant::from_nanos(self.keys_shown.load(Ordering::Relaxed));
        if now.since(last) < self.keys_every {
            return;
        }
        self.keys_shown.store(now.nanos(), Ordering::Relaxed);
        let shown = telemetry().policies.by_key(now).into_iter().map(|found| {
            let keys = found.keys.into_iter().map(|(held, reading)| {
                let text = held.map_or_else(|| "without a key".to_owned(), |used| keyed::shown(py, &used));
                (text, reading)
            });
            let keys = keys.collect();
            Keys { kind: found.kind, name: found.name, keys, others: found.others, other: found.other }
        });
        self.board.set_keys(shown.collect());
    }

    fn closed(&self) {
        // A page of the parent process is not counted in this one.
        if self.forks == forks() && OPEN.fetch_sub(1, Ordering::SeqCst) == 1 {
            show(false);
        }
    }
}

fn show(on: bool) {
    telemetry().live.show(on);
    watchers::set(watchers::LIVE, on);
}

/// Shows a failed call on all live pages.
#[pyfunction]
#[pyo3(signature = (effect, kind, message, traceback, /))]
pub(crate) fn note_failure(effect: &str, kind: &str, message: &str, traceback: &str) {
    for_each_board(|board, at| {
        let (effect, kind, message, traceback) = (effect.to_owned(), kind.to_owned(), message.to_owned(), traceback.to_owned());
        board.fail(Failure { effect, kind, message, traceback, at });
    });
}

/// Shows a policy's change on all live pages.
pub(crate) fn note_change(text: &str) {
    for_each_board(|board, at| board.change(text, at));
}

/// Calls `note` with each board and the time of day in seconds.
fn for_each_board(note: impl Fn(&Board, f64)) {
    let mut boards = BOARDS.lock();
    boards.retain(|board| board.strong_count() > 0);
    let at = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64());
    boards.iter().filter_map(Weak::upgrade).for_each(|board| note(&board, at));
}

/// In the child of a fork: the pages are the parent's, and none is served here.
pub(crate) fn forget_parent() {
    if let Some(mut boards) = BOARDS.try_lock() {
        boards.clear();
    }
    OPEN.store(0, Ordering::SeqCst);
    mountain_dashboard::forget_parent();
    watchers::set(watchers::LIVE, false);
}
