//! A stream's run between two pulls: the engine is polled without a step of the generator, and the ender is started.

use std::sync::Arc;
use std::task::Poll;

use pyo3::prelude::*;

use crate::globals::clock;
use crate::observe::watchers;
use crate::port::queue::RunWake;
use crate::python::api::api;
use crate::python::type_slots::Step;
use crate::run::leaf::PyLeaf;
use crate::run::pulls::Closing;
use crate::run::run::Run;
use crate::run::suspended::Resume;

impl Run {
    /// It has begun, and has ended.
    pub(crate) fn is_over(slf: &Bound<'_, Self>) -> bool {
        slf.try_borrow().is_ok_and(|me| me.started && me.engine.is_none())
    }

    /// An item is out: the run can be found between two pulls, by a wake and by a loop that is closed.
    pub(super) fn rests(me: &mut PyRefMut<'_, Self>, slf: &Bound<'_, Self>) -> PyResult<()> {
        let holds = me.leaf.as_ref().is_some_and(|leaf| leaf.plan.get().takes_terms());
        let wake = match &me.wake {
            Some(wake) => wake.clone(),
            None if holds => me.wake.insert(RunWake::new()).clone(),
            None => return Ok(()),
        };
        if holds {
            me.bind(&wake);
            wake.list();
        }
        // SAFETY: see the drop of `Run`.
        unsafe { wake.waits(slf.as_any()) }
    }

    /// A pull has taken its first step: the engine looks at what came of it.
    pub(crate) fn look<'py>(slf: &Bound<'py, Self>) -> Step<'py> {
        let mut me = match slf.try_borrow_mut() {
            Ok(me) => me,
            Err(e) => return Step::Error(e.into()),
        };
        me.step = watchers::counting().then(|| clock().ticks());
        let polled = me.poll();
        Self::answer(me, slf, polled)
    }

    /// A pull begins after a deadline. `None`: the deadline is not the engine's to act on, and the pull goes on.
    pub(crate) fn look_at_time<'py>(slf: &Bound<'py, Self>) -> Option<Step<'py>> {
        let py = slf.py();
        let mut me = match slf.try_borrow_mut() {
            Ok(me) => me,
            Err(e) => return Some(Step::Error(e.into())),
        };
        me.step = watchers::counting().then(|| clock().ticks());
        if let Poll::Ready(result) = me.poll() {
            return Some(Self::ended(me, slf, result));
        }
        let leaf = me.leaf.clone()?;
        drop(me);
        if !leaf.is_to_close(py) {
            return None;
        }
        leaf.close(py, Closing::Stopped);
        Some(Self::advance(slf, Resume::Send))
    }

    /// The time of a stream is up, and its consumer does not pull: a task of its own closes it.
    pub(crate) fn start_ender(slf: &Bound<'_, Self>, leaf: &Arc<PyLeaf>) -> PyResult<()> {
        let py = slf.py();
        let ender = api(py).end_stream.bind(py).call1((slf, leaf.opener(py)))?;
        leaf.ends_by(py, ender.unbind());
        Ok(())
    }
}
