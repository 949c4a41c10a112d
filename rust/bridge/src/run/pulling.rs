//! The pulls of a stream: its leaf calls the function once, and drives the generator that this gives from pull to pull,
//! in the consumer's own task and context.
//!
//!  1. The first pull begins the call inside the policies. An item that comes out ends the pull, and not the call: to
//!     the engine the leaf is pending.
//!  2. A later pull takes its first step without the engine. An item that comes at once is returned; a pull that
//!     suspends has the engine polled, which arms its timers; the end of the generator is handed to the engine as the
//!     leaf's.
//!  3. Asked to stop in a pull, the leaf has the task cancelled, as that of any call. A generator that answers with an
//!     item is closed.
//!  4. Asked to stop between two pulls, it is closed by the next pull, or by the *ender*, a task that the drain starts
//!     for it.
//!
//! One task at a time drives the generator: another one that comes waits, or is refused.

use std::sync::atomic::Ordering;

use mountain_core::effect::{Deadline, Holder};
use mountain_core::time::Instant;
use pyo3::exceptions::PyStopAsyncIteration;
use pyo3::intern;
use pyo3::prelude::*;

use crate::context::Over;
use crate::context::under;
use crate::globals::clock;
use crate::run::async_iter::next_of;
use crate::run::deeper::Deeper;
use crate::run::leaf::PyLeaf;
use crate::run::pulls::Closing;
use crate::run::pulls::Phase;
use crate::run::pulls::Pull;
use crate::run::pulls::Source;
use crate::run::suspended::Resume;

impl PyLeaf {
    /// The first step of a pull, if none is under way.
    pub(crate) fn pull(&self, py: Python<'_>) -> Pull {
        let (source, over, held, now) = {
            let mut s = self.state.lock(py);
            let s = &mut *s;
            let Some(pulls) = s.pulls.as_deref_mut() else { return Pull::Ended };
            match pulls.phase {
                Phase::Between if pulls.leaves => return Pull::Closing(None),
                Phase::Between => {}
                Phase::New => {
                    pulls.phase = Phase::Pulling;
                    pulls.since = pulls.idles.then(|| clock().about_now());
                    return Pull::First;
                }
                Phase::Pulling => return Pull::Busy(pulls.task),
                Phase::Closing => return Pull::Closing(pulls.ender.as_ref().map(|ender| ender.clone_ref(py))),
                Phase::Lost => {
                    pulls.phase = Phase::Ended;
                    return Pull::Lost;
                }
                Phase::Ended => return Pull::Ended,
            }
            pulls.phase = Phase::Pulling;
            let timed = s.over.at != Instant::NEVER || pulls.idles;
            let now = timed.then(|| clock().about_now());
            if s.stop || now.is_some_and(|now| now >= s.over.at) {
                return Pull::Due;
            }
            let Source::Iterator(source) = &pulls.source else {
                pulls.met = Some(Err(PyStopAsyncIteration::new_err(())));
                return Pull::Look;
            };
            (source.clone_ref(py), s.over, s.held.clone(), now)
        };
        self.first_step(py, &source, over, held.map(Holder::from).as_ref(), now)
    }

    /// The first step of a later pull, though its time may be up: the engine has looked.
    pub(crate) fn pull_on(&self, py: Python<'_>) -> Pull {
        let (source, over, held) = {
            let mut s = self.state.lock(py);
            let s = &mut *s;
            let Some(pulls) = s.pulls.as_deref_mut() else { return Pull::Ended };
            let Source::Iterator(source) = &pulls.source else {
                pulls.met = Some(Err(PyStopAsyncIteration::new_err(())));
                return Pull::Look;
            };
            (source.clone_ref(py), s.over, s.held.clone())
        };
        self.first_step(py, &source, over, held.map(Holder::from).as_ref(), None)
    }

    fn first_step(
        &self,
        py: Python<'_>,
        source: &Py<PyAny>,
        over: Deadline,
        holder: Option<&Holder<'_>>,
        now: Option<Instant>,
    ) -> Pull {
        if let Some(watch) = self.watch.get() {
            watch.enter(py, false);
        }
        let step = || -> PyResult<_> {
            let _deeper = Deeper::new(py)?;
            let next = next_of(source.bind(py))?;
            Ok((Self::step(py, &next, Resume::Send)?, next))
        };
        let by = || self.deadline_source(py, over.owner);
        let met = match under(py, Over { at: over.at, source: Some(&by) }, holder, step) {
            Ok((Ok(item), _)) => {
                if let Some(pulls) = self.state.lock(py).pulls.as_deref_mut() {
                    pulls.phase = Phase::Between;
                    if let Some(figures) = &mut pulls.figures {
                        figures.item();
                    }
                }
                if let Some(watch) = self.watch.get() {
                    watch.leave(py);
                }
                return Pull::Item(item);
            }
            Ok((Err(yielded), next)) => self.suspends(py, next, yielded, over, holder, now),
            Err(e) => Err(e),
        };
        if let Err(e) = met {
            self.with(py, |_, pulls| pulls.met = Some(Err(e)));
        }
        Pull::Look
    }

    /// The generator waits. The task is noted in each pull that does, as pulls may come from one task after another.
    pub(super) fn suspends(
        &self,
        py: Python<'_>,
        coroutine: Py<PyAny>,
        yielded: Py<PyAny>,
        over: Deadline,
        holder: Option<&Holder<'_>>,
        since: Option<Instant>,
    ) -> PyResult<()> {
        let noted = if self.may_be_stopped.load(Ordering::Relaxed) && self.state.lock(py).cancels.is_none() {
            let noted = Self::note_task(py).inspect_err(|_| {
                // The generator cleans up first. An error of that is dropped: there is a reason already.
                let _ = coroutine.call_method0(py, intern!(py, "close"));
            })?;
            Some(noted)
        } else {
            None
        };
        let replaced = self.with(py, |s, pulls| {
            if let Some((event_loop, cancels)) = noted {
                (s.event_loop, s.cancels) = (Some(event_loop), Some(cancels));
            }
            if pulls.idles && pulls.since.is_none() && pulls.closing == Closing::No {
                pulls.since = since.or_else(|| Some(clock().about_now()));
            }
            if let Some(figures) = &mut pulls.figures {
                figures.say();
            }
            (s.over, s.held) = (over, holder.map(Holder::held));
            (s.coroutine.replace(coroutine), s.yielded.replace(yielded))
        });
        drop(replaced);
        Ok(())
    }
}
