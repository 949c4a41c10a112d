//! The asyncio Future protocol of a handle: the methods that asyncio and `await` call.

use mountain_core::observe::Doing;
use pyo3::exceptions::PyRuntimeError;
use pyo3::exceptions::asyncio::InvalidStateError;
use pyo3::prelude::*;
use pyo3::types::PyType;
use pyo3::{PyTraverseError, PyVisit, ffi};

use crate::context::level::Shield;
use crate::globals::clock;
use crate::handle::Handle;
use crate::handle::backing::{Backing, Callback, Now, Phase};
use crate::handle::gathered;
use crate::python::callback::gathers;
use crate::python::type_slots;
use crate::python::type_slots::Steps;

impl Steps for Handle {
    /// One step of an await: yields the handle while it is pending, and returns its result after.
    fn step<'py>(slf: &Bound<'py, Self>) -> type_slots::Step<'py> {
        let py = slf.py();
        let mut s = slf.get().state.lock();
        if !s.pending() {
            let shielded = s.has_shields();
            let Some(result) = slf.get().outcome_of(py, s) else { unreachable!("it has ended") };
            let left = if shielded { slf.get().leave_shield(py) } else { Ok(()) };
            return match left.and(result) {
                Ok(v) => type_slots::Step::Return(v.into_bound(py)),
                Err(e) => type_slots::Step::Error(e),
            };
        }
        if s.rare.as_ref().is_some_and(|rare| rare.needs_shield) {
            drop(s);
            let shield = match Shield::enter(py) {
                Ok(shield) => shield,
                Err(e) => return type_slots::Step::Error(e),
            };
            s = slf.get().state.lock();
            s.rare.get_or_insert_default().shields.extend(shield);
        }
        if s.blocking {
            drop(s);
            return type_slots::Step::Error(PyRuntimeError::new_err("await wasn't used with a handle"));
        }
        s.blocking = true;
        let is_work = s.work().is_some();
        drop(s);
        if is_work && let Err(e) = slf.get().awaited_here(py) {
            slf.get().state.lock().blocking = false;
            return type_slots::Step::Error(e);
        }
        type_slots::Step::Yield(slf.clone().into_any())
    }
}

#[pymethods]
impl Handle {
    #[getter(_asyncio_future_blocking)]
    fn blocking(&self) -> bool {
        self.state.lock().blocking
    }
    #[setter(_asyncio_future_blocking)]
    fn set_blocking(&self, v: bool) {
        self.state.lock().blocking = v;
    }

    #[classmethod]
    fn __class_getitem__<'py>(cls: &Bound<'py, PyType>, item: Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        type_slots::alias(cls, &item)
    }

    /// The pending task that this handle stands for; None for anything else.
    #[getter]
    fn _task(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        match self.state.lock().backing() {
            Some(Backing::Task(task)) => Some(task.clone_ref(py)),
            _ => None,
        }
    }

    /// For a dump, of a pending native call or job: the effect, seconds since its start, what it does, at which policy.
    #[getter]
    fn _under_way(&self, py: Python<'_>) -> Option<(String, f64, &'static str, Option<String>)> {
        let plan = self.plan.as_ref()?.get();
        let doing = match self.state.lock().backing()? {
            Backing::Native(abort) => abort.doing(),
            Backing::Job(_) | Backing::Item(_) | Backing::Elsewhere(_) => Doing::Running,
            Backing::Parked | Backing::Task(_) => return None,
        };
        let (doing, policy) = plan.told_of(py, doing);
        Some((plan.name.clone(), clock().now().since(self.created).as_secs_f64(), doing, policy))
    }

    /// Notes that the current code waits for this call, other than by an await. Raises where that would be a deadlock.
    #[pyo3(name = "_awaited_here")]
    fn is_awaited_here(&self, py: Python<'_>) -> PyResult<()> {
        self.awaited_here(py)
    }

    fn __await__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }
    fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }
    fn __next__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        Self::step(slf).into_next()
    }

    /// Ends the await of the handle by an exception. Work that no runtime owns is asked to end.
    #[pyo3(signature = (typ, val = None, tb = None, /))]
    fn throw<'py>(
        slf: &Bound<'py, Self>,
        typ: Bound<'py, PyAny>,
        val: Option<Bound<'py, PyAny>>,
        tb: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let _ = tb;
        slf.get().leave_shield(slf.py())?;
        Self::left(slf)?;
        slf.get().left_here(slf.py())?;
        Err(type_slots::thrown(typ, val))
    }

    /// The coroutine that awaits the handle is closed, as one is that the collector finds. Work that no runtime owns is
    /// asked to end.
    fn close(slf: &Bound<'_, Self>) -> PyResult<()> {
        Self::left(slf)?;
        slf.get().left_here(slf.py())
    }

    /// Ask the work to end. True if it was pending. A native call and a task answer when they have ended; a thread's
    /// job is let go at once, and its call runs on.
    #[pyo3(signature = (msg = None))]
    fn cancel(slf: &Bound<'_, Self>, msg: Option<Py<PyAny>>) -> PyResult<bool> {
        Self::ask_to_end(slf, msg)
    }

    fn cancelled(&self) -> bool {
        matches!(self.state.lock().now, Now::Ended(Phase::Cancelled))
    }

    fn done(&self) -> bool {
        !self.pending()
    }

    fn result(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.outcome(py).unwrap_or_else(|| Err(InvalidStateError::new_err("Result is not set.")))
    }

    fn exception(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        let mut s = self.state.lock();
        match &s.now {
            Now::Pending(..) => Err(InvalidStateError::new_err("Exception is not set.")),
            Now::Ended(Phase::Value(_) | Phase::Untaken(_)) => Ok(None),
            Now::Ended(Phase::Error(e) | Phase::Shared(e, _)) => {
                let e = e.clone_ref(py);
                s.retrieved = true;
                Ok(Some(e))
            }
            Now::Ended(Phase::Cancelled) => {
                drop(s);
                Err(self.cancelled_error(py))
            }
        }
    }

    /// Read by `asyncio.gather(..., return_exceptions=True)`.
    #[getter]
    fn _cancel_message(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.state.lock().message().map(|m| m.clone_ref(py))
    }

    fn _make_cancelled_error(&self, py: Python<'_>) -> Py<PyAny> {
        self.cancelled_error(py).into_value(py).into_any()
    }

    fn get_loop<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.event_loop.get(py)
    }

    #[pyo3(signature = (r#fn, /, *, context = None))]
    fn add_done_callback(slf: &Bound<'_, Self>, r#fn: Bound<'_, PyAny>, context: Option<Bound<'_, PyAny>>) -> PyResult<()> {
        let py = slf.py();
        let context = match context {
            Some(c) if !c.is_none() => Some(c),
            _ if gathers(&r#fn) => None,
            // SAFETY: makes a new reference to a copy of the current context.
            _ => Some(unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyContext_CopyCurrent())? }),
        };
        let mut s = slf.get().state.lock();
        if !s.pending() {
            drop(s);
            return slf.get().event_loop.call_soon(&r#fn, slf, context.as_ref());
        }
        type_slots::track_later(slf);
        let gathered = s.work().cloned().filter(|_| gathers(&r#fn)).map(|work| (work, r#fn.clone()));
        s.add_callback((r#fn.unbind(), context.map(Bound::unbind)));
        drop(s);
        gathered.map_or(Ok(()), |(work, callback)| gathered::look_later(&slf.get().event_loop, work, slf.get().name(), &callback))
    }

    #[pyo3(signature = (r#fn, /))]
    fn remove_done_callback(&self, py: Python<'_>, r#fn: Bound<'_, PyAny>) -> PyResult<usize> {
        // Comparing may run user code: it runs on a copy, outside of the lock.
        let copy = |(f, c): &Callback| (f.clone_ref(py), c.as_ref().map(|c| c.clone_ref(py)));
        let copies: Vec<Callback> = self.state.lock().callbacks().map(copy).collect();
        let mut keep = Vec::with_capacity(copies.len());
        let mut removed = 0;
        for callback in copies {
            if callback.0.bind(py).eq(&r#fn)? {
                removed += 1;
            } else {
                keep.push(callback);
            }
        }
        if removed > 0 {
            let old = {
                let mut s = self.state.lock();
                let old = s.take_callbacks();
                for callback in keep {
                    s.add_callback(callback);
                }
                old
            };
            drop(old);
        }
        Ok(removed)
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        self.text(py)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.traverse(&visit)
    }

    fn __clear__(&self) {
        self.clear();
    }
}
