//! The end of a stream before its own: closing its generator, by the task that leaves the block or closes the items.
//!
//!  1. The generator is closed in this task, inside the policies: its cleanup is awaited, then the permits are given
//!     back.
//!  2. While another task pulls or closes, this one waits for the end of that first.

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::{PyTraverseError, PyVisit, intern};

use crate::python::api::api;
use crate::python::attached::Attached;
use crate::python::free_list::{Idle, Reused};
use crate::python::type_slots::{self, Step, Steps, thrown};
use crate::run::Run;
use crate::run::pulls::{Closing, Phase};
use crate::run::suspended::Resume;
use crate::stream::items::{Items, step};

#[derive(Default)]
enum State {
    #[default]
    New,
    /// It drives the close.
    Drives,
    /// It waits for what another task does; true: for the ender.
    Waits(Py<PyAny>, bool),
    Done,
}

#[pyclass(frozen, freelist = 1024, module = "mountain_runtime._native")]
pub(crate) struct Leaving {
    items: Py<Items>,
    /// No wait is allowed: the consumer's coroutine is being thrown away.
    at_once: bool,
    /// The block is left by a cancel, or another exception that no policy may touch: a limit that passes during the
    /// close does not stand in for it.
    passes: bool,
    state: Attached<State>,
    /// A cancel that came while it waited: it is raised after the close.
    cancel: Attached<Option<Py<PyAny>>>,
}

impl Reused for Leaving {
    const MOST: usize = 1024;

    fn idle() -> &'static Idle {
        static IDLE: Idle = Idle::new();
        &IDLE
    }
}

impl Leaving {
    pub(super) fn of(items: Bound<'_, Items>, at_once: bool, passes: bool) -> PyResult<Bound<'_, Self>> {
        let (py, items) = (items.py(), items.unbind());
        type_slots::tracked(py, Leaving { items, at_once, passes, state: Attached::default(), cancel: Attached::default() })
    }

    /// That error of the close is raised in place of what the block is left by.
    fn stands(&self, py: Python<'_>, e: &PyErr) -> PyResult<bool> {
        if !self.passes || !e.is_instance(py, api(py).timed_out.bind(py)) {
            return Ok(true);
        }
        let name = &self.items.get().leaf.plan.get().name;
        Ok(!e.value(py).getattr(intern!(py, "effect"))?.eq(name)?)
    }

    fn set(&self, py: Python<'_>, state: State) {
        let was = std::mem::replace(&mut *self.state.lock(py), state);
        drop(was);
    }

    /// The closing's step, by that of the run.
    fn closed<'py>(&self, py: Python<'py>, step: Step<'py>) -> Step<'py> {
        let items = self.items.get();
        match step {
            Step::Yield(_) if self.at_once => {
                let closed = Run::close(items.run.bind(py));
                self.set(py, State::Done);
                items.comes_to(py, Phase::Ended);
                closed.map_or_else(Step::Error, |()| Step::Return(py.None().into_bound(py)))
            }
            Step::Yield(yielded) => items.waits(py, yielded),
            step => {
                self.set(py, State::Done);
                items.comes_to(py, Phase::Ended);
                match step {
                    Step::Error(e) if self.stands(py, &e).unwrap_or(true) => Step::Error(e),
                    _ => self.done(py),
                }
            }
        }
    }

    fn done<'py>(&self, py: Python<'py>) -> Step<'py> {
        let cancel = self.cancel.lock(py).take();
        match cancel {
            Some(cancel) => Step::Error(PyErr::from_value(cancel.into_bound(py))),
            None => Step::Return(py.None().into_bound(py)),
        }
    }

    /// Begins, or goes on after a wait. `None`: it has something to wait for, and is to be stepped.
    fn begin<'py>(&self, py: Python<'py>) -> PyResult<Option<Step<'py>>> {
        let items = self.items.get();
        match items.leaf.phase(py) {
            Phase::New | Phase::Lost | Phase::Ended => {
                self.set(py, State::Done);
                items.comes_to(py, Phase::Ended);
                Ok(Some(self.done(py)))
            }
            Phase::Between => {
                items.leaf.close(py, Closing::Left);
                items.leaf.waits_in(py, 0);
                self.set(py, State::Drives);
                Ok(Some(self.closed(py, Run::advance(items.run.bind(py), Resume::Send))))
            }
            Phase::Pulling | Phase::Closing => {
                if self.at_once {
                    self.set(py, State::Done);
                    return Ok(Some(self.done(py)));
                }
                let ender = items.leaf.ender(py);
                if items.steps_here(py, ender.as_ref())? {
                    // It would wait for itself.
                    return Err(items.within());
                }
                let for_ender = ender.is_some();
                let waits = match ender {
                    Some(ender) => api(py).stream_ended.bind(py).call1((ender,))?,
                    None => api(py).stream_rests.bind(py).call1((&self.items, items.leaf.task(py)))?,
                };
                self.set(py, State::Waits(waits.unbind(), for_ender));
                Ok(None)
            }
        }
    }

    /// One step of the wait. `None`: it is over.
    fn wait<'py>(&self, coroutine: &Bound<'py, PyAny>, for_ender: bool) -> Option<Step<'py>> {
        let py = coroutine.py();
        match step(coroutine) {
            Ok(Err(yielded)) => Some(Step::Yield(yielded)),
            Ok(Ok(error)) => {
                self.set(py, State::New);
                let items = self.items.get();
                if for_ender {
                    items.comes_to(py, Phase::Ended);
                    // That the time ran out is no news to a consumer that leaves; an error of the cleanup is.
                    let news = !error.is_none() && !error.is_instance(api(py).timed_out.bind(py)).unwrap_or(false);
                    if news {
                        self.set(py, State::Done);
                        return Some(Step::Error(PyErr::from_value(error)));
                    }
                } else if !error.is_none() {
                    *self.cancel.lock(py) = Some(error.unbind());
                }
                None
            }
            Err(e) => {
                self.set(py, State::Done);
                Some(Step::Error(e))
            }
        }
    }
}

/// A look at the state, without its lock.
enum Now<'py> {
    Begins,
    Drives,
    Waits(Bound<'py, PyAny>, bool),
    Done,
}

impl Steps for Leaving {
    fn step<'py>(slf: &Bound<'py, Self>) -> Step<'py> {
        let (py, me) = (slf.py(), slf.get());
        loop {
            let now = match &*me.state.lock(py) {
                State::New => Now::Begins,
                State::Drives => Now::Drives,
                State::Waits(coroutine, for_ender) => Now::Waits(coroutine.bind(py).clone(), *for_ender),
                State::Done => Now::Done,
            };
            let step = match now {
                Now::Begins => me.begin(py).unwrap_or_else(|e| Some(Step::Error(e))),
                Now::Drives => Some(me.closed_on(py, Resume::Send)),
                Now::Waits(coroutine, for_ender) => me.wait(&coroutine, for_ender),
                Now::Done => Some(Step::Error(PyRuntimeError::new_err("cannot reuse an already awaited close of a stream"))),
            };
            if let Some(step) = step {
                return step;
            }
        }
    }
}

impl Leaving {
    fn closed_on<'py>(&self, py: Python<'py>, resume: Resume) -> Step<'py> {
        let step = Run::advance(self.items.get().run.bind(py), resume);
        self.closed(py, step)
    }
}

#[pymethods]
impl Leaving {
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
        let waits = match &*me.state.lock(py) {
            State::Drives => None,
            State::Waits(coroutine, _) => Some(coroutine.bind(py).clone()),
            State::New | State::Done => return Err(e),
        };
        match waits {
            None => me.closed_on(py, Resume::Throw(Box::new(e))).into_next(),
            Some(coroutine) => {
                coroutine.call_method1(intern!(py, "throw"), (e.into_value(py),)).inspect_err(|_| me.set(py, State::Done))
            }
        }
    }

    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let was = std::mem::replace(&mut *self.state.lock(py), State::Done);
        match was {
            State::New | State::Done => Ok(()),
            State::Waits(coroutine, _) => coroutine.bind(py).call_method0(intern!(py, "close")).map(drop),
            State::Drives => {
                let items = self.items.get();
                let closed = Run::close(items.run.bind(py));
                items.comes_to(py, Phase::Ended);
                closed
            }
        }
    }

    #[getter]
    fn cr_await(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        match &*self.state.lock(py) {
            State::Waits(coroutine, _) => Some(coroutine.clone_ref(py)),
            State::Drives => Some(self.items.get().run.clone_ref(py).into_any()),
            State::New | State::Done => None,
        }
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.items)?;
        // SAFETY: the collector runs on attached threads only.
        let py = unsafe { Python::assume_attached() };
        match self.state.try_lock(py).as_deref() {
            Some(State::Waits(coroutine, _)) => visit.call(coroutine),
            _ => Ok(()),
        }
    }

    fn __clear__(&self, py: Python<'_>) {
        self.set(py, State::Done);
    }
}
