//! A call of one item that is collected: with no policy of its own it needs no run and no task, and its handle is all.

use mountain_core::error::Owner;
use pyo3::prelude::*;
use pyo3::types::{PyList, PyTuple};

use crate::context::inherited_deadline::InheritedDeadline;
use crate::context::{Inherited, inherited};
use crate::convert::error::timed_out;
use crate::effect::{Effect, Work};
use crate::globals::clock;
use crate::handle::Handle;
use crate::handle::collector::Collector;
use crate::observe::call_record::CallRecord;
use crate::observe::watch;
use crate::observe::watchers;
use crate::plan::Plan;
use crate::scope;

impl Effect {
    /// The collector of this effect's calls, if it has no policies.
    #[inline]
    pub(super) fn collector<'a, 'py>(&'a self, py: Python<'py>) -> Option<(&'a Bound<'py, Collector>, &'a Bound<'py, PyTuple>)> {
        match &self.work {
            Work::Call { callable, args, .. } if self.plan.get().stack.is_empty() => {
                Some((callable.bind(py).cast_exact::<Collector>().ok()?, args.bind(py)))
            }
            _ => None,
        }
    }

    /// Begins one call. `None`: its deadline is another task's, which a run must enforce.
    pub(super) fn collect<'py>(
        &self,
        collector: &Bound<'py, Collector>,
        args: &Bound<'py, PyTuple>,
    ) -> PyResult<Option<Bound<'py, Handle>>> {
        let py = collector.py();
        let plan: &Bound<'py, Plan> = self.plan.bind(py);
        let Inherited { over, enforced_at, source } = inherited(py)?;
        if enforced_at.is_some() {
            return Ok(None);
        }
        scope::admit(py, plan.get()).inspect_err(|_| CallRecord::refused(plan.get()))?;
        let mut record = CallRecord::begins();
        if over.owner == Owner::Inherited && clock().now() >= over.at {
            let e = timed_out(py, plan.get(), Owner::Inherited, 0, None, || source.as_ref().map(|source| source.text(py)));
            record.failed_at_once(py, plan.get(), &e);
            return Err(e);
        }
        let limit = if over.owner == Owner::Inherited { Some(InheritedDeadline::of(py, over.at, source)?) } else { None };
        record.starts(plan.get());
        let watch = if watchers::any(|| plan.get().is_first()) { watch::begin(py, plan.get(), over) } else { None };
        if let Some(watch) = &watch {
            watch.enter(py, false);
        }
        let joined = collector.get().join(args, Some(plan.clone().unbind()), limit);
        if let Some(watch) = &watch {
            watch.leave(py);
        }
        match joined {
            Ok(handle) => {
                handle.get().counts(record, watch);
                Ok(Some(handle))
            }
            Err(e) => {
                record.failed(py, plan.get(), &e, 0, watch.as_deref().map(|watch| (watch, clock().now())));
                Err(e)
            }
        }
    }
}

/// Starts one run of `effect` without a task: `None` where it needs one.
#[pyfunction]
#[pyo3(signature = (effect, /))]
pub(crate) fn start_without_task<'py>(effect: &Bound<'py, Effect>) -> PyResult<Option<Bound<'py, Handle>>> {
    let me = effect.get();
    if me.is_native() {
        return me.start(effect.py()).map(Some);
    }
    let Some((collector, args)) = me.collector(effect.py()) else { return Ok(None) };
    me.mark_used();
    me.collect(collector, args)
}

/// Starts the effects, each as [`start_without_task`] does, and adds their handles to `started`, up to the first that
/// needs a task. One that cannot start leaves those before it to the caller.
#[pyfunction]
#[pyo3(signature = (effects, started, /))]
pub(crate) fn start_without_tasks(effects: &Bound<'_, PyList>, started: &Bound<'_, PyList>) -> PyResult<()> {
    for effect in effects {
        let Some(handle) = start_without_task(effect.cast::<Effect>()?)? else { break };
        started.append(handle)?;
    }
    Ok(())
}
