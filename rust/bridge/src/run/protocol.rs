//! The run as Python sees it: a coroutine, with what a debugger and a dump of tasks ask of one.

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::{PyTraverseError, PyVisit, intern};

use crate::globals::clock;
use crate::python::type_slots::thrown;
use crate::run::pulls::Closing;
use crate::run::run::Run;
use crate::run::suspended::Resume;

#[pymethods]
impl Run {
    fn __await__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }
    fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }
    fn __next__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        Self::advance(slf, Resume::Send).into_next()
    }

    #[pyo3(signature = (value, /))]
    fn send<'py>(slf: &Bound<'py, Self>, value: Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let _ = value;
        Self::advance(slf, Resume::Send).into_next()
    }

    #[pyo3(signature = (typ, val = None, tb = None, /))]
    fn throw<'py>(
        slf: &Bound<'py, Self>,
        typ: Bound<'py, PyAny>,
        val: Option<Bound<'py, PyAny>>,
        tb: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let _ = tb;
        let e = thrown(typ, val);
        Self::advance(slf, Resume::Throw(Box::new(e))).into_next()
    }

    /// Close the coroutine, so that its `finally` runs, then let go of what the engine holds.
    pub(crate) fn close(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let Ok(mut me) = slf.try_borrow_mut() else { return Err(PyRuntimeError::new_err("this effect is running")) };
        let (leaf, engine, park) = (me.leaf.take(), me.engine.take(), me.park.take());
        if park.is_some() {
            Self::unpark(&me, slf);
        }
        if let Some(wake) = me.wake.take() {
            wake.gone();
        }
        let (record, began) = (std::mem::take(&mut me.record), me.began);
        me.started = true;
        drop(me);
        let mut result = Ok(());
        if let Some(leaf) = &leaf {
            if let Some(coroutine) = leaf.take_coroutine(py) {
                let close = coroutine.bind(py).getattr_opt(intern!(py, "close"));
                result = close.and_then(|close| close.map_or(Ok(()), |close| close.call0().map(drop)));
            }
            // One that has not begun, or that its closed loop let go of, has no end here.
            if engine.is_some() {
                let watched = leaf.watch.get().map(|watch| (&**watch, clock().now()));
                record.cancelled(py, leaf.plan.get(), began.map_or(0, |began| clock().took(began)), watched);
            }
        }
        drop(engine);
        result
    }

    #[getter]
    fn __name__(&self) -> String {
        self.leaf.as_ref().map_or_else(|| "effect".into(), |l| l.plan.get().name.clone())
    }
    #[getter]
    fn __qualname__(&self) -> String {
        self.__name__()
    }
    /// The awaitable that the run waits for: its leaf's coroutine, or the handle that it is parked on.
    #[getter]
    fn cr_await(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        let leaf = self.leaf.as_ref().and_then(|l| l.coroutine(py));
        leaf.or_else(|| self.park.as_ref().map(|p| p.clone_ref(py).into_any()))
    }
    /// For a dump: its name, seconds since it began, what it does, at which policy, and in which attempt. None while it
    /// is in its step.
    #[getter]
    fn _under_way(slf: &Bound<'_, Self>) -> Option<(String, f64, &'static str, Option<String>, u32)> {
        // Borrowed for a moment only: what names the policies is Python code, and the run may be woken meanwhile.
        let (began, leaf) = slf.try_borrow().map(|me| (me.began, me.leaf.clone())).ok()?;
        let (plan, age) = (leaf.as_ref()?.plan.get(), began.map_or(0.0, |began| clock().took(began) as f64 * 1e-9));
        let trace = &leaf.as_ref()?.trace;
        let (doing, policy) = plan.told_of(slf.py(), trace.now.doing());
        Some((plan.name.clone(), age, doing, policy, trace.attempts()))
    }
    #[getter]
    fn cr_frame(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        let coroutine = self.leaf.as_ref()?.coroutine(py)?;
        coroutine.getattr(py, intern!(py, "cr_frame")).ok()
    }
    #[getter]
    fn cr_code(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        let coroutine = self.leaf.as_ref()?.coroutine(py)?;
        coroutine.getattr(py, intern!(py, "cr_code")).ok()
    }
    #[getter]
    fn cr_running(slf: &Bound<'_, Self>) -> bool {
        slf.try_borrow().is_err()
    }

    /// In the ender's task: the close of a stream whose time is up between two pulls. To be awaited.
    fn _close_stream(slf: Bound<'_, Self>) -> PyResult<Bound<'_, Self>> {
        let leaf = slf.try_borrow()?.leaf.clone();
        if let Some(leaf) = leaf {
            leaf.close(slf.py(), Closing::Stopped);
        }
        Ok(slf)
    }

    fn __repr__(&self) -> String {
        format!("<running effect {}>", self.__name__())
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.park)?;
        visit.call(&self.port)?;
        if let Some(leaving) = &self.cancelled {
            visit.call(&leaving.cancel)?;
            leaving.shield.as_ref().map_or(Ok(()), |shield| shield.traverse(&visit))?;
        }
        // The leaf is shared with the engine, which is ours: its references are counted once. That of a stream is
        // visited by its items.
        if let Some(leaf) = self.leaf.as_ref().filter(|leaf| leaf.opened.is_none()) {
            leaf.traverse(&visit)?;
        }
        Ok(())
    }

    fn __clear__(&mut self) {
        if self.record.is_running() {
            self.let_go();
        }
        let leaf = self.leaf.take();
        drop((self.engine.take(), self.park.take(), self.port.take(), self.cancelled.take()));
        if let Some(leaf) = leaf {
            leaf.clear();
        }
    }
}
