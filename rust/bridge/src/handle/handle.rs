//! The handle: the one class that speaks the asyncio Future protocol. It stands for a native call, a task, a thread's job, or a parked run.
//!
//! Cancelling a native call asks it to end and waits for its answer, as cancelling a task does; a parked run and a thread's job are let go at
//! once, the one because nothing runs, the other because nothing can stop it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use mountain_core::effect::{Abort, Done, Host, Operation, Outcome, PermitContext, Starter};
use mountain_core::error::Error;
use mountain_core::observe::{Count, Doing};
use mountain_core::schedule::Priority;
use mountain_core::sync::{Mutex, MutexGuard};
use mountain_core::time::Instant;
use pyo3::exceptions::asyncio::{CancelledError, InvalidStateError};
use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyType};
use pyo3::{PyTraverseError, PyVisit, ffi, intern};

use crate::context;
use crate::context::level::{self, Shield};
use crate::convert::error;
use crate::convert::value;
use crate::globals::{Begun, clock};
use crate::handle::backing::{Backing, Callback, Now, Phase, State};
use crate::handle::gathered;
use crate::handle::job_state::Stage;
use crate::observe::watch::Watch;
use crate::plan::Plan;
use crate::port::Port;
use crate::python::api::api;
use crate::python::callback::{call_in, gathers, wakes_a_task};
use crate::python::free_list::{Idle, Reused};
use crate::python::pyref::PyRef;
use crate::python::type_slots;
use crate::python::type_slots::Steps;
use crate::scope::owned::Owned;

/// Work that has started; it is an asyncio Future to all of asyncio: it can be awaited, gathered, waited for, shielded and cancelled.
#[pyclass(frozen, freelist = 16384, weakref, module = "mountain_runtime")]
pub(crate) struct Handle {
    port: Py<Port>,
    plan: Option<Py<Plan>>,
    created: Instant,
    state: Mutex<State>,
}

impl Reused for Handle {
    const MOST: usize = 16384;

    fn idle() -> &'static Idle {
        static IDLE: Idle = Idle::new();
        &IDLE
    }
}

impl Handle {
    pub(crate) fn new<'py>(port: &Bound<'py, Port>, plan: Option<Py<Plan>>, backing: Backing) -> PyResult<Bound<'py, Handle>> {
        Self::made(port, plan, backing, None, None)
    }

    fn made<'py>(
        port: &Bound<'py, Port>,
        plan: Option<Py<Plan>>,
        backing: Backing,
        begun: Option<Begun>,
        watch: Option<Box<Watch>>,
    ) -> PyResult<Bound<'py, Handle>> {
        let seen = !matches!(backing, Backing::Native(_)) || plan.as_ref().is_some_and(|plan| plan.get().asks_python());
        let state = State {
            now: Now::Pending(backing, None),
            blocking: false,
            asked: false,
            // Only what a runtime owns is reported when nobody asks for it.
            retrieved: true,
            begun,
            place: 0,
            owner: None,
            watch,
            rare: None,
        };
        // Only what somebody may look at needs its age.
        let created = if plan.is_some() { clock().now() } else { Instant::from_nanos(0) };
        let handle = Handle { port: port.clone().unbind(), plan, created, state: Mutex::new(state) };
        // Of a native call, nothing that it holds leads back to it: what is added later tells the collector. It is a quarter of the cost of queueing one.
        if seen { type_slots::tracked(port.py(), handle) } else { type_slots::untracked(port.py(), handle) }
    }

    /// Start a native operation. It `counts`, unless it is a part of a run that does.
    pub(crate) fn start<'py>(
        port: &Bound<'py, Port>,
        plan: &Bound<'py, Plan>,
        host: &Arc<Host>,
        operation: Arc<dyn Operation>,
        priority: Priority,
        counts: bool,
        watch: Option<Box<Watch>>,
    ) -> PyResult<Bound<'py, Handle>> {
        Self::begin(port, plan, priority, counts, watch, |done| {
            if operation.wants_a_worker() { Starter::begin(host, operation, done) } else { operation.start(host, done) }
        })
    }

    /// The same of what `starts` starts.
    pub(crate) fn begin<'py>(
        port: &Bound<'py, Port>,
        plan: &Bound<'py, Plan>,
        priority: Priority,
        counts: bool,
        watch: Option<Box<Watch>>,
        starts: impl FnOnce(Done) -> Abort,
    ) -> PyResult<Bound<'py, Handle>> {
        let begun = counts.then(Begun::now);
        if counts {
            plan.get().tally.count(Count::Started);
        }
        let handle = Self::made(port, Some(plan.clone().unbind()), Backing::Native(Abort::Never), begun, watch)?;
        let token = PyRef::new(handle.clone().unbind()).into_token();
        let done = Done::new(port.get().shared.clone(), token).of(priority);
        // Lost in a panic, its `Done` has answered.
        let abort = catch_unwind(AssertUnwindSafe(|| starts(done))).unwrap_or(Abort::Never);
        if let Now::Pending(backing, _) = &mut handle.get().state.lock().now {
            *backing = Backing::Native(abort);
        }
        Ok(handle)
    }

    /// A runtime owns this call from now on.
    pub(crate) fn owned(&self, owner: Arc<Owned>, place: u32, work: Option<Arc<PermitContext>>) {
        let mut s = self.state.lock();
        (s.owner, s.place, s.retrieved) = (Some(owner), place, false);
        if let Some(work) = work.and_then(|held| held.work.clone()) {
            s.rare.get_or_insert_default().work = Some(work);
        }
    }

    /// The current code awaits it, and holds what it holds until it has ended.
    fn awaited_here(&self, py: Python<'_>) -> PyResult<()> {
        let Some(work) = self.state.lock().work().cloned() else { return Ok(()) };
        let (held, flight) = context::within(py)?;
        if work.awaited_by(held.as_ref(), flight.as_ref()) {
            return Ok(());
        }
        Err(error::circle(py, self.name()))
    }

    /// Of a thread's job: how far it is.
    pub(crate) fn stage(&self) -> Option<Arc<Stage>> {
        match self.state.lock().backing() {
            Some(Backing::Job(stage)) => Some(stage.clone()),
            _ => None,
        }
    }

    /// Its loop is closed: a native call ends, and gives back what it holds or waits for.
    pub(crate) fn let_go(&self) {
        let abort = self.state.lock().ask();
        if let Some(abort) = abort {
            abort.abort();
        }
    }

    pub(crate) fn pending(&self) -> bool {
        self.state.lock().pending()
    }

    /// A native call has answered.
    pub(crate) fn ended(slf: &Bound<'_, Self>, outcome: Outcome, direct: bool, now: Instant) -> PyResult<()> {
        let py = slf.py();
        let me = slf.get();
        let (asked, begun, watch) = {
            let mut s = me.state.lock();
            (s.asked, s.begun.take(), s.watch.take())
        };
        let phase = match outcome {
            _ if asked => Phase::Cancelled,
            Err(Error::Cancelled) => Phase::Cancelled,
            Ok(v) => match value::to_python(py, v) {
                Ok(v) => Phase::Value(v.unbind()),
                Err(e) => Phase::Error(e.into_value(py).into_any()),
            },
            Err(e) => Phase::Error(error::to_python(py, e, me.plan.as_ref().map(pyo3::Py::get)).into_value(py).into_any()),
        };
        if let (Some(plan), Some(_)) = (&me.plan, begun) {
            me.count_end(py, plan.get(), &phase, now);
        }
        if let Some(watch) = watch {
            match &phase {
                Phase::Value(_) => watch.ended(py, None, now),
                Phase::Error(e) => watch.ended(py, Some(e.bind(py)), now),
                Phase::Cancelled => watch.ended(py, Some(CancelledError::new_err(()).value(py)), now),
            }
        }
        Self::resolve(slf, phase, direct)
    }

    fn count_end(&self, py: Python<'_>, plan: &Plan, phase: &Phase, now: Instant) {
        let took = now.since(self.created).as_nanos() as u64;
        match phase {
            Phase::Value(_) => plan.tally.ended(Count::Succeeded, took),
            Phase::Cancelled => plan.tally.ended(Count::Cancelled, took),
            Phase::Error(e) => plan.count_error(py, &PyErr::from_value(e.bind(py).clone()), took),
        }
    }

    /// Decide a pending handle and call who waits. `direct`: from a drain, where a task may be woken at once.
    pub(crate) fn resolve(slf: &Bound<'_, Self>, phase: Phase, direct: bool) -> PyResult<()> {
        let py = slf.py();
        let me = slf.get();
        let (was, place, owner, more, work) = {
            let mut s = me.state.lock();
            if !s.pending() {
                drop(s);
                drop(phase);
                return Ok(());
            }
            let phase = if s.asked { Phase::Cancelled } else { phase };
            if let Phase::Error(_) = &phase {
                type_slots::track_later(slf);
            }
            let was = std::mem::replace(&mut s.now, Now::Ended(phase));
            let (more, work) = s.rare.as_mut().map(|rare| (std::mem::take(&mut rare.more), rare.work.take())).unwrap_or_default();
            (was, s.place, s.owner.take(), more, work)
        };
        let first = match was {
            Now::Pending(backing, first) => {
                drop(backing);
                first
            }
            Now::Ended(_) => None,
        };
        if let Some(work) = work {
            work.over();
        }
        if let Some(owner) = owner {
            owner.release(place);
        }
        let mut result = Ok(());
        for (callback, context) in first.into_iter().chain(more) {
            let callback = callback.into_bound(py);
            let context = context.map(|c| c.into_bound(py));
            let called = match &context {
                Some(context) if direct && wakes_a_task(&callback) => call_in(context, &callback, slf),
                None if direct => callback.call1((slf,)).map(drop),
                context => me.port.get().call_soon(&callback, slf, context.as_ref()),
            };
            result = result.and(called);
        }
        result
    }

    /// What goes may run code that looks at this handle: out of the lock first.
    fn set_message(&self, message: Option<Py<PyAny>>) {
        let replaced = {
            let mut s = self.state.lock();
            match (&mut s.rare, message) {
                (None, None) => None,
                (rare, message) => std::mem::replace(&mut rare.get_or_insert_default().message, message),
            }
        };
        drop(replaced);
    }

    fn cancelled_error(&self, py: Python<'_>) -> PyErr {
        match self.state.lock().message() {
            Some(message) => CancelledError::new_err((message.clone_ref(py),)),
            None => CancelledError::new_err(()),
        }
    }

    /// The result, if there is one.
    fn outcome(&self, py: Python<'_>) -> Option<PyResult<Py<PyAny>>> {
        self.outcome_of(py, self.state.lock())
    }

    fn outcome_of(&self, py: Python<'_>, mut s: MutexGuard<'_, State>) -> Option<PyResult<Py<PyAny>>> {
        match &s.now {
            Now::Pending(..) => None,
            Now::Ended(Phase::Value(v)) => Some(Ok(v.clone_ref(py))),
            Now::Ended(Phase::Error(e)) => {
                let e = e.clone_ref(py);
                s.retrieved = true;
                drop(s);
                Some(Err(PyErr::from_value(e.into_bound(py))))
            }
            Now::Ended(Phase::Cancelled) => {
                drop(s);
                Some(Err(self.cancelled_error(py)))
            }
        }
    }

    fn name(&self) -> &str {
        self.plan.as_ref().map_or("effect", |p| p.get().name.as_str())
    }
}

impl Handle {
    /// A cancel was asked for. The one task that awaits it, if one does, looks in a step of its own whether a scope asks again and again.
    fn has_it_looked(slf: &Bound<'_, Self>) -> PyResult<()> {
        let (py, me) = (slf.py(), slf.get());
        if !level::asks_again(py)? {
            return Ok(());
        }
        let waiter = me.state.lock().take_only_waiter(|callback| wakes_a_task(callback.bind(py)));
        let Some((waiter, context)) = waiter else { return Ok(()) };
        let port = me.port.bind(py);
        let woken = Handle::new(port, None, Backing::Parked)?;
        Self::resolve(&woken, Phase::Value(py.None()), false)?;
        port.get().call_soon(waiter.bind(py), woken.as_any(), context.as_ref().map(|context| context.bind(py)))
    }
}

impl Steps for Handle {
    /// One step of an await: itself while pending, its result after.
    fn step<'py>(slf: &Bound<'py, Self>) -> type_slots::Step<'py> {
        let py = slf.py();
        let mut s = slf.get().state.lock();
        if !s.pending() {
            let shield = s.rare.as_mut().and_then(|rare| rare.shield.take());
            let Some(result) = slf.get().outcome_of(py, s) else { unreachable!("it has ended") };
            return match shield.map_or(Ok(()), |shield| shield.exit(py)).and(result) {
                Ok(v) => type_slots::Step::Return(v.into_bound(py)),
                Err(e) => type_slots::Step::Error(e),
            };
        }
        if s.rare.as_mut().is_some_and(|rare| std::mem::take(&mut rare.looks)) {
            drop(s);
            let shield = match Shield::enter(py) {
                Ok(shield) => shield,
                Err(e) => return type_slots::Step::Error(e),
            };
            s = slf.get().state.lock();
            s.rare.get_or_insert_default().shield = shield;
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

    /// The task that it stands for, if it does and that has not ended.
    #[getter]
    fn _task(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        match self.state.lock().backing() {
            Some(Backing::Task(task)) => Some(task.clone_ref(py)),
            _ => None,
        }
    }

    /// For a dump: the effect, seconds since it began, what it does, at which policy. None for what stands for something else.
    #[getter]
    fn _under_way(&self, py: Python<'_>) -> Option<(String, f64, &'static str, Option<String>)> {
        let plan = self.plan.as_ref()?.get();
        let doing = match self.state.lock().backing()? {
            Backing::Native(abort) => abort.doing(),
            Backing::Job(_) => Doing::Running,
            Backing::Parked | Backing::Task(_) => return None,
        };
        let (doing, policy) = plan.told_of(py, doing);
        Some((plan.name.clone(), clock().now().since(self.created).as_secs_f64(), doing, policy))
    }

    /// The current code waits for it in another way than by an await.
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

    /// Its await ends by an exception.
    #[pyo3(signature = (typ, val = None, tb = None, /))]
    fn throw<'py>(
        &self,
        py: Python<'py>,
        typ: Bound<'py, PyAny>,
        val: Option<Bound<'py, PyAny>>,
        tb: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let _ = tb;
        let shield = self.state.lock().rare.as_mut().and_then(|rare| rare.shield.take());
        shield.map_or(Ok(()), |shield| shield.exit(py))?;
        Err(PyErr::from_value(val.filter(|val| !val.is_none()).unwrap_or(typ)))
    }

    /// Ask it to end. True if it was pending. A native call answers when it has ended; a thread's job is left to itself at once.
    #[pyo3(signature = (msg = None))]
    pub(crate) fn cancel(slf: &Bound<'_, Self>, msg: Option<Py<PyAny>>) -> PyResult<bool> {
        enum Way {
            Abort,
            Task(Py<PyAny>),
            Now(Option<Arc<Stage>>),
        }
        let py = slf.py();
        let me = slf.get();
        let way = {
            match me.state.lock().backing() {
                None => return Ok(false),
                Some(Backing::Native(_)) => Way::Abort,
                Some(Backing::Task(task)) => Way::Task(task.clone_ref(py)),
                Some(Backing::Parked) => Way::Now(None),
                Some(Backing::Job(stage)) => Way::Now(Some(stage.clone())),
            }
        };
        match way {
            Way::Task(task) => {
                let msg = msg.unwrap_or_else(|| py.None());
                let asked = task.call_method1(py, intern!(py, "cancel"), (msg,))?.is_truthy(py)?;
                Self::has_it_looked(slf)?;
                return Ok(asked);
            }
            Way::Abort => {
                let abort = me.state.lock().ask();
                type_slots::track_later(slf);
                me.set_message(msg);
                if let Some(abort) = abort {
                    abort.abort();
                }
                Self::has_it_looked(slf)?;
            }
            Way::Now(stage) => {
                me.set_message(msg);
                if let Some(stage) = stage {
                    stage.abandon();
                }
                Self::resolve(slf, Phase::Cancelled, false)?;
            }
        }
        Ok(true)
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
            Now::Ended(Phase::Value(_)) => Ok(None),
            Now::Ended(Phase::Error(e)) => {
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

    /// asyncio's `gather` reads it where exceptions are returned.
    #[getter]
    fn _cancel_message(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.state.lock().message().map(|m| m.clone_ref(py))
    }

    fn _make_cancelled_error(&self, py: Python<'_>) -> Py<PyAny> {
        self.cancelled_error(py).into_value(py).into_any()
    }

    fn get_loop<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.port.get().event_loop(py)
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
            return slf.get().port.get().call_soon(&r#fn, slf, context.as_ref());
        }
        type_slots::track_later(slf);
        let gathered = s.work().cloned().filter(|_| gathers(&r#fn)).map(|work| (work, r#fn.clone()));
        s.add_callback((r#fn.unbind(), context.map(Bound::unbind)));
        drop(s);
        gathered
            .map_or(Ok(()), |(work, callback)| gathered::look_later(slf.get().port.bind(py), work, slf.get().name(), &callback))
    }

    #[pyo3(signature = (r#fn, /))]
    fn remove_done_callback(&self, py: Python<'_>, r#fn: Bound<'_, PyAny>) -> PyResult<usize> {
        // Comparing may run user code: it works on a copy.
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
        let s = self.state.lock();
        let (state, detail) = match &s.now {
            Now::Pending(..) if s.asked => ("cancelling", None),
            Now::Pending(..) => ("pending", None),
            Now::Ended(Phase::Value(v)) => ("finished", Some(v.clone_ref(py))),
            Now::Ended(Phase::Error(e)) => ("failed", Some(e.clone_ref(py))),
            Now::Ended(Phase::Cancelled) => ("cancelled", None),
        };
        drop(s);
        let age: Duration = clock().now().since(self.created);
        let detail = detail.map(|d| {
            let text = d.bind(py).repr().map_or_else(|_| "?".into(), |r| r.to_string());
            let short: String = text.chars().take(80).collect();
            format!(" {short}")
        });
        format!("<Handle {} {state}{} age={:.3}s>", self.name(), detail.unwrap_or_default(), age.as_secs_f64())
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.port)?;
        visit.call(&self.plan)?;
        let Some(s) = self.state.try_lock() else { return Ok(()) };
        match &s.now {
            Now::Pending(Backing::Task(object), _) | Now::Ended(Phase::Value(object) | Phase::Error(object)) => {
                visit.call(object)?;
            }
            _ => {}
        }
        if let Some(message) = s.message() {
            visit.call(message)?;
        }
        if let Some(shield) = s.rare.as_ref().and_then(|rare| rare.shield.as_ref()) {
            shield.traverse(&visit)?;
        }
        for (f, c) in s.callbacks() {
            visit.call(f)?;
            visit.call(c)?;
        }
        Ok(())
    }

    fn __clear__(&self) {
        let old = {
            let mut s = self.state.lock();
            let cancel = s.rare.as_mut().map(|rare| (rare.message.take(), rare.shield.take()));
            let backing = match &mut s.now {
                Now::Pending(backing, _) => Some(std::mem::replace(backing, Backing::Parked)),
                Now::Ended(_) => None,
            };
            (s.take_callbacks(), cancel, backing)
        };
        drop(old);
    }
}

impl Handle {
    /// A submitted call failed and nobody ever asked: said once, to the loop's exception handler, or where that is gone to asyncio's log.
    fn report(&self, py: Python<'_>, e: &Py<PyAny>) -> PyResult<()> {
        let message = format!("the error of submitted effect '{}' was never retrieved", self.name());
        let context = PyDict::new(py);
        if let Ok(event_loop) = self.port.get().event_loop(py) {
            context.set_item("message", message)?;
            context.set_item("exception", e)?;
            event_loop.call_method1("call_exception_handler", (context,))?;
        } else {
            context.set_item("exc_info", e)?;
            py.import("logging")?.call_method1("getLogger", ("asyncio",))?.call_method("error", (message,), Some(&context))?;
        }
        Ok(())
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        let s = self.state.get_mut();
        if s.retrieved {
            return;
        }
        let Now::Ended(phase @ Phase::Error(_)) = &mut s.now else { return };
        let Phase::Error(e) = std::mem::replace(phase, Phase::Cancelled) else { return };
        // A deallocation: attached, unless the interpreter is going, when there is nobody left to tell.
        Python::try_attach(|py| {
            let pending = PyErr::take(py);
            if can_import(py)
                && let Err(x) = self.report(py, &e)
            {
                x.write_unraisable(py, None);
            }
            drop(e);
            if let Some(pending) = pending {
                pending.restore(py);
            }
        });
    }
}

/// The interpreter has not given up its modules yet.
fn can_import(_py: Python<'_>) -> bool {
    // SAFETY: attached; gives a borrowed reference or null, and sets no error.
    let meta_path = unsafe { ffi::PySys_GetObject(c"meta_path".as_ptr()) };
    // SAFETY: compares addresses.
    !meta_path.is_null() && meta_path != unsafe { ffi::Py_None() }
}

/// A handle around a task, for `submit`.
pub(crate) fn of_task<'py>(port: &Bound<'py, Port>, plan: Py<Plan>, task: &Bound<'py, PyAny>) -> PyResult<Bound<'py, Handle>> {
    let handle = Handle::new(port, Some(plan), Backing::Task(task.clone().unbind()))?;
    let done = Bound::new(port.py(), TaskDone { handle: handle.clone().unbind() })?;
    task.call_method1(intern!(port.py(), "add_done_callback"), (done,))?;
    Ok(handle)
}

/// Carries a task's end over to its handle.
#[pyclass(frozen)]
struct TaskDone {
    handle: Py<Handle>,
}

#[pymethods]
impl TaskDone {
    fn __call__(&self, py: Python<'_>, task: Bound<'_, PyAny>) -> PyResult<()> {
        let handle = self.handle.bind(py);
        let phase = match task.call_method0(intern!(py, "result")) {
            Ok(v) => Phase::Value(v.unbind()),
            // Cut short by a cancel of its own it has failed.
            Err(e)
                if e.is_instance_of::<CancelledError>(py)
                    && !api(py).is_cut.bind(py).call1((&task, e.value(py)))?.is_truthy()? =>
            {
                let message = e.value(py).getattr("args")?.get_item(0).ok().map(Bound::unbind);
                handle.get().set_message(message);
                Phase::Cancelled
            }
            Err(e) => Phase::Error(e.into_value(py).into_any()),
        };
        Handle::resolve(handle, phase, false)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.handle)
    }
}

/// What is no handle is told so.
pub(crate) fn expected(what: &str, got: &Bound<'_, PyAny>) -> PyErr {
    let name = got.get_type().name().map_or_else(|_| "?".into(), |n| n.to_string());
    PyTypeError::new_err(format!("expected {what}, got {name}"))
}
