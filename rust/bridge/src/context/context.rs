//! Where the current code runs: the deadline over it, its runtime, whether it descends from accepted work.

use std::cell::Cell;
use std::ffi::CStr;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mountain_core::effect::{Deadline, Flight, Holder, PermitContext, Submitted};
use mountain_core::error::Owner;
use mountain_core::schedule::Priority;
use mountain_core::sync::Mutex;
use mountain_core::time::{Instant, seconds};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyFloat, PyInt, PyTuple};
use pyo3::{PyTraverseError, PyTypeInfo, PyVisit, ffi, intern};

use crate::context::deadline_source::DeadlineSource;
use crate::globals::{clock, id};
use crate::python::api::api;
use crate::python::task_identity::KnownTask;

/// The earliest limit over a leaf, and how to find out where it comes from.
#[derive(Clone, Copy)]
pub(crate) struct Over<'a> {
    pub(crate) at: Instant,
    pub(crate) source: Option<&'a dyn Fn() -> Option<DeadlineSource>>,
}

impl Over<'_> {
    pub(crate) const NONE: Over<'static> = Over { at: Instant::NEVER, source: None };
}

thread_local! {
    /// The limit over the leaf that this thread is stepping now. Whatever starts within the step stands under it.
    static OVER: Cell<Over<'static>> = const { Cell::new(Over::NONE) };
    /// The permits that it holds, and the task that it runs in, where a task may begin within another's step.
    static HELD: Cell<Option<(NonNull<Holder<'static>>, usize)>> = const { Cell::new(None) };
}

/// Run `step` with that limit over it, and under those permits, if it holds any.
pub(crate) fn under<T>(py: Python<'_>, over: Over<'_>, holder: Option<&Holder<'_>>, step: impl FnOnce() -> T) -> T {
    struct Restore(Over<'static>);
    impl Drop for Restore {
        fn drop(&mut self) {
            OVER.set(self.0);
        }
    }
    struct Let(Option<(NonNull<Holder<'static>>, usize)>);
    impl Drop for Let {
        fn drop(&mut self) {
            HELD.set(self.0);
        }
    }
    // SAFETY: looked at within the step only, and let go of with it: `over` outlives both.
    let _restore = Restore(OVER.replace(unsafe { std::mem::transmute::<Over<'_>, Over<'static>>(over) }));
    // Looked at within the step only, and let go of with it.
    let _let = holder.map(|holder| Let(HELD.replace(Some((NonNull::from(holder).cast(), eager_task(py))))));
    step()
}

/// Calls `call` outside of the limit over this step: an eager task that it makes takes its first step in here, and stands under a limit of its
/// maker's only where its context says so, as any task does.
#[pyfunction]
#[pyo3(signature = (call, /, *args, **kwargs))]
pub(crate) fn apart<'py>(
    call: &Bound<'py, PyAny>,
    args: &Bound<'py, PyTuple>,
    kwargs: Option<&Bound<'py, PyDict>>,
) -> PyResult<Bound<'py, PyAny>> {
    under(call.py(), Over::NONE, None, || call.call(args, kwargs))
}

static LIMIT: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
static SCOPE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
static PRIORITY: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
static WITHIN: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
static PARENT: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
static ACCEPTED: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
static SERVING: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
/// A `InheritedDeadline` was ever made: before that nobody pays for looking it up.
static LIMITS: AtomicBool = AtomicBool::new(false);

fn var<'py>(py: Python<'py>, cell: &'static PyOnceLock<Py<PyAny>>, name: &CStr) -> PyResult<&'py Bound<'py, PyAny>> {
    let made = cell.get_or_try_init(py, || {
        // SAFETY: makes a new context variable without a default.
        unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyContextVar_New(name.as_ptr(), std::ptr::null_mut())).map(Bound::unbind) }
    })?;
    Ok(made.bind(py))
}

pub(crate) fn deadline_var(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    var(py, &LIMIT, c"mountain_runtime.limit")
}
pub(crate) fn scope_var(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    var(py, &SCOPE, c"mountain_runtime.scope")
}
pub(crate) fn accepted_var(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    var(py, &ACCEPTED, c"mountain_runtime.accepted")
}

/// The runtime that the current code is a service of: while that drains it may await effects, and submit none.
pub(crate) fn serving_var(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    var(py, &SERVING, c"mountain_runtime.serving")
}

pub(crate) fn priority_var(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    var(py, &PRIORITY, c"mountain_runtime.priority")
}
pub(crate) fn permit_context_var(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    var(py, &WITHIN, c"mountain_runtime.within")
}
/// The number of the entry inside which the current code runs, while entries are listed.
pub(crate) fn parent_var(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    var(py, &PARENT, c"mountain_runtime.parent")
}

/// Some code ever had a priority, some task something that waits for it: before that nobody pays for looking it up.
static PRIORITIES: AtomicBool = AtomicBool::new(false);
static WITHINS: AtomicBool = AtomicBool::new(false);

/// From now on the variables are looked at.
#[pyfunction]
pub(crate) fn has_priorities() {
    PRIORITIES.store(true, Ordering::Relaxed);
}

/// How urgent the current code is.
pub(crate) fn priority(py: Python<'_>) -> PyResult<Priority> {
    if !PRIORITIES.load(Ordering::Relaxed) {
        return Ok(Priority::default());
    }
    let set = get::<PyInt>(priority_var(py)?)?;
    let number = set.map(|set| set.extract::<usize>()).transpose()?;
    Ok(number.and_then(|n| Priority::ALL.get(n).copied()).unwrap_or_default())
}

/// LimitState that are held, and a flight.
type Waiting = (Option<Arc<PermitContext>>, Option<Arc<Flight>>);

/// What waits for the current code: the permits of the call that is being stepped, or of a block in this very task, whichever is further in, and
/// the flight that this task is. What a holder only starts may go on without him, and waits for nobody.
pub(crate) fn within(py: Python<'_>) -> PyResult<Waiting> {
    // SAFETY: it is there as long as the step lasts, in which we are.
    let call = HELD.get().filter(|(_, task)| *task == eager_task(py)).map(|(holder, _)| unsafe { holder.as_ref() }.held());
    if !WITHINS.load(Ordering::Relaxed) {
        return Ok((call, None));
    }
    let Some(within) = get::<PyPermitContext>(permit_context_var(py)?)? else { return Ok((call, None)) };
    let within = within.get();
    if !within.is_of(&current_task(py)?) {
        return Ok((call, None));
    }
    let block = within.held.as_ref().filter(|block| call.as_ref().is_none_or(|call| block.is_inside(call))).cloned();
    Ok((block.or(call), within.flight.clone()))
}

fn task_id(py: Python<'_>) -> PyResult<usize> {
    let task = current_task(py)?;
    Ok(if task.is_none() { 0 } else { task.as_ptr() as usize })
}

/// The current task, where there are eager ones: from CPython 3.12 on.
fn eager_task(py: Python<'_>) -> usize {
    if api(py).tasks.is_some() { 0 } else { task_id(py).unwrap_or(0) }
}

/// What waits for a task. Copies of the task's context hold it too, in tasks for which it does not hold.
#[pyclass(frozen, name = "PermitContext", module = "mountain_runtime._native")]
pub(crate) struct PyPermitContext {
    held: Option<Arc<PermitContext>>,
    flight: Option<Arc<Flight>>,
    /// The task itself: another one may come to have its address. None: nothing waits for it any more, or it was none.
    task: Mutex<Option<Py<PyAny>>>,
    /// It is of a thread's job, which has not ended, and waits for what it has done on the loop outside of any task.
    of_job: AtomicBool,
}

#[pymethods]
impl PyPermitContext {
    /// The same for the current task.
    fn here(&self, py: Python<'_>) -> PyResult<Self> {
        Self::new(py, self.held.clone(), self.flight.clone())
    }

    /// The current task is its task.
    fn begin(&self, py: Python<'_>) -> PyResult<()> {
        let task = current_task(py)?.unbind();
        let replaced = self.task.lock().replace(task);
        drop(replaced);
        Ok(())
    }

    /// Nothing waits for the task any more.
    pub(crate) fn over(&self) {
        self.of_job.store(false, Ordering::Relaxed);
        let task = self.task.lock().take();
        drop(task);
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.task.try_lock().map_or(Ok(()), |task| visit.call(&*task))
    }

    fn __clear__(&self) {
        self.over();
    }
}

impl PyPermitContext {
    pub(crate) fn new(py: Python<'_>, held: Option<Arc<PermitContext>>, flight: Option<Arc<Flight>>) -> PyResult<Self> {
        WITHINS.store(true, Ordering::Relaxed);
        let task = current_task(py)?;
        let task = Mutex::new((!task.is_none()).then(|| task.unbind()));
        Ok(PyPermitContext { held, flight, task, of_job: AtomicBool::new(false) })
    }

    /// For the task of submitted work, which is not yet there.
    pub(crate) fn of_work(py: Python<'_>, held: Arc<PermitContext>) -> PyResult<Bound<'_, Self>> {
        WITHINS.store(true, Ordering::Relaxed);
        let flight = held.work.as_ref().and_then(|work| work.flight()).cloned();
        Bound::new(py, PyPermitContext { held: Some(held), flight, task: Mutex::default(), of_job: AtomicBool::new(false) })
    }

    /// What waits for a thread's job that is made here; to be set in the job's `context`.
    pub(crate) fn of_job(context: &Bound<'_, PyAny>) -> PyResult<Option<Py<Self>>> {
        let py = context.py();
        let (held, flight) = within(py)?;
        if held.is_none() && flight.is_none() {
            return Ok(None);
        }
        WITHINS.store(true, Ordering::Relaxed);
        let within = Bound::new(py, PyPermitContext { held, flight, task: Mutex::default(), of_job: AtomicBool::new(true) })?;
        context.call_method1(intern!(py, "run"), (permit_context_var(py)?.getattr(intern!(py, "set"))?, &within))?;
        Ok(Some(within.unbind()))
    }

    fn is_of(&self, task: &Bound<'_, PyAny>) -> bool {
        if task.is_none() {
            return self.of_job.load(Ordering::Relaxed);
        }
        self.task.lock().as_ref().is_some_and(|of| of.is(task))
    }
}

/// What work that is submitted here is known by, if the current code holds something for which the work may come to wait.
pub(crate) fn submitted(py: Python<'_>) -> PyResult<Option<Arc<PermitContext>>> {
    let (held, flight) = within(py)?;
    Ok((held.is_some() || flight.is_some()).then(|| PermitContext::of_work(Submitted::new(flight.is_some()))))
}

/// What waits for the current code, for a child that is waited for too.
#[pyfunction]
pub(crate) fn current_permit_context(py: Python<'_>) -> PyResult<Option<PyPermitContext>> {
    let (held, flight) = within(py)?;
    if held.is_none() && flight.is_none() { Ok(None) } else { PyPermitContext::new(py, held, flight).map(Some) }
}

/// The variable's value in the current context, if it is a `T`.
pub(crate) fn get<'py, T: PyTypeInfo>(var: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, T>>> {
    let mut value = std::ptr::null_mut();
    // SAFETY: `var` is a context variable; a value comes back as an owned reference or null.
    let value = unsafe {
        if ffi::PyContextVar_Get(var.as_ptr(), std::ptr::null_mut(), &raw mut value) < 0 {
            return Err(PyErr::fetch(var.py()));
        }
        Bound::from_owned_ptr_or_opt(var.py(), value)
    };
    Ok(value.and_then(|v| v.cast_into::<T>().ok()))
}

/// A deadline that code carries with it, the task that watches over it already, and where it comes from.
#[pyclass(frozen, module = "mountain_runtime._native")]
pub(crate) struct InheritedDeadline {
    at: Instant,
    task: KnownTask,
    source: Option<DeadlineSource>,
}

#[pymethods]
impl InheritedDeadline {
    /// Of a block in the code of that name.
    #[new]
    #[pyo3(signature = (seconds, name, /))]
    fn new(py: Python<'_>, seconds: f64, name: Bound<'_, PyAny>) -> PyResult<Self> {
        let block = PyTuple::new(py, [PyFloat::new(py, seconds).into_any(), name])?.unbind();
        let at = clock().now().after(duration(seconds)?);
        InheritedDeadline::of(py, at, Some(DeadlineSource::block(block)))
    }

    /// The time has passed.
    fn expired(&self) -> bool {
        clock().now() >= self.at
    }

    /// Seconds that are left: infinite when there is no limit.
    fn remaining(&self) -> f64 {
        if self.at == Instant::NEVER { f64::INFINITY } else { self.at.since(clock().now()).as_secs_f64() }
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.source.as_ref().map_or(Ok(()), |source| source.traverse(&visit))
    }
}

impl InheritedDeadline {
    fn of(py: Python<'_>, at: Instant, source: Option<DeadlineSource>) -> PyResult<Self> {
        LIMITS.store(true, Ordering::Relaxed);
        Ok(InheritedDeadline { at, task: KnownTask::new(&current_task(py)?)?, source })
    }
}

pub(crate) fn to_seconds(v: &Bound<'_, PyAny>) -> PyResult<Duration> {
    duration(v.extract()?)
}

fn duration(s: f64) -> PyResult<Duration> {
    seconds(s).ok_or_else(|| PyValueError::new_err(format!("seconds must be 0 or more, not {s}")))
}

/// The earliest limit over the code that runs now; `None` if there is none.
#[pyfunction]
pub(crate) fn current_deadline(py: Python<'_>) -> PyResult<Option<InheritedDeadline>> {
    let Inherited { over, source, .. } = inherited(py)?;
    if over.at == Instant::NEVER { Ok(None) } else { InheritedDeadline::of(py, over.at, source).map(Some) }
}

/// Whoever set a limit in another task tells the tasks beneath him when it passes: an effect acts on it so much later, if nobody has told it.
/// Both at once would be two cancels, and the second would cut short the cleanup that the first began.
pub(crate) const LAG: Duration = Duration::from_millis(10);

/// The limit that an effect starting here stands under.
pub(crate) struct Inherited {
    pub(crate) over: Deadline,
    /// When the effect must act on it itself: never on a limit of this very task, which is watched where it was set.
    pub(crate) watch: Option<Instant>,
    pub(crate) source: Option<DeadlineSource>,
}

pub(crate) fn inherited(py: Python<'_>) -> PyResult<Inherited> {
    let over = OVER.get();
    if LIMITS.load(Ordering::Relaxed)
        && let Some(limit) = get::<InheritedDeadline>(deadline_var(py)?)?
    {
        let limit = limit.get();
        if limit.at < over.at {
            let watch = (!limit.task.is(&current_task(py)?)).then(|| limit.at.after(LAG));
            let over = Deadline { at: limit.at, owner: Owner::Inherited };
            return Ok(Inherited { over, watch, source: limit.source.as_ref().map(|source| source.clone_ref(py)) });
        }
    }
    if over.at == Instant::NEVER {
        return Ok(Inherited { over: Deadline::NONE, watch: None, source: None });
    }
    let source = over.source.and_then(|source| source());
    Ok(Inherited { over: Deadline { at: over.at, owner: Owner::Inherited }, watch: None, source })
}

/// The running loop, or None.
pub(crate) fn running_loop(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    let api = api(py);
    match &api.tasks {
        Some(_) => holder::running_loop(py).map_or_else(|| api.running_loop.bind(py).call0(), Ok),
        None => api.running_loop.bind(py).call0(),
    }
}

/// CPython 3.11 keeps the running loop in the thread's dictionary, and with it the number of the process, for which it asks the system at each
/// look: 100 of the 130 ns that this module saves. Ours changes with a fork only, of which Python tells us.
mod holder {
    use std::sync::atomic::AtomicPtr;

    use pyo3::intern;

    use super::{Bound, Cell, Ordering, PyAny, Python, ffi, id};

    /// The head of `PyRunningLoopHolder` in `Modules/_asynciomodule.c`, 3.11.
    #[repr(C)]
    struct Holder {
        head: ffi::PyObject,
        event_loop: *mut ffi::PyObject,
        process: libc::pid_t,
    }

    /// The head of `PyDictObject`, 3.11.
    #[repr(C)]
    struct Dict {
        head: ffi::PyObject,
        used: ffi::Py_ssize_t,
        version: u64,
    }

    thread_local! {
        /// The dictionary's number at this thread's last look, and what was in it: that is there as long as the number is the same.
        static LAST: Cell<(u64, *mut ffi::PyObject)> = const { Cell::new((0, std::ptr::null_mut())) };
    }

    /// `None`: it is not found this way.
    pub(super) fn running_loop(py: Python<'_>) -> Option<Bound<'_, PyAny>> {
        // SAFETY: the dictionary, what it holds and the type's name are borrowed from the interpreter, which cannot run meanwhile: CPython 3.11
        // has its lock. A holder is told by its type, and its loop does not change.
        unsafe {
            let of_thread = ffi::PyThreadState_GetDict();
            if of_thread.is_null() {
                return None;
            }
            // Every change of a dictionary gives it a number that none has had before.
            let version = (*of_thread.cast::<Dict>()).version;
            let (known, mut holder) = LAST.get();
            if known != version {
                holder = ffi::PyDict_GetItemWithError(of_thread, intern!(py, "__asyncio_running_event_loop__").as_ptr());
                LAST.set((version, holder));
            }
            if holder.is_null() || !is_holder(ffi::Py_TYPE(holder)) {
                return None;
            }
            let holder = &*holder.cast::<Holder>();
            // Another process's loop does not run here, even where its code goes on.
            if holder.process == id() { Bound::from_borrowed_ptr_or_opt(py, holder.event_loop) } else { None }
        }
    }

    /// By its name once, by its address from then on: it is a static type.
    ///
    /// # Safety
    /// `class` is a type.
    unsafe fn is_holder(class: *mut ffi::PyTypeObject) -> bool {
        static KNOWN: AtomicPtr<ffi::PyTypeObject> = AtomicPtr::new(std::ptr::null_mut());
        if class == KNOWN.load(Ordering::Relaxed) {
            return true;
        }
        // SAFETY: a type's name is a C string.
        let is = unsafe { std::ffi::CStr::from_ptr((*class).tp_name) } == c"_RunningLoopHolder";
        if is {
            KNOWN.store(class, Ordering::Relaxed);
        }
        is
    }
}

/// The running loop and the task that it is stepping; each may be None.
pub(crate) fn running(py: Python<'_>) -> PyResult<(Bound<'_, PyAny>, Bound<'_, PyAny>)> {
    let api = api(py);
    let event_loop = running_loop(py)?;
    let task = if event_loop.is_none() {
        None
    } else {
        match &api.tasks {
            Some(tasks) => tasks.bind(py).get_item(&event_loop)?,
            None => Some(api.current_task.bind(py).call1((&event_loop,))?),
        }
    };
    Ok((event_loop, task.unwrap_or_else(|| py.None().into_bound(py))))
}

/// The current asyncio task, or None.
pub(crate) fn current_task(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    running(py).map(|(_, task)| task)
}
