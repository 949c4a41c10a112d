//! The context that a call inherits from the code that starts it: the deadline around it, its priority, the permits
//! held, and the flight that it is part of.

use std::cell::Cell;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mountain_core::effect::{Deadline, Flight, Holder, PermitContext, Submitted, enforced_at};
use mountain_core::error::Owner;
use mountain_core::schedule::Priority;
use mountain_core::time::Instant;
use pyo3::prelude::*;
use pyo3::types::PyInt;

use crate::context::current::{current_task, eager_task};
use crate::context::deadline_source::DeadlineSource;
use crate::context::inherited_deadline::InheritedDeadline;
use crate::context::permit_context::PyPermitContext;
use crate::context::vars::{get, priority_var};

/// The earliest deadline over a leaf, and how to find out where it comes from.
#[derive(Clone, Copy)]
pub(crate) struct Over<'a> {
    pub(crate) at: Instant,
    pub(crate) source: Option<&'a dyn Fn() -> Option<DeadlineSource>>,
}

impl Over<'_> {
    pub(crate) const NONE: Over<'static> = Over { at: Instant::NEVER, source: None };
}

thread_local! {
    /// The deadline over the leaf that this thread steps now, and the task in which it runs (`eager_task`). It holds
    /// for all that starts within the step, but in another task: one that the leaf makes on an eager loop takes its
    /// first step within the leaf's.
    static OVER: Cell<(Over<'static>, usize)> = const { Cell::new((Over::NONE, 0)) };
    /// The permits that the leaf's call holds, and the task, likewise.
    static HELD: Cell<Option<(NonNull<Holder<'static>>, usize)>> = const { Cell::new(None) };
}

/// Runs `step` under that deadline, and under those permits, if the call holds any.
pub(crate) fn under<T>(py: Python<'_>, over: Over<'_>, holder: Option<&Holder<'_>>, step: impl FnOnce() -> T) -> T {
    struct Restore((Over<'static>, usize));
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
    // No deadline and no permit is any task's: most calls need not ask for theirs.
    let task = if over.at == Instant::NEVER && holder.is_none() { 0 } else { eager_task(py) };
    // SAFETY: read within the step only and restored after it, also in a panic; `over` lives longer.
    let _restore = Restore(OVER.replace((unsafe { std::mem::transmute::<Over<'_>, Over<'static>>(over) }, task)));
    // Read within the step only and restored after it, likewise.
    let _let = holder.map(|holder| Let(HELD.replace(Some((NonNull::from(holder).cast(), task)))));
    step()
}

/// The deadline over the step, if it is this task's.
fn over(py: Python<'_>) -> Over<'static> {
    let (over, task) = OVER.get();
    if over.at == Instant::NEVER || task == eager_task(py) { over } else { Over::NONE }
}

/// Set once any code had a priority: until then a call does not pay for looking it up.
static PRIORITIES: AtomicBool = AtomicBool::new(false);

/// From now on a call looks up the priority of the code that starts it.
#[pyfunction]
pub(crate) fn has_priorities() {
    PRIORITIES.store(true, Ordering::Relaxed);
}

/// The priority of the current code.
pub(crate) fn priority(py: Python<'_>) -> PyResult<Priority> {
    if !PRIORITIES.load(Ordering::Relaxed) {
        return Ok(Priority::default());
    }
    let set = get::<PyInt>(priority_var(py)?)?;
    let number = set.map(|set| set.extract::<usize>()).transpose()?;
    Ok(number.and_then(|n| Priority::ALL.get(n).copied()).unwrap_or_default())
}

/// The permits that are held, and the flight.
type Waiting = (Option<Arc<PermitContext>>, Option<Arc<Flight>>);

/// The permits that wait for the current code, and the flight that this task runs. The permits are those of the call
/// that is stepped now or of a block in this very task, whichever is further in. They do not wait for work that their
/// holder starts and does not await.
pub(crate) fn held_and_flight(py: Python<'_>) -> PyResult<Waiting> {
    // SAFETY: `under` keeps the holder for as long as the step lasts, and this runs within the step.
    let call = HELD.get().filter(|(_, task)| *task == eager_task(py)).map(|(holder, _)| unsafe { holder.as_ref() }.held());
    let Some(permit_context) = PyPermitContext::find(py)? else { return Ok((call, None)) };
    let permit_context = permit_context.get();
    if !permit_context.is_of(&current_task(py)?) {
        return Ok((call, None));
    }
    let block = permit_context.held.as_ref().filter(|block| call.as_ref().is_none_or(|call| block.is_inside(call))).cloned();
    Ok((block.or(call), permit_context.flight.clone()))
}

/// The identity of work that is submitted here, if the current code holds something for which the work may come to
/// wait.
pub(crate) fn submitted(py: Python<'_>) -> PyResult<Option<Arc<PermitContext>>> {
    let (held, flight) = held_and_flight(py)?;
    Ok((held.is_some() || flight.is_some()).then(|| PermitContext::of_work(Submitted::new(flight.is_some()))))
}

/// The permits and the flight that wait for a thread's job made here, set in the job's `context`. None if there are
/// none.
pub(crate) fn permit_context_of_job(context: &Bound<'_, PyAny>) -> PyResult<Option<Py<PyPermitContext>>> {
    let (held, flight) = held_and_flight(context.py())?;
    if held.is_none() && flight.is_none() { Ok(None) } else { PyPermitContext::of_job(context, held, flight).map(Some) }
}

/// The permits and the flight that wait for the current code, for a child that the code awaits.
#[pyfunction]
pub(crate) fn current_permit_context(py: Python<'_>) -> PyResult<Option<PyPermitContext>> {
    let (held, flight) = held_and_flight(py)?;
    if held.is_none() && flight.is_none() { Ok(None) } else { PyPermitContext::new(py, held, flight).map(Some) }
}

/// The earliest deadline over the current code; None if there is none.
#[pyfunction]
pub(crate) fn current_deadline(py: Python<'_>) -> PyResult<Option<InheritedDeadline>> {
    let Inherited { over, source, .. } = inherited(py)?;
    if over.at == Instant::NEVER { Ok(None) } else { InheritedDeadline::of(py, over.at, source).map(Some) }
}

/// The deadline that holds for an effect that starts here.
pub(crate) struct Inherited {
    pub(crate) over: Deadline,
    /// When the effect acts on the deadline itself; None where this very task set it, and enforces it there.
    pub(crate) enforced_at: Option<Instant>,
    pub(crate) source: Option<DeadlineSource>,
}

/// The earlier of the deadline over the step and the one in the context.
pub(crate) fn inherited(py: Python<'_>) -> PyResult<Inherited> {
    let over = over(py);
    if let Some(inherited) = InheritedDeadline::find(py)? {
        let inherited = inherited.get();
        if inherited.at < over.at {
            let enforced = (!inherited.task.is(&current_task(py)?)).then(|| enforced_at(inherited.at));
            let over = Deadline { at: inherited.at, owner: Owner::Inherited };
            return Ok(Inherited {
                over,
                enforced_at: enforced,
                source: inherited.source.as_ref().map(|source| source.clone_ref(py)),
            });
        }
    }
    if over.at == Instant::NEVER {
        return Ok(Inherited { over: Deadline::NONE, enforced_at: None, source: None });
    }
    let source = over.source.and_then(|source| source());
    Ok(Inherited { over: Deadline { at: over.at, owner: Owner::Inherited }, enforced_at: None, source })
}
