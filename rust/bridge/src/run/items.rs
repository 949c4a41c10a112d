//! The engine's polls of a stream's leaf: the generator's beginning, its steps, and its close.

use std::task::Poll;

use mountain_core::effect::{Begin, Class, Deadline, Holder};
use mountain_core::observe::Event;
use pyo3::exceptions::{PyStopAsyncIteration, PyTypeError};
use pyo3::intern;
use pyo3::prelude::*;

use crate::context::{Over, under};
use crate::convert::fail::{Fail, no_stop};
use crate::run::async_iter::awaited;
use crate::run::async_iter::close_of;
use crate::run::async_iter::iterator_of;
use crate::run::async_iter::next_of;
use crate::run::deeper::Deeper;
use crate::run::driving::is_old_coroutine;
use crate::run::leaf::PyLeaf;
use crate::run::pulls::{Closing, Phase, Source};
use crate::run::suspended::Resume;

/// The next thing that a poll does that begins no call.
enum Next {
    Nothing,
    /// The end that was met outside of the engine.
    Met(PyResult<()>),
    Step(Py<PyAny>, Resume),
}

impl PyLeaf {
    /// One poll of the engine's: `begin` calls the function, or the fallback that stands in.
    pub(super) fn poll_items(&self, py: Python<'_>, begin: Option<Begin<'_>>) -> Poll<Result<Py<PyAny>, Fail>> {
        if let Some(begin) = begin {
            return self.begin_items(py, begin);
        }
        let (next, over, held) = self.with(py, |s, pulls| {
            let next = match (pulls.met.take(), &s.resume) {
                (Some(met), _) => Next::Met(met),
                (None, Resume::No) => Next::Nothing,
                (None, _) => match s.coroutine.take() {
                    Some(coroutine) => Next::Step(coroutine, std::mem::take(&mut s.resume)),
                    None => Next::Nothing,
                },
            };
            (next, s.over, s.held.clone())
        });
        match next {
            Next::Nothing => Poll::Pending,
            Next::Met(met) => Poll::Ready(self.source_over(py, met)),
            Next::Step(coroutine, resume) => self.drive(py, coroutine, resume, over, held.map(Holder::from).as_ref()),
        }
    }

    fn begin_items(&self, py: Python<'_>, begin: Begin<'_>) -> Poll<Result<Py<PyAny>, Fail>> {
        let (Begin::Call(around) | Begin::Instead(around)) = begin;
        let by = || self.deadline_source(py, around.over.owner);
        let made = under(py, Over { at: around.over.at, source: Some(&by) }, around.held, || match begin {
            Begin::Call(_) => self.open(py).map(Some),
            Begin::Instead(_) => self.open_instead(py),
        });
        match made {
            Ok(Some(next)) => self.drive(py, next, Resume::Send, around.over, around.held),
            Ok(None) => {
                let held = around.held.map(Holder::held);
                self.with(py, |s, _| (s.over, s.held) = (around.over, held));
                Poll::Pending
            }
            Err(e) => Poll::Ready(self.source_over(py, Err(e))),
        }
    }

    /// Calls the function, and gives the awaitable of the first item.
    fn open(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let made = self.callable.bind(py).call(self.args.bind(py), self.kwargs.as_ref().map(|k| k.bind(py)));
        let made = made.map_err(|e| no_stop(py, e, "a stream's function raised StopIteration"))?;
        let Some(source) = iterator_of(&made)? else {
            let (name, got) = (self.plan.get().name.as_str(), made.get_type().name()?);
            return Err(PyTypeError::new_err(format!("the function of stream '{name}' must give an async iterator, not {got}")));
        };
        self.iterate(source)
    }

    fn iterate(&self, source: Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        let py = source.py();
        let next = next_of(&source)?;
        let replaced = self.with(py, |_, pulls| std::mem::replace(&mut pulls.source, Source::Iterator(source.unbind())));
        drop(replaced);
        Ok(next)
    }

    /// Calls the fallback, and gives the awaitable of its first item. `None`: what it gave is the only item.
    fn open_instead(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        let Some((layer, given, error)) = self.instead(py)? else { return Ok(None) };
        let replaced = {
            let mut s = self.state.lock(py);
            if let Some(pulls) = &mut s.pulls {
                pulls.stands_in = Some(layer);
            }
            s.make_rare().stands_for.replace(error.into_any().unbind())
        };
        drop(replaced);
        if let Some(source) = iterator_of(&given)? {
            return self.iterate(source).map(Some);
        }
        let awaited =
            if given.hasattr(intern!(py, "__await__"))? || is_old_coroutine(&given)? { Some(awaited(&given)?) } else { None };
        let item = if awaited.is_none() { Some(given.unbind()) } else { None };
        let replaced = self.with(py, |_, pulls| {
            let replaced = std::mem::replace(&mut pulls.source, Source::Sole);
            if item.is_some() {
                pulls.item = item;
                pulls.out = true;
            }
            replaced
        });
        drop(replaced);
        Ok(awaited)
    }

    /// Steps the generator until it waits, gives an item, or ends.
    fn drive(
        &self,
        py: Python<'_>,
        mut coroutine: Py<PyAny>,
        mut resume: Resume,
        over: Deadline,
        holder: Option<&Holder<'_>>,
    ) -> Poll<Result<Py<PyAny>, Fail>> {
        let by = || self.deadline_source(py, over.owner);
        loop {
            let stepped = under(py, Over { at: over.at, source: Some(&by) }, holder, || {
                let _deeper = Deeper::new(py)?;
                Self::step(py, &coroutine, resume)
            });
            let value = match stepped {
                Ok(Ok(value)) => Some(value),
                Ok(Err(yielded)) => {
                    return match self.suspends(py, coroutine, yielded, over, holder, None) {
                        Ok(()) => Poll::Pending,
                        Err(e) => Poll::Ready(self.source_over(py, Err(e))),
                    };
                }
                Err(e) => match self.outlives(py, e) {
                    Ok(true) => return Poll::Pending,
                    Ok(false) => None,
                    Err(e) => return Poll::Ready(self.source_over(py, Err(e))),
                },
            };
            // Asked to stop, it gives one more item: that is dropped, and the generator closed.
            let asked = self.with(py, |s, pulls| {
                if pulls.closing != Closing::No {
                    return None;
                }
                let asked = std::mem::take(&mut s.stop);
                if value.is_none() {
                    return Some((true, None));
                }
                if !asked {
                    (s.over, s.held) = (over, holder.map(Holder::held));
                    pulls.out = true;
                }
                let ours = std::mem::take(&mut s.cancel_sent).then(|| s.cancels.take()).flatten();
                Some((asked, ours))
            });
            match asked {
                None => return Poll::Ready(self.source_over(py, Ok(()))),
                Some((false, _)) => {
                    let replaced = self.with(py, |_, pulls| std::mem::replace(&mut pulls.item, value));
                    drop(replaced);
                    return Poll::Pending;
                }
                Some((true, ours)) => {
                    drop(value);
                    let taken_back = ours.map_or(Ok(()), |cancels| cancels.settle(py, true, None).map(drop));
                    match taken_back.and_then(|()| self.close_awaitable(py, Closing::Stopped)) {
                        Ok(Some(close)) => (coroutine, resume) = (close, Resume::Send),
                        Ok(None) => return Poll::Ready(self.source_over(py, Ok(()))),
                        Err(e) => return Poll::Ready(self.source_over(py, Err(e))),
                    }
                }
            }
        }
    }

    /// The source has ended: by itself, by an error, or closed.
    fn source_over(&self, py: Python<'_>, result: PyResult<()>) -> Result<Py<PyAny>, Fail> {
        let (closing, outside, gone) = self.with(py, |_, pulls| {
            pulls.since = None;
            let closing = std::mem::replace(&mut pulls.closing, Closing::No);
            (closing, pulls.outside.take(), std::mem::replace(&mut pulls.source, Source::None))
        });
        drop(gone);
        if let Some(cancel) = outside {
            self.settle(py, Ok(py.None()))?;
            return Err(Fail::Raised(cancel, Class::Passes));
        }
        let result = match result {
            Err(e) if closing == Closing::No && e.is_instance_of::<PyStopAsyncIteration>(py) => {
                self.with(py, |_, pulls| pulls.stop = Some(e));
                Ok(())
            }
            Err(e) => Err(no_stop(py, e, "a stream raised StopIteration")),
            Ok(()) => Ok(()),
        };
        let settled = self.settle(py, result.map(|()| py.None()));
        let gone = self.state.lock(py).cancels.take();
        drop(gone);
        match (settled, closing) {
            (Ok(_), Closing::Left) => Err(Fail::Left),
            (Ok(_), Closing::Stopped) => Err(Fail::Stopped),
            (settled, _) => settled,
        }
    }

    /// The item that came out in this poll, for the run to hand out.
    pub(super) fn take_item(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        let (item, cancels, stands_in, first) = {
            let mut s = self.state.lock(py);
            let pulls = s.pulls.as_deref_mut()?;
            let (item, stands_in) = (pulls.item.take()?, pulls.stands_in.take());
            pulls.since = None;
            let first = pulls.figures.as_mut().is_some_and(|figures| {
                figures.item();
                figures.items() == 1
            });
            (item, s.cancels.take(), stands_in, first)
        };
        drop(cancels);
        if stands_in.is_some() {
            self.trace.stand_in(stands_in);
        }
        if let Some(watch) = self.watch.get() {
            if first {
                watch.tell(Event::FirstItem);
            }
            watch.leave(py);
        }
        Some(item)
    }

    /// The engine has asked it to stop between two pulls, and nothing closes it yet.
    pub(crate) fn is_to_close(&self, py: Python<'_>) -> bool {
        self.opened.is_some()
            && self.with(py, |s, pulls| {
                s.stop && s.coroutine.is_none() && pulls.closing == Closing::No && pulls.met.is_none() && pulls.ender.is_none()
            })
    }

    /// Has the next poll step the generator's close.
    pub(crate) fn close(&self, py: Python<'_>, why: Closing) {
        let close = self.close_awaitable(py, why);
        let replaced = self.with(py, |s, pulls| match close {
            Ok(Some(close)) => s.coroutine.replace(close),
            Ok(None) => {
                pulls.met = Some(Ok(()));
                None
            }
            Err(e) => {
                pulls.met = Some(Err(e));
                None
            }
        });
        drop(replaced);
    }

    /// The awaitable that closes the generator; `None` where there is none to close.
    fn close_awaitable(&self, py: Python<'_>, why: Closing) -> PyResult<Option<Py<PyAny>>> {
        let source = self.with(py, |s, pulls| {
            s.stop = false;
            pulls.closing = why;
            pulls.out |= why == Closing::Left;
            pulls.since = None;
            pulls.phase = if why == Closing::Stopped && pulls.phase == Phase::Pulling { Phase::Pulling } else { Phase::Closing };
            match &pulls.source {
                Source::Iterator(source) => Some(source.clone_ref(py)),
                Source::None | Source::Sole => None,
            }
        });
        source.map_or(Ok(None), |source| close_of(source.bind(py)))
    }
}
