//! The end of a run: it lets go of what it holds, is counted, and tells its watch.

use std::sync::atomic::Ordering;

use mountain_core::observe::Count;
use pyo3::exceptions::PyException;
use pyo3::prelude::*;

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
        // One that has never waited ends in its first step.
        let first = me.begun.take().is_none();
        let (engine, leaf, began, step) = (me.engine.take(), me.leaf.take(), me.began, me.step);
        // These drops may run user code, which may look at this run.
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
}
