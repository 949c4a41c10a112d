//! The calls of one item that become one call of a list: each is a handle, and all are answered in one pass.
//!
//!  1. The first call of a loop opens the calls, for which Python's side makes a timer; later ones join.
//!  2. With `size` items, or by the timer, they begin: Python's side takes the items and runs a task.
//!  3. The task's outcome is noted, and given to the handles when the task has ended.
//!  4. A handle that is cancelled leaves. The last one closes what has not begun, or cancels the task and ends with it.
//!
//! The callers and the timer, then the task, hold the calls; the collector knows the open ones weakly, so that a loop
//! that is dropped is collected.

use std::sync::Arc;

use mountain_core::effect::{Flight, PermitContext, Submitted};
use mountain_core::observe::Tally;
use mountain_core::sync::Mutex;
use mountain_core::time::Instant;
use pyo3::exceptions::asyncio::CancelledError;
use pyo3::exceptions::{PyBaseException, PyRuntimeError, PyStopAsyncIteration, PyStopIteration};
use pyo3::prelude::*;
use pyo3::types::PyList;
use pyo3::{PyTraverseError, PyVisit, intern};

use crate::context::inherited_deadline::InheritedDeadline;
use crate::context::permit_context::PyPermitContext;
use crate::globals::clock;
use crate::handle::Handle;
use crate::handle::backing::Phase;
use crate::port::Port;

#[pyclass(frozen, weakref, module = "mountain_runtime._native")]
pub(crate) struct Calls {
    pub(super) port: Py<Port>,
    pub(super) receiver: Option<Py<PyAny>>,
    /// Where the batch is counted, and when its first item came; `None` while counting is off.
    pub(super) counted: Option<(Arc<Tally>, Instant)>,
    pub(super) state: Mutex<State>,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) places: Vec<Option<Place>>,
    /// The callers that wait for their results.
    pub(super) waiting: usize,
    /// Until they begin or close.
    pub(super) opened: Option<Ways>,
    /// The call of the list, as a part of whatever its callers hold: made for the first that holds anything.
    pub(super) work: Option<Arc<Submitted>>,
    task: Option<Py<PyAny>>,
    outcome: Option<Outcome>,
}

/// The functions of Python's side.
pub(super) struct Ways {
    pub(super) begin: Py<PyAny>,
    pub(super) close: Py<PyAny>,
    pub(super) joined: Option<Py<PyAny>>,
}

pub(super) struct Place {
    pub(super) handle: Py<Handle>,
    /// Until they begin.
    pub(super) item: Option<Py<PyAny>>,
    pub(super) limit: Option<Py<InheritedDeadline>>,
    pub(super) awaits: Option<Box<Waiting>>,
}

/// The permits and the flight of a caller.
pub(super) type Waiting = (Option<Arc<PermitContext>>, Option<Arc<Flight>>);

pub(super) enum Outcome {
    Values(Py<PyList>),
    Failed(Py<PyBaseException>),
}

/// How a caller leaves.
pub(super) enum Leaves {
    Now,
    /// With the task that was the last one's alone.
    With(Py<PyAny>),
}

#[pymethods]
impl Calls {
    /// Takes no more items. Gives those of the callers that wait, the latest of their deadlines if all have one, and
    /// the permits and flights that wait for the call of the list. None: no caller waits.
    #[expect(clippy::type_complexity, reason = "a tuple for Python's side")]
    fn begin<'py>(
        &self,
        py: Python<'py>,
    ) -> PyResult<Option<(Bound<'py, PyList>, Option<Py<InheritedDeadline>>, Option<Bound<'py, PyPermitContext>>)>> {
        let (items, latest, work, closed) = {
            let mut s = self.state.lock();
            let closed = s.opened.take();
            let moved = s.waiting < s.places.len();
            if moved {
                s.places.retain(Option::is_some);
            }
            let mut items = Vec::with_capacity(s.waiting);
            let mut latest: Option<Py<InheritedDeadline>> = None;
            let mut limited = true;
            for (at, place) in s.places.iter_mut().flatten().enumerate() {
                if moved {
                    place.handle.get().state.lock().place = at as u32;
                }
                items.extend(place.item.take());
                match place.limit.take() {
                    Some(limit) if latest.as_ref().is_none_or(|latest| limit.get().is_later(latest.get())) => {
                        latest = Some(limit);
                    }
                    Some(_) => {}
                    None => limited = false,
                }
            }
            (items, latest.filter(|_| limited), s.work.clone(), closed)
        };
        drop(closed);
        if items.is_empty() {
            return Ok(None);
        }
        if let Some((tally, since)) = &self.counted {
            tally.batch(items.len() as u64, clock().now().since(*since).as_nanos() as u64);
        }
        let permit_context = work.map(|work| PyPermitContext::of_work(py, PermitContext::of_work(work))).transpose()?;
        Ok(Some((PyList::new(py, items)?, latest, permit_context)))
    }

    /// The receiver of a method's call.
    #[getter]
    fn receiver(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.receiver.as_ref().map(|receiver| receiver.clone_ref(py))
    }

    /// How many callers wait.
    #[getter]
    fn waiting(&self) -> usize {
        self.state.lock().waiting
    }

    /// Notes the task that calls the function.
    #[pyo3(signature = (task, /))]
    fn runs(slf: &Bound<'_, Self>, task: Bound<'_, PyAny>) -> PyResult<()> {
        let py = slf.py();
        task.call_method1(intern!(py, "add_done_callback"), (slf.getattr(intern!(py, "land"))?,))?;
        let replaced = slf.get().state.lock().task.replace(task.unbind());
        drop(replaced);
        Ok(())
    }

    /// Notes the results, as many as there are items.
    #[pyo3(signature = (values, /))]
    fn answer(&self, values: Py<PyList>) {
        self.note(Outcome::Values(values));
    }

    #[pyo3(signature = (error, /))]
    fn fail(&self, error: Py<PyBaseException>) {
        self.note(Outcome::Failed(error));
    }

    /// The task has ended: gives each handle its own. Without an outcome, as of a task that was cancelled before its
    /// first step, all are cancelled.
    #[pyo3(signature = (_task = None, /))]
    fn land(slf: &Bound<'_, Self>, _task: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        let (py, me) = (slf.py(), slf.get());
        let (places, outcome, work, task) = {
            let mut s = me.state.lock();
            s.waiting = 0;
            (std::mem::take(&mut s.places), s.outcome.take(), s.work.take(), s.task.take())
        };
        drop(task);
        if let Some(work) = work {
            work.over();
        }
        // As in a drain: in debug mode tasks are woken by `call_soon`.
        let event_loop = me.port.get().event_loop.get(py)?;
        let direct = !event_loop.call_method0(intern!(py, "get_debug"))?.is_truthy()?;
        let now = clock().now();
        let mut result = Ok(());
        let mut give = |place: Place, phase: Phase| {
            let given = Handle::ends(place.handle.bind(py), phase, direct, now);
            result = std::mem::replace(&mut result, Ok(())).and(given);
        };
        match outcome {
            Some(Outcome::Values(values)) => {
                for (place, value) in places.into_iter().zip(values.bind(py)) {
                    let Some(place) = place else { continue };
                    let phase = match value.cast::<PyBaseException>() {
                        Ok(error) => failed(error),
                        Err(_) => Phase::Value(value.unbind()),
                    };
                    give(place, phase);
                }
            }
            Some(Outcome::Failed(error)) => {
                let error = error.bind(py);
                for place in places.into_iter().flatten() {
                    give(place, failed(error));
                }
            }
            None => places.into_iter().flatten().for_each(|place| give(place, Phase::Cancelled)),
        }
        result
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.port)?;
        visit.call(&self.receiver)?;
        let Some(s) = self.state.try_lock() else { return Ok(()) };
        for place in s.places.iter().flatten() {
            visit.call(&place.handle)?;
            visit.call(&place.item)?;
            visit.call(&place.limit)?;
        }
        if let Some(ways) = &s.opened {
            visit.call(&ways.begin)?;
            visit.call(&ways.close)?;
            visit.call(&ways.joined)?;
        }
        visit.call(&s.task)?;
        match &s.outcome {
            Some(Outcome::Values(values)) => visit.call(values),
            Some(Outcome::Failed(error)) => visit.call(error),
            None => Ok(()),
        }
    }

    fn __clear__(&self) {
        let gone = std::mem::take(&mut *self.state.lock());
        drop(gone);
    }
}

impl Calls {
    fn note(&self, outcome: Outcome) {
        let replaced = self.state.lock().outcome.replace(outcome);
        drop(replaced);
    }

    /// The caller at `place` leaves, once. The last one stays for the end of the task, which the handle's owner
    /// cancels.
    pub(super) fn leave(&self, py: Python<'_>, place: u32) -> PyResult<Leaves> {
        let (gone, ways, work) = {
            let mut s = self.state.lock();
            if s.places.get(place as usize).is_none_or(Option::is_none) {
                return Ok(Leaves::Now);
            }
            s.waiting -= 1;
            let last = s.waiting == 0;
            if last && let Some(task) = &s.task {
                return Ok(Leaves::With(task.clone_ref(py)));
            }
            let gone = s.places[place as usize].take();
            (gone, if last { s.opened.take() } else { None }, s.work.clone())
        };
        if let (Some(work), Some(awaits)) = (work, gone.as_ref().and_then(|gone| gone.awaits.as_ref())) {
            work.left_by(awaits.0.as_ref(), awaits.1.as_ref());
        }
        drop(gone);
        if let Some(ways) = ways {
            ways.close.call0(py)?;
        }
        Ok(Leaves::Now)
    }
}

/// The end of a call by `error`. In the coroutine that waits for it, a StopIteration would mean something else (PEP
/// 479).
fn failed(error: &Bound<'_, PyBaseException>) -> Phase {
    let py = error.py();
    if error.is_instance_of::<CancelledError>() {
        return Phase::Cancelled;
    }
    let error = if error.is_instance_of::<PyStopIteration>() || error.is_instance_of::<PyStopAsyncIteration>() {
        let class = error.get_type().name().map_or_else(|_| "?".into(), |name| name.to_string());
        let wrong = PyRuntimeError::new_err(format!("a batch gave {class} as the failure of an item"));
        wrong.set_cause(py, Some(PyErr::from_value(error.clone().into_any())));
        wrong.into_value(py).into_bound(py)
    } else {
        error.clone()
    };
    let traceback = error.getattr(intern!(py, "__traceback__")).ok().filter(|traceback| !traceback.is_none());
    Phase::Shared(error.into_any().unbind(), traceback.map(Bound::unbind))
}
