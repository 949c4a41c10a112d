//! Spans of calls, made by `mountain_runtime.telemetry.otel`.
//!
//! Python tells once, for each state of the parent, whether a span is made. Looking that up is all that an unsampled
//! call pays. The events of a sampled call are recorded natively and handed over in batches after its end, on a thread
//! that is attached anyway.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

use mountain_core::observe::Observer;
use mountain_core::telemetry::{Labels, Record};
use mountain_core::time::Instant;
use pyo3::prelude::*;
use pyo3::types::PyList;
use pyo3::{ffi, intern};

use crate::globals::telemetry;
use crate::observe::span_events::{set_wall, told_of, wall};
use crate::observe::watchers;
use crate::plan::Plan;
use crate::port::Port;
use crate::python::api::api;

/// The fate of a span that is not made. The sampler is not asked.
const DROPPED: u8 = 0;
/// The number of ended spans that may wait to be handed over.
const MOST: usize = 8192;

/// The functions and settings of the application's tracing.
#[pyclass(frozen, module = "mountain_runtime._native")]
pub(crate) struct Tracing {
    /// The context variable, and the key in its value, of the current span. None: it is not kept there.
    current: Option<(Py<PyAny>, Py<PyAny>)>,
    /// The fates of a span with no parent, with a sampled one, with an unsampled one.
    fates: (u8, u8, u8),
    /// Makes the span of a call: (context to attach, span or None), or None.
    start: Py<PyAny>,
    attach: Py<PyAny>,
    detach: Py<PyAny>,
    /// The list that takes ended spans; the function called for the first of a batch, and the one for a long batch.
    ended: Py<PyList>,
    first: Py<PyAny>,
    many: Py<PyAny>,
}

#[pymethods]
impl Tracing {
    #[new]
    #[pyo3(signature = (*, current, fates, start, attach, detach, ended, first, many))]
    #[expect(clippy::too_many_arguments, reason = "all that Python decides and does")]
    fn new(
        current: Option<(Py<PyAny>, Py<PyAny>)>,
        fates: (u8, u8, u8),
        start: Py<PyAny>,
        attach: Py<PyAny>,
        detach: Py<PyAny>,
        ended: Py<PyList>,
        first: Py<PyAny>,
        many: Py<PyAny>,
    ) -> Self {
        Tracing { current, fates, start, attach, detach, ended, first, many }
    }
}

impl Tracing {
    /// The fate by the current span, None where that is unknown. Each call of a traced program runs this, so it uses
    /// CPython's own functions.
    fn fate(&self, py: Python<'_>) -> Option<u8> {
        let (root, sampled, unsampled) = self.fates;
        if root == sampled && sampled == unsampled {
            return Some(root);
        }
        let (var, key) = self.current.as_ref()?;
        // SAFETY: attached. References from the variable, the dictionary and the attribute are owned and dropped here.
        // The tuple's item is borrowed from the tuple, which is held and does not change. An error that is set is
        // taken.
        unsafe {
            let mut context = std::ptr::null_mut();
            if ffi::PyContextVar_Get(var.as_ptr(), std::ptr::null_mut(), &raw mut context) < 0 {
                drop(PyErr::take(py));
                return None;
            }
            let Some(context) = Bound::from_owned_ptr_or_opt(py, context) else { return Some(root) };
            if ffi::PyDict_Check(context.as_ptr()) == 0 {
                return None;
            }
            let mut span = std::ptr::null_mut();
            match ffi::compat::PyDict_GetItemRef(context.as_ptr(), key.as_ptr(), &raw mut span) {
                0 => return Some(root),
                1 => {}
                _ => {
                    drop(PyErr::take(py));
                    return None;
                }
            }
            let span = Bound::from_owned_ptr(py, span);
            // Bypasses a class's own `__getattr__`: the sampler is asked about such a span.
            let of = ffi::PyObject_GenericGetAttr(span.as_ptr(), intern!(py, "_context").as_ptr());
            let Some(of) = Bound::from_owned_ptr_or_opt(py, of) else {
                drop(PyErr::take(py));
                return None;
            };
            if ffi::PyTuple_Check(of.as_ptr()) == 0 || ffi::PyTuple_GET_SIZE(of.as_ptr()) < 4 {
                return None;
            }
            let flags = ffi::PyTuple_GET_ITEM(of.as_ptr(), 3);
            if ffi::PyLong_Check(flags) == 0 {
                return None;
            }
            let flags = ffi::PyLong_AsUnsignedLongMask(flags);
            Some(if flags & 1 == 1 { sampled } else { unsampled })
        }
    }
}

/// Read by each call, so without a lock. A process sets its provider once: a replaced one is leaked.
static TRACING: AtomicPtr<Py<Tracing>> = AtomicPtr::new(std::ptr::null_mut());
/// The number of the current batch of ended spans.
static BATCH: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// The last batch that this thread's loop is to hand over. Each loop does so, since another may be held up.
    static ARMED: Cell<u64> = const { Cell::new(0) };
}

/// Makes spans from now on; with None, makes none and asks no more.
#[pyfunction]
#[pyo3(signature = (tracing, /))]
pub(crate) fn trace(tracing: Option<Py<Tracing>>) {
    let on = tracing.is_some();
    if let Some(tracing) = tracing {
        TRACING.store(Box::into_raw(Box::new(tracing)), Ordering::Release);
    }
    watchers::set(watchers::TRACING, on);
    watchers::set(watchers::ASKING, false);
    set_wall();
}

/// Has the next call ask again whether the application traces.
#[pyfunction]
pub(crate) fn ask_for_tracing() {
    watchers::set(watchers::ASKING, true);
}

/// Counts spans that have ended and will not be exported.
#[pyfunction]
pub(crate) fn spans_dropped(n: u64) {
    telemetry().spans_dropped.fetch_add(n, Ordering::Relaxed);
}

/// The application's tracing; None where there is none, or where it drops the span.
pub(crate) fn wanted(py: Python<'_>) -> Option<&'static Tracing> {
    if watchers::watchers() & watchers::TRACING == 0 { None } else { kept(py) }
}

/// As `wanted`, where the application is known to trace.
#[inline]
pub(crate) fn kept(py: Python<'_>) -> Option<&'static Tracing> {
    // SAFETY: the pointer is null or to a box that is never freed.
    let tracing = unsafe { TRACING.load(Ordering::Acquire).as_ref() }?.get();
    (tracing.fate(py) != Some(DROPPED)).then_some(tracing)
}

/// Asks Python whether the application traces, since it may have set that up meanwhile.
pub(crate) fn ask(py: Python<'_>) {
    if let Err(e) = api(py).look_for_tracing.bind(py).call0() {
        e.write_unraisable(py, None);
    }
}

/// Hands over all ended spans before a loop closes: it was to do so later.
pub(crate) fn loop_closes(py: Python<'_>) {
    // SAFETY: as in `wanted`.
    let Some(told) = (unsafe { TRACING.load(Ordering::Acquire).as_ref() }).map(Py::get) else { return };
    if !told.ended.bind(py).is_empty()
        && let Err(e) = told.many.bind(py).call0()
    {
        e.write_unraisable(py, None);
    }
}

pub(crate) struct Span {
    tracing: &'static Tracing,
    /// The context that is current inside the call.
    context: Py<PyAny>,
    /// None for an unsampled span, which only tells calls inside that it is.
    kept: Option<Kept>,
    started: Instant,
}

struct Kept {
    span: Py<PyAny>,
    record: Arc<Record>,
    labels: Arc<Labels>,
}

pub(crate) fn begin(py: Python<'_>, tracing: &'static Tracing, plan: &Plan, started: Instant) -> Option<Span> {
    let labels = plan.labels(py);
    let made = match tracing.start.bind(py).call1((labels.effect.as_str(),)) {
        Ok(made) if made.is_none() => return None,
        Ok(made) => made.extract::<(Py<PyAny>, Option<Py<PyAny>>)>(),
        Err(e) => Err(e),
    };
    match made {
        Ok((context, span)) => {
            let kept = span.map(|span| Kept { span, record: Arc::default(), labels });
            Some(Span { tracing, context, kept, started })
        }
        Err(e) => {
            // A fault of a sampler or processor does not fail the effect.
            e.write_unraisable(py, None);
            None
        }
    }
}

impl Span {
    pub(crate) fn observer(&self) -> Option<Arc<dyn Observer>> {
        self.kept.as_ref().map(|kept| kept.record.clone() as Arc<dyn Observer>)
    }

    /// Makes this, or the span of the next attempt, the current span. The token is for `detach`.
    pub(crate) fn attach(&self, py: Python<'_>, retries: bool) -> Option<Py<PyAny>> {
        let context = match &self.kept {
            Some(kept) if retries => kept.span.bind(py).call_method1(intern!(py, "begin_attempt"), (&self.context,)).ok()?,
            _ => self.context.bind(py).clone(),
        };
        self.tracing.attach.bind(py).call1((context,)).ok().map(Bound::unbind)
    }

    pub(crate) fn detach(&self, py: Python<'_>, token: Py<PyAny>) {
        if let Err(e) = self.tracing.detach.bind(py).call1((token,)) {
            drop(e);
        }
    }

    /// Ends the attempt's span with its error; another attempt may follow.
    pub(crate) fn attempt_failed(&self, py: Python<'_>, error: &Bound<'_, PyAny>) {
        if let Some(kept) = &self.kept
            && let Err(e) = kept.span.bind(py).call_method1(intern!(py, "attempt_failed"), (error,))
        {
            e.write_unraisable(py, None);
        }
    }

    pub(crate) fn ended(&self, py: Python<'_>, error: Option<&Bound<'_, PyAny>>, now: Instant) {
        let Some(kept) = &self.kept else { return };
        if let Err(e) = self.hand_over(py, kept, error, now) {
            e.write_unraisable(py, None);
        }
    }

    fn hand_over(&self, py: Python<'_>, kept: &Kept, error: Option<&Bound<'_, PyAny>>, now: Instant) -> PyResult<()> {
        let told = self.tracing;
        let waiting = told.ended.bind(py);
        if waiting.len() >= MOST {
            telemetry().spans_dropped.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        }
        let (events, more) = kept.record.take();
        let events: Vec<_> = events.into_iter().map(|(event, at)| told_of(event, at, &kept.labels)).collect();
        waiting.append((&kept.span, wall(self.started), wall(now), error, events, more))?;
        let n = waiting.len();
        if n == 1 {
            set_wall();
            BATCH.fetch_add(1, Ordering::Relaxed);
        }
        let batch = BATCH.load(Ordering::Relaxed);
        if n % 512 == 0 {
            told.many.bind(py).call0().map(drop)
        } else if ARMED.replace(batch) != batch {
            // The first of this thread's in the batch. The port makes sure that a loop that closes before it hands over
            // calls `loop_closes`.
            drop(Port::current(py));
            told.first.bind(py).call0().map(drop)
        } else {
            Ok(())
        }
    }
}
