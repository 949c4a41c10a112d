//! The end of a run: it lets go of what it holds, and its record ends.

use mountain_core::observe::Event;
use pyo3::exceptions::PyException;
use pyo3::prelude::*;

use crate::convert::fail::{Fail, RAISED_STOP, no_stop};
use crate::convert::note;
use crate::globals::clock;
use crate::observe::log;
use crate::python::type_slots::Step;
use crate::run::run::{Ended, Run, used_up};
use crate::run::slow;

impl Run {
    pub(super) fn ended<'py>(mut me: PyRefMut<'py, Self>, slf: &Bound<'py, Self>, result: Ended) -> Step<'py> {
        let py = slf.py();
        if me.park.take().is_some() {
            Self::unpark(&me, slf);
        }
        if let Some(wake) = me.wake.take() {
            wake.gone();
        }
        let record = std::mem::take(&mut me.record);
        let (engine, leaf, began, step) = (me.engine.take(), me.leaf.take(), me.began, me.step);
        // These drops may run user code, which may look at this run.
        drop(me);
        drop(engine);
        let Some(leaf) = leaf else { return Step::Error(used_up()) };
        log::hand_over(py);
        let plan = leaf.plan.get();
        let attempts = leaf.trace.attempts();
        plan.count_attempts(attempts);
        if let Some(layer) = leaf.trace.stood_in() {
            plan.count_stand_in(layer);
        }
        // Counting may have been switched since it began: then one of the two is not known.
        let (took, stepped) = match (began, step) {
            (Some(began), Some(step)) => {
                let clock = clock();
                let now = clock.ticks();
                let took = clock.between(began, now);
                (took, if record.in_first_step() { took } else { clock.between(step, now) })
            }
            (began, step) => (began.map_or(0, |began| clock().took(began)), step.map_or(0, |step| clock().took(step))),
        };
        if stepped > slow::NOTICED {
            slow::step(py, &plan.name, attempts.max(1), stepped);
        }
        if let Some(items) = leaf.ends_items(py)
            && let Some(watch) = leaf.watch.get()
        {
            watch.tell(Event::Items(items));
            if matches!(result, Err(Fail::Left)) {
                watch.tell(Event::Left);
            }
        }
        let watched = leaf.watch.get().map(|watch| (&**watch, clock().now()));
        match result {
            Ok(v) => {
                record.succeeded(py, plan, took, watched);
                Step::Return(v.into_bound(py))
            }
            Err(Fail::Left) => {
                record.succeeded(py, plan, took, watched);
                Step::Return(py.None().into_bound(py))
            }
            Err(fail) => {
                let e = leaf.error(py, fail);
                let value = e.value(py);
                record.failed(py, plan, &e, took, watched);
                if attempts > 1 && value.is_instance_of::<PyException>() {
                    note::attempts(value, plan, attempts);
                }
                Step::Error(no_stop(py, e, RAISED_STOP))
            }
        }
    }
}
