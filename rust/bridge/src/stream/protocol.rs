//! The items of a stream as Python sees them: an async iterator, and the awaitable of its next item.

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::{PyTraverseError, PyVisit};

use crate::python::type_slots::{Asked, Steps, thrown};
use crate::run::Run;
use crate::run::pulls::Phase;
use crate::run::suspended::Resume;
use crate::stream::items::Items;
use crate::stream::leaving::Leaving;

#[pymethods]
impl Items {
    fn __aiter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }
    fn __anext__(slf: Bound<'_, Self>) -> PyResult<Bound<'_, PyAny>> {
        Ok(Self::ask(&slf)?.unwrap_or_else(|| slf.into_any()))
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

    #[pyo3(signature = (value, /))]
    fn send<'py>(slf: &Bound<'py, Self>, value: Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let _ = value;
        Self::step(slf).into_next()
    }

    #[pyo3(signature = (typ, val = None, tb = None, /))]
    fn throw<'py>(
        slf: &Bound<'py, Self>,
        typ: Bound<'py, PyAny>,
        val: Option<Bound<'py, PyAny>>,
        tb: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let _ = tb;
        let (py, me) = (slf.py(), slf.get());
        let e = thrown(typ, val);
        let detour = me.rare.lock(py).detour.as_ref().map(|detour| detour.bind(py).clone());
        if let Some(detour) = detour {
            let thrown = detour.call_method1(intern!(py, "throw"), (e.into_value(py),));
            if thrown.is_err() {
                let gone = me.rare.lock(py).detour.take();
                drop(gone);
            }
            return thrown;
        }
        if me.leaf.phase(py) != Phase::Pulling || me.waits_elsewhere(py) {
            // A task that was cancelled before its first step: the pull under way is another task's.
            me.begins();
            return Err(e);
        }
        me.leaf.waits_in(py, 0);
        me.pulled(py, Run::advance(me.run.bind(py), Resume::Throw(Box::new(e)))).into_next()
    }

    /// Closes the pull that is suspended, and the stream with it, if there is one.
    fn close(slf: &Bound<'_, Self>) -> PyResult<()> {
        let (py, me) = (slf.py(), slf.get());
        let detour = me.rare.lock(py).detour.take();
        if let Some(detour) = detour {
            return detour.bind(py).call_method0(intern!(py, "close")).map(drop);
        }
        if me.leaf.phase(py) != Phase::Pulling {
            return Ok(());
        }
        let closed = Run::close(me.run.bind(py));
        me.comes_to(py, Phase::Ended);
        closed
    }

    /// Ends the stream, and waits for its cleanup. Does nothing once it has ended.
    fn aclose<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, Leaving>> {
        Leaving::of(slf.clone(), false, false)
    }

    /// For a closer in another task.
    #[pyo3(signature = (waiter, /))]
    fn _tells(&self, py: Python<'_>, waiter: Py<PyAny>) {
        self.leaf.tells(py, waiter);
    }

    #[getter]
    fn __name__(&self) -> String {
        self.leaf.plan.get().name.clone()
    }
    #[getter]
    fn __qualname__(&self) -> String {
        self.__name__()
    }
    /// The awaitable that a pull waits for.
    #[getter]
    fn cr_await(&self, py: Python<'_>) -> Py<PyAny> {
        let detour = self.rare.lock(py).detour.as_ref().map(|detour| detour.clone_ref(py));
        detour.unwrap_or_else(|| self.run.clone_ref(py).into_any())
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        let what = match self.leaf.phase(py) {
            Phase::New => "opened",
            Phase::Pulling => "being pulled",
            Phase::Between => "open",
            Phase::Closing => "closing",
            Phase::Lost | Phase::Ended => "ended",
        };
        format!("<items of stream {}, {what}>", self.leaf.plan.get().name)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.run)?;
        // SAFETY: the collector runs on attached threads only.
        let py = unsafe { Python::assume_attached() };
        if let Some(rare) = self.rare.try_lock(py) {
            visit.call(&rare.detour)?;
        }
        self.leaf.traverse(&visit)
    }

    fn __clear__(&self, py: Python<'_>) {
        let gone = self.rare.lock(py).detour.take();
        drop(gone);
        self.leaf.clear();
    }
}
