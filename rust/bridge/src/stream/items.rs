//! The items of one run of a stream: an async iterator, which is itself what an await of its next item drives.
//!
//! An item that comes at once is returned by the pull's first step, without a look at the engine. Rarely there is a
//! coroutine that is driven in place of the pull: it waits for the ender, or for another task's pull.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use pyo3::exceptions::{PyRuntimeError, PyStopAsyncIteration, PyTypeError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use crate::context::current::current_task;
use crate::globals::clock;
use crate::plan::Plan;
use crate::python::api::api;
use crate::python::attached::Attached;
use crate::python::free_list::{Idle, Reused};
use crate::python::type_slots::{self, Asked, Step, Steps};
use crate::run::Run;
use crate::run::leaf::PyLeaf;
use crate::run::pulls::{Phase, Pull};
use crate::run::suspended::Resume;

#[pyclass(frozen, freelist = 1024, weakref, module = "mountain_runtime._native")]
pub(crate) struct Items {
    pub(super) leaf: Arc<PyLeaf>,
    pub(super) run: Py<Run>,
    pub(super) rare: Attached<Rare>,
    /// Pulls that `__anext__` was asked for and that have not begun. A step that begins without one is that of a plain
    /// `for`, or of an `await` of the iterator itself. A mark that two threads lose only leaves such a step unnoticed.
    asked: AtomicUsize,
}

#[derive(Default)]
pub(super) struct Rare {
    /// Its next step is the end of `__aenter__`.
    entering: bool,
    /// The coroutine that is driven in place of the pull.
    pub(super) detour: Option<Py<PyAny>>,
}

impl Reused for Items {
    const MOST: usize = 1024;

    fn idle() -> &'static Idle {
        static IDLE: Idle = Idle::new();
        &IDLE
    }
}

/// The end of a stream, to its consumer.
fn end<'py>() -> Step<'py> {
    Step::Error(PyStopAsyncIteration::new_err(()))
}

/// One step of a coroutine: `Ok(Err(yielded))` is a suspension.
pub(super) fn step<'py>(coroutine: &Bound<'py, PyAny>) -> PyResult<Result<Bound<'py, PyAny>, Bound<'py, PyAny>>> {
    let (py, mut out) = (coroutine.py(), std::ptr::null_mut());
    // SAFETY: a live coroutine is sent None; `out` is an owned reference unless an error is set.
    unsafe {
        match ffi::PyIter_Send(coroutine.as_ptr(), ffi::Py_None(), &raw mut out) {
            ffi::PySendResult::PYGEN_NEXT => Ok(Err(Bound::from_owned_ptr(py, out))),
            ffi::PySendResult::PYGEN_RETURN => Ok(Ok(Bound::from_owned_ptr(py, out))),
            ffi::PySendResult::PYGEN_ERROR => Err(PyErr::fetch(py)),
        }
    }
}

impl Items {
    /// Opens a stream, in that task. `entering`: for `__aenter__`, which its first step ends.
    pub(super) fn of<'py>(
        work: (Py<PyAny>, Py<PyTuple>, Option<Py<PyDict>>, Py<Plan>),
        task: &Bound<'py, PyAny>,
        entering: bool,
    ) -> PyResult<Bound<'py, Self>> {
        let py = task.py();
        let (callable, args, kwargs, plan) = work;
        let leaf = Arc::new(PyLeaf::of_stream(callable, args, kwargs, plan, clock().about_now(), task));
        let run = type_slots::tracked(py, Run::shared(leaf.clone()))?.unbind();
        type_slots::tracked(
            py,
            Items { leaf, run, rare: Attached::new(Rare { entering, detour: None }), asked: AtomicUsize::new(0) },
        )
    }

    /// A pull that was asked for begins, or never will.
    pub(super) fn begins(&self) {
        self.asked.store(self.asked.load(Ordering::Relaxed).saturating_sub(1), Ordering::Relaxed);
    }

    /// Whether the pull under way waits in another task than the current one.
    pub(super) fn waits_elsewhere(&self, py: Python<'_>) -> bool {
        let task = self.leaf.task(py);
        task != 0 && current_task(py).is_ok_and(|now| !now.is_none() && now.as_ptr() as usize != task)
    }

    /// The error of a step that no `__anext__` came before. `None`: it goes on with a pull.
    #[cold]
    fn unasked(&self, py: Python<'_>) -> Option<PyErr> {
        if self.leaf.phase(py) == Phase::Pulling {
            return None;
        }
        let name = &self.leaf.plan.get().name;
        Some(PyTypeError::new_err(format!(
            "the items of stream '{name}' come one by one: write `async for item in items:`, or `await anext(items)` for \
             the next one"
        )))
    }

    /// A pull or a closing has ended: its waiters go on.
    pub(super) fn comes_to(&self, py: Python<'_>, phase: Phase) {
        for waiter in self.leaf.comes_to(py, phase) {
            if let Err(e) = api(py).tell_waiter.bind(py).call1((waiter,)) {
                e.write_unraisable(py, None);
            }
        }
    }

    /// The current task waits in this step's await.
    pub(super) fn waits<'py>(&self, py: Python<'py>, yielded: Bound<'py, PyAny>) -> Step<'py> {
        let task = current_task(py).map_or(0, |task| if task.is_none() { 0 } else { task.as_ptr() as usize });
        self.leaf.waits_in(py, task);
        Step::Yield(yielded)
    }

    /// The pull's step, by that of the run.
    pub(super) fn pulled<'py>(&self, py: Python<'py>, step: Step<'py>) -> Step<'py> {
        let run = self.run.bind(py);
        match step {
            Step::Yield(yielded) => self.waits(py, yielded),
            Step::Return(_) if Run::is_over(run) => {
                let exhausted = self.leaf.take_stop(py);
                self.comes_to(py, Phase::Ended);
                exhausted.map_or_else(end, Step::Error)
            }
            Step::Return(item) => {
                self.comes_to(py, Phase::Between);
                // The item came as the time passed: it is the consumer's, and the stream is over.
                if self.leaf.is_to_close(py)
                    && let Err(e) = Run::start_ender(run, &self.leaf)
                {
                    return Step::Error(e);
                }
                Step::Return(item)
            }
            Step::Error(e) => {
                if Run::is_over(run) {
                    self.comes_to(py, Phase::Ended);
                } else if self.leaf.phase(py) == Phase::Between {
                    self.comes_to(py, Phase::Between);
                }
                Step::Error(e)
            }
        }
    }

    /// Drives `coroutine` in place of the pull.
    fn detour<'py>(&self, coroutine: Bound<'py, PyAny>) -> Step<'py> {
        let py = coroutine.py();
        let stepped = step(&coroutine);
        let keep = matches!(&stepped, Ok(Err(_)));
        let replaced = {
            let mut rare = self.rare.lock(py);
            std::mem::replace(&mut rare.detour, keep.then(|| coroutine.unbind()))
        };
        drop(replaced);
        match stepped {
            Ok(Err(yielded)) => Step::Yield(yielded),
            // The ender has told what the stream ended by.
            Ok(Ok(error)) => {
                let told = self.leaf.phase(py) == Phase::Ended;
                self.comes_to(py, Phase::Ended);
                if error.is_none() || told { end() } else { Step::Error(PyErr::from_value(error)) }
            }
            Err(e) => Step::Error(e),
        }
    }

    /// A step of a pull that is not a first one, or cannot begin.
    #[cold]
    fn rare<'py>(slf: &Bound<'py, Self>, pull: Pull) -> Step<'py> {
        let (py, me) = (slf.py(), slf.get());
        match pull {
            Pull::Item(item) => Step::Return(item.into_bound(py)),
            Pull::Look => me.pulled(py, Run::look(me.run.bind(py))),
            Pull::First => me.pulled(py, Run::advance(me.run.bind(py), Resume::Send)),
            Pull::Due => match Run::look_at_time(me.run.bind(py)) {
                Some(step) => me.pulled(py, step),
                None => match me.leaf.pull_on(py) {
                    Pull::Item(item) => Step::Return(item.into_bound(py)),
                    _ => me.pulled(py, Run::look(me.run.bind(py))),
                },
            },
            Pull::Busy(task) => match current_task(py) {
                Ok(now) if task != 0 && (now.as_ptr() as usize == task || now.is_none()) => {
                    me.leaf.waits_in(py, 0);
                    me.pulled(py, Run::advance(me.run.bind(py), Resume::Send))
                }
                _ => {
                    me.begins();
                    Step::Error(me.taken("pulled"))
                }
            },
            Pull::Closing(None) => Step::Error(me.taken("closed")),
            Pull::Closing(Some(ender)) => match api(py).stream_ended.bind(py).call1((ender,)) {
                Ok(coroutine) => me.detour(coroutine),
                Err(e) => Step::Error(e),
            },
            Pull::Lost => {
                let name = &me.leaf.plan.get().name;
                Step::Error(PyRuntimeError::new_err(format!("the loop that stream '{name}' was read on is closed")))
            }
            Pull::Ended => end(),
        }
    }

    /// Whether the current task pulls or closes it: then code of the stream's own source runs.
    pub(super) fn steps_here(&self, py: Python<'_>, ender: Option<&Py<PyAny>>) -> PyResult<bool> {
        let now = current_task(py)?;
        if let Some(ender) = ender {
            return Ok(now.is(ender));
        }
        // 0 stands for a step that is under way, which is this one.
        let task = self.leaf.task(py);
        Ok(task == 0 || now.as_ptr() as usize == task || self.leaf.is_flown_by(py, &now))
    }

    pub(super) fn within(&self) -> PyErr {
        let name = &self.leaf.plan.get().name;
        PyRuntimeError::new_err(format!("stream '{name}' cannot be closed within its own step, which it would wait for"))
    }

    fn taken(&self, what: &str) -> PyErr {
        let name = &self.leaf.plan.get().name;
        PyRuntimeError::new_err(format!("stream '{name}' is being {what} already: one task pulls at a time"))
    }
}

impl Steps for Items {
    fn step<'py>(slf: &Bound<'py, Self>) -> Step<'py> {
        let (py, me) = (slf.py(), slf.get());
        {
            let mut rare = me.rare.lock(py);
            if std::mem::take(&mut rare.entering) {
                drop(rare);
                return Step::Return(slf.clone().into_any());
            }
            if let Some(detour) = &rare.detour {
                let detour = detour.bind(py).clone();
                drop(rare);
                return me.detour(detour);
            }
        }
        if me.asked.load(Ordering::Relaxed) == 0
            && let Some(e) = me.unasked(py)
        {
            return Step::Error(e);
        }
        let pull = me.leaf.pull(py);
        if !matches!(pull, Pull::Busy(_)) {
            me.begins();
        }
        match pull {
            Pull::Item(item) => Step::Return(item.into_bound(py)),
            pull => Self::rare(slf, pull),
        }
    }
}

impl Asked for Items {
    /// Notes one more pull to come. The awaitable of the first is the iterator itself.
    fn ask<'py>(slf: &Bound<'py, Self>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let asked = &slf.get().asked;
        let before = asked.load(Ordering::Relaxed);
        asked.store(before + 1, Ordering::Relaxed);
        if before == 0 { Ok(None) } else { api(slf.py()).another_pull.bind(slf.py()).call1((slf,)).map(Some) }
    }
}
