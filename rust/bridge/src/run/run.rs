//! The run: one await of an effect with Python code, driven inside the caller's own task.
//!
//! A run is in one of these states, and only the task's own step moves it on:
//!  1. new: no engine yet;
//!  2. its leaf is suspended: the run yields what the coroutine yielded. The waker knows the run weakly; the task keeps it alive;
//!  3. parked: the engine waits for something native (a backoff, later a permit). The run yields a handle, and the port keeps it alive;
//!  4. ended.
//!
//! A drain that finds it woken in 3 decides the handle, which wakes the task. In 2 it polls the engine, whose timers may ask the leaf to stop;
//! then the drain cancels the task. Python code never starts there.

use std::cell::RefCell;
use std::future::Future;
use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, RawWaker, RawWakerVTable, Wake, Waker};

use mountain_core::effect::{Around, Call, Class, Deadline, Fault, Leaf, Terms, call_leaf};
use mountain_core::error::Error;
use mountain_core::error::{Owner, TimedOut};
use mountain_core::observe::Count;
use mountain_core::policy;
use mountain_core::time::{Clock, Instant, Ticks};
use pyo3::exceptions::asyncio::CancelledError;
use pyo3::exceptions::{PyBaseException, PyException, PyRuntimeError};
use pyo3::prelude::*;
use pyo3::{PyTraverseError, PyVisit, intern};

use crate::context::level::Shield;
use crate::context::{Inherited, inherited};
use crate::convert::error::internal;
use crate::convert::fail::Fail;
use crate::convert::note;
use crate::globals::{Begun, clock};
use crate::handle::Handle;
use crate::handle::backing::{Backing, Phase};
use crate::observe::log;
use crate::observe::watch;
use crate::observe::watchers;
use crate::policy::cache;
use crate::port::Port;
use crate::port::queue::RunWake;
use crate::python::free_list::{Idle, Reused};
use crate::python::type_slots::{Step, Steps};
use crate::run::leaf::{PyLeaf, Resume};
use crate::run::slow;
use crate::scope;

type Ended = Result<Py<PyAny>, Fail>;
/// Touched through `&mut` alone, which makes it `Sync`.
struct Engine(Pin<Box<dyn Future<Output = Ended> + Send>>);
// SAFETY: there is no way to the future through a shared reference.
unsafe impl Sync for Engine {}

/// The waker of one poll: it becomes a `RunWake` only if the engine keeps it. A call that ends at once never does.
struct LazyWake(RefCell<Option<Arc<RunWake>>>);

impl LazyWake {
    const VTABLE: RawWakerVTable = RawWakerVTable::new(Self::clone, Self::wake, Self::wake, |_| ());

    /// # Safety
    /// `data` is the `LazyWake` on the stack of the poll that lent this waker.
    unsafe fn made(data: *const ()) -> Arc<RunWake> {
        // SAFETY: as above.
        let lazy = unsafe { &*data.cast::<LazyWake>() };
        lazy.0.borrow_mut().get_or_insert_with(RunWake::new).clone()
    }

    /// # Safety
    /// As in `made`.
    unsafe fn clone(data: *const ()) -> RawWaker {
        // SAFETY: by the contract.
        let waker = ManuallyDrop::new(Waker::from(unsafe { Self::made(data) }));
        RawWaker::new(waker.data(), waker.vtable())
    }

    /// # Safety
    /// As in `made`.
    unsafe fn wake(data: *const ()) {
        // SAFETY: by the contract.
        unsafe { Self::made(data) }.wake();
    }
}

struct Leaving {
    cancel: Py<PyBaseException>,
    shield: Option<Shield>,
}

#[pyclass(freelist = 1024, weakref, module = "mountain_runtime._native")]
pub(crate) struct Run {
    leaf: Option<Arc<PyLeaf>>,
    engine: Option<Engine>,
    wake: Option<Arc<RunWake>>,
    /// Known from the first wait on.
    port: Option<Py<Port>>,
    park: Option<Py<Handle>>,
    started: bool,
    /// A cancel that came while it waits for the end of its flight: it is raised then.
    cancelled: Option<Box<Leaving>>,
    /// From its first wait on, which counts it as started: what never waits cannot be seen running.
    begun: Option<Begun>,
    /// When it began, and when its last step did.
    began: Option<Ticks>,
    step: Option<Ticks>,
}

impl Reused for Run {
    const MOST: usize = 1024;

    fn idle() -> &'static Idle {
        static IDLE: Idle = Idle::new();
        &IDLE
    }
}

impl Run {
    pub(crate) fn new(leaf: PyLeaf) -> Self {
        Run {
            leaf: Some(Arc::new(leaf)),
            engine: None,
            wake: None,
            port: None,
            park: None,
            started: false,
            cancelled: None,
            begun: None,
            began: None,
            step: None,
        }
    }

    fn poll(&mut self) -> Poll<Ended> {
        let Some(engine) = self.engine.as_mut() else { return Poll::Pending };
        let lazy = LazyWake(RefCell::new(self.wake.take()));
        // SAFETY: the vtable's functions accept this data, which outlives the poll; clones do not refer to it.
        let waker = ManuallyDrop::new(unsafe { Waker::from_raw(RawWaker::new((&raw const lazy).cast(), &LazyWake::VTABLE)) });
        let polled = catch_unwind(AssertUnwindSafe(|| engine.0.as_mut().poll(&mut Context::from_waker(&waker))));
        self.wake = lazy.0.into_inner();
        if let (Some(wake), Ok(Poll::Pending)) = (&self.wake, &polled) {
            self.bind(wake);
        }
        polled.unwrap_or_else(|payload| {
            // SAFETY: as in `bind`.
            let py = unsafe { Python::assume_attached() };
            let name = self.leaf.as_ref().map_or_else(String::new, |l| l.plan.get().name.clone());
            let Error::Panic(what) = Error::panic(&*payload) else { unreachable!() };
            Poll::Ready(Err(Fail::Raised(internal(py, &name, &what), Class::Passes)))
        })
    }

    /// The waker that the engine keeps wakes this run through the loop that it runs on.
    fn bind(&self, wake: &Arc<RunWake>) {
        if wake.is_bound() {
            return;
        }
        // SAFETY: polls happen on attached threads only.
        let py = unsafe { Python::assume_attached() };
        // A suspended leaf knows its loop: cheaper to ask than the thread.
        let port = match self.leaf.as_ref().and_then(|l| l.event_loop(py)) {
            Some(event_loop) => Port::of(&event_loop),
            None => Port::current(py),
        };
        // No loop runs: the poll's caller is about to say so.
        if let Ok(port) = port {
            wake.bind(&port.get().shared);
        }
    }

    /// The first step: is it admitted, is there time left, is the value there already; then the engine.
    fn begin(&mut self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        let Some(leaf) = self.leaf.clone() else { return Err(used_up()) };
        self.started = true;
        let plan = leaf.plan.get();
        if let Err(e) = scope::admit(py, &plan.name) {
            plan.parts.count(Count::Rejected);
            return Err(e);
        }
        let Inherited { over, watch, source } = inherited(py)?;
        if let Some(source) = source {
            leaf.inherits(py, source);
        }
        self.began = self.step;
        if over.owner == Owner::Inherited && clock().now() >= over.at {
            let e = leaf.error(py, Fail::timed_out(TimedOut { owner: Owner::Inherited, attempts: 0, cause: None }));
            plan.tally.count(Count::Started);
            plan.count_error(py, &e, 0);
            return Err(e);
        }
        if watch.is_some() {
            leaf.watched.store(true, Ordering::Relaxed);
        }
        let terms = leaf.terms(py).inspect_err(|e| {
            plan.tally.count(Count::Started);
            plan.count_error(py, e, 0);
        })?;
        if !plan.silent
            && watchers::any(|| plan.is_first())
            && let Some(watch) = watch::begin(py, plan, over)
        {
            let _ = leaf.watch.set(watch);
        }
        if plan.caches
            && leaf.watch.get().is_none()
            && let Some(value) = policy::at_hand(&plan.stack, &terms, clock())
        {
            return Ok(Some(cache::shared(py, &value).unbind()));
        }
        // No code of the user's has run since then.
        let began = self.step.filter(|_| !plan.stack.is_empty() && !plan.asks_python() && leaf.watch.get().is_none());
        let began = began.map(|began| clock().about(began));
        self.engine = Some(Engine(Box::pin(engine(leaf, clock(), terms, over, watch, began))));
        Ok(None)
    }

    fn advance<'py>(slf: &Bound<'py, Self>, resume: Resume) -> Step<'py> {
        let py = slf.py();
        let Ok(mut me) = slf.try_borrow_mut() else {
            return Step::Error(PyRuntimeError::new_err("this effect is already being awaited"));
        };
        if me.park.is_some() && matches!(resume, Resume::Send) {
            return Step::Error(PyRuntimeError::new_err(
                "this effect is already being awaited: await the effect itself to run it once more",
            ));
        }
        me.step = watchers::counting().then(|| clock().ticks());
        let park = me.park.take();
        if park.is_some() {
            Self::unpark(&me, slf);
        }
        if !me.started {
            if let Resume::Throw(e) = resume {
                me.leaf = None;
                return Step::Error(*e);
            }
            match me.begin(py) {
                Ok(None) => {}
                Ok(Some(value)) => return Self::ended(me, slf, Ok(value)),
                Err(e) => {
                    me.leaf = None;
                    return Step::Error(e);
                }
            }
        } else if me.engine.is_none() {
            return Step::Error(used_up());
        } else if let Some(Resume::Throw(e)) = me.leaf.as_ref().map_or(Some(Resume::No), |l| l.resume(py, resume)) {
            // Nothing of Python's is running: what the engine holds is let go, and the exception goes through.
            // The last one who waits for a flight sees its end before.
            let stays = e.is_instance_of::<CancelledError>(py) && me.leaf.as_ref().is_some_and(|l| l.trace.awaits.cancel());
            if !stays {
                return Self::gives_up(me, slf, *e);
            }
            if let Err(e) = me.keep_cancel(e.into_value(py).into_bound(py)) {
                return Self::gives_up(me, slf, e);
            }
        }
        let polled = me.poll();
        if me.cancelled.is_some()
            && (polled.is_ready() || me.leaf.as_ref().is_some_and(|l| l.trace.awaits.has_ended()))
            && let Some(leaving) = me.cancelled.take()
        {
            let Leaving { cancel, shield } = *leaving;
            let step = Self::gives_up(me, slf, PyErr::from_value(cancel.into_bound(py).into_any()));
            return shield.map_or(Ok(()), |shield| shield.exit(py)).map_or_else(Step::Error, |()| step);
        }
        match polled {
            Poll::Ready(result) => Self::ended(me, slf, result),
            Poll::Pending => match Self::pending(&mut me, slf) {
                Ok((yielded, owed)) => {
                    let took = me.step.map_or(0, |step| clock().took(step));
                    let leaf = if took > slow::NOTICED { me.leaf.clone() } else { None };
                    drop(me);
                    if let Some(leaf) = leaf {
                        slow::step(py, &leaf.plan.get().name, leaf.trace.attempts().max(1), took);
                    }
                    // Its time passed within the task's own step, as with `Timeout(0)`.
                    match owed.map(|task| task.call_method0(py, intern!(py, "cancel"))) {
                        Some(Err(e)) => Step::Error(e),
                        _ => Step::Yield(yielded),
                    }
                }
                Err(e) => Self::ended(me, slf, Err(Fail::raised(py, e))),
            },
        }
    }

    /// Of several cancels the first that has a message is raised: that of a limit around this effect has none.
    fn keep_cancel(&mut self, e: Bound<'_, PyBaseException>) -> PyResult<()> {
        let says_why =
            |e: &Bound<'_, PyBaseException>| e.getattr(intern!(e.py(), "args")).and_then(|args| args.len()).is_ok_and(|n| n > 0);
        if let Some(leaving) = &mut self.cancelled
            && leaving.shield.is_none()
        {
            leaving.shield = Shield::enter(e.py())?;
        }
        match &mut self.cancelled {
            Some(leaving) if says_why(leaving.cancel.bind(e.py())) || !says_why(&e) => {}
            Some(leaving) => leaving.cancel = e.unbind(),
            none => *none = Some(Box::new(Leaving { shield: Shield::enter(e.py())?, cancel: e.unbind() })),
        }
        Ok(())
    }

    /// Lets go of what the engine holds, and ends with `e`.
    fn gives_up<'py>(mut me: PyRefMut<'py, Self>, slf: &Bound<'py, Self>, e: PyErr) -> Step<'py> {
        let engine = me.engine.take();
        let step = Self::ended(me, slf, Err(Fail::raised(slf.py(), e)));
        drop(engine);
        step
    }

    /// What to yield while the engine waits, and the task that is to be cancelled.
    fn pending<'py>(me: &mut PyRefMut<'py, Self>, slf: &Bound<'py, Self>) -> PyResult<(Bound<'py, PyAny>, Option<Py<PyAny>>)> {
        let py = slf.py();
        if me.begun.is_none() {
            me.begun = Some(Begun::now());
            if let (Some(leaf), Some(_)) = (&me.leaf, me.began) {
                leaf.plan.get().tally.count(Count::Started);
            }
        }
        if let Some((yielded, owed)) = me.leaf.as_ref().and_then(|l| l.take_yielded(py)) {
            if let Some(wake) = &me.wake {
                // SAFETY: see the drop of `Run`.
                unsafe { wake.waits(slf.as_any()) }?;
            }
            return Ok((yielded.into_bound(py), owed));
        }
        let port = if let Some(port) = &me.port {
            port.bind(py).clone()
        } else {
            let port = Port::current(py)?;
            me.port = Some(port.clone().unbind());
            port
        };
        let park = Handle::new(&port, None, Backing::Parked)?;
        let Step::Yield(yielded) = Handle::step(&park) else { unreachable!("a new handle is pending") };
        me.park = Some(park.unbind());
        port.get().park(slf.as_any());
        match &me.wake {
            // SAFETY: see the drop of `Run`.
            Some(wake) => unsafe { wake.waits(slf.as_any()) }?,
            None => return Err(PyRuntimeError::new_err("an effect waits for nothing: this is a bug in mountain-runtime")),
        }
        Ok((yielded, None))
    }

    fn unpark(me: &PyRefMut<'_, Self>, slf: &Bound<'_, Self>) {
        if let Some(port) = &me.port {
            port.get().unpark(slf.as_any());
        }
    }

    fn ended<'py>(mut me: PyRefMut<'py, Self>, slf: &Bound<'py, Self>, result: Ended) -> Step<'py> {
        let py = slf.py();
        if me.park.take().is_some() {
            Self::unpark(&me, slf);
        }
        if let Some(wake) = me.wake.take() {
            wake.gone();
        }
        // One that has never waited ends in its first step.
        let first = me.begun.take().is_none();
        let (engine, leaf, began, step) = (me.engine.take(), me.leaf.take(), me.began, me.step);
        // What is dropped here may run user code, which may look at this run.
        drop(me);
        drop(engine);
        let Some(leaf) = leaf else { return Step::Error(used_up()) };
        log::hand_over(py);
        let plan = leaf.plan.get();
        let attempts = leaf.trace.attempts();
        plan.count_attempts(attempts);
        if leaf.trace.degraded.load(Ordering::Relaxed) {
            plan.parts.count(Count::Degraded);
        }
        let (took, stepped) = match (began, step) {
            (Some(began), Some(step)) => {
                let clock = clock();
                let now = clock.ticks();
                let took = clock.between(began, now);
                (took, if first { took } else { clock.between(step, now) })
            }
            _ => (0, 0),
        };
        if stepped > slow::NOTICED {
            slow::step(py, &plan.name, attempts.max(1), stepped);
        }
        match result {
            Ok(v) => {
                match began {
                    Some(_) if first => plan.tally.began_and_ended(Count::Succeeded, took),
                    Some(_) => plan.tally.ended(Count::Succeeded, took),
                    None => {}
                }
                if let Some(watch) = leaf.watch.get() {
                    watch.ended(py, None, clock().now());
                }
                Step::Return(v.into_bound(py))
            }
            Err(fail) => {
                let e = leaf.error(py, fail);
                let value = e.value(py);
                if first {
                    plan.tally.count(Count::Started);
                }
                plan.count_error(py, &e, took);
                if let Some(watch) = leaf.watch.get() {
                    watch.ended(py, Some(value), clock().now());
                }
                if attempts > 1 && value.is_instance_of::<PyException>() {
                    note::attempts(value, &plan.name, attempts);
                }
                Step::Error(e)
            }
        }
    }

    /// In a drain: this run was woken.
    pub(crate) fn woken(slf: &Bound<'_, Self>, direct: bool) -> PyResult<()> {
        let py = slf.py();
        let Ok(mut me) = slf.try_borrow_mut() else {
            // Its task is in the middle of a step, which will see for itself; or somebody looks at it: then again, a moment later.
            if let Some(wake) = slf.try_borrow().ok().and_then(|me| me.wake.clone()) {
                wake.wake();
            }
            return Ok(());
        };
        if let Some(park) = me.park.take() {
            Self::unpark(&me, slf);
            drop(me);
            return Handle::resolve(park.bind(py), Phase::Value(py.None()), direct);
        }
        // Unparked a moment ago, by another wake: its task's step is due, and Python's code may only start there.
        if !me.leaf.as_ref().is_some_and(|l| l.active()) {
            return Ok(());
        }
        if me.poll().is_ready() {
            // The engine ends only when its leaf has, and that happens in the task's step.
            return Err(PyRuntimeError::new_err("an effect ended outside its task: this is a bug in mountain-runtime"));
        }
        let owed = me.leaf.as_ref().and_then(|l| l.owes_cancel(py));
        drop(me);
        if let Some(task) = owed {
            task.call_method0(py, intern!(py, "cancel"))?;
        }
        Ok(())
    }

    /// The loop is closed: give back what the engine holds. The task will never run again.
    pub(crate) fn reap(slf: &Bound<'_, Self>) {
        let Ok(mut me) = slf.try_borrow_mut() else { return };
        if let Some(wake) = me.wake.take() {
            wake.gone();
        }
        let gone = (me.engine.take(), me.park.take(), me.begun.take());
        drop(me);
        drop(gone);
    }
}

impl Steps for Run {
    fn step<'py>(slf: &Bound<'py, Self>) -> Step<'py> {
        Self::advance(slf, Resume::Send)
    }
}

async fn engine(
    leaf: Arc<PyLeaf>,
    clock: &'static Arc<Clock>,
    terms: Terms,
    over: Deadline,
    watch: Option<Instant>,
    began: Option<Instant>,
) -> Ended {
    let observer = leaf.watch.get().and_then(|watch| watch.observer()).map(|observer| &**observer);
    let call = Call::new(&*leaf, clock, &leaf.trace, &terms).observed(observer).began(began);
    let stack = &leaf.plan.get().stack;
    if stack.is_empty() && watch.is_none() {
        return call_leaf(&call, Around::call(&terms, over)).await;
    }
    policy::run(&call, stack, over, watch).await
}

fn used_up() -> PyErr {
    PyRuntimeError::new_err("cannot reuse an already awaited effect iterator")
}

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
        let e = PyErr::from_value(val.filter(|v| !v.is_none()).unwrap_or(typ));
        Self::advance(slf, Resume::Throw(Box::new(e))).into_next()
    }

    /// Close the coroutine, so that its `finally` runs, then let go of what the engine holds.
    fn close(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let Ok(mut me) = slf.try_borrow_mut() else { return Err(PyRuntimeError::new_err("this effect is running")) };
        let (leaf, engine, park) = (me.leaf.take(), me.engine.take(), me.park.take());
        if park.is_some() {
            Self::unpark(&me, slf);
        }
        if let Some(wake) = me.wake.take() {
            wake.gone();
        }
        me.begun = None;
        let (was_running, began) = (me.started && engine.is_some(), me.began);
        me.started = true;
        drop(me);
        let mut result = Ok(());
        if let Some(leaf) = &leaf {
            if let Some(coroutine) = leaf.take_coroutine(py)
                && let Some(close) = coroutine.bind(py).getattr_opt(intern!(py, "close"))?
            {
                result = close.call0().map(|_| ());
            }
            if was_running {
                leaf.plan.get().tally.ended(Count::Cancelled, began.map_or(0, |began| clock().took(began)));
                if let Some(watch) = leaf.watch.get() {
                    watch.ended(py, Some(CancelledError::new_err(()).value(py)), clock().now());
                }
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
    /// What it waits for: the coroutine of its leaf, or the handle that it is parked on.
    #[getter]
    fn cr_await(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        let leaf = self.leaf.as_ref().and_then(|l| l.coroutine(py));
        leaf.or_else(|| self.park.as_ref().map(|p| p.clone_ref(py).into_any()))
    }
    /// For a dump: its name, seconds since it began, what it does, at which policy, and in which attempt. None while it is in its step.
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
        // The leaf is shared with the engine, which is ours: its references are counted once.
        if let Some(leaf) = &self.leaf {
            leaf.traverse(&visit)?;
        }
        Ok(())
    }

    fn __clear__(&mut self) {
        let leaf = self.leaf.take();
        drop((self.engine.take(), self.park.take(), self.port.take(), self.cancelled.take()));
        if let Some(leaf) = leaf {
            leaf.clear();
        }
    }
}

impl Drop for Run {
    /// What holds the waker may outlive the run: the waker forgets it, before anything else is done.
    fn drop(&mut self) {
        if let Some(wake) = &self.wake {
            wake.gone();
        }
    }
}
