//! The leaf of a stream: how it is made, and its state as the rooms below ask for it.

use std::sync::Arc;

use mountain_core::effect::{Around, Holder};
use mountain_core::observe::{Open, Tally};
use mountain_core::policy;
use mountain_core::time::Instant;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use crate::plan::Plan;
use crate::port::flight_guard::Landing;
use crate::run::async_iter::next_of;
use crate::run::leaf::PyLeaf;
use crate::run::pulls::Closing;
use crate::run::pulls::Phase;
use crate::run::pulls::Pulls;
use crate::run::pulls::Source;
use crate::run::suspended::Resume;
use crate::run::suspended::Suspended;

impl PyLeaf {
    /// The leaf of a stream that was opened at that time, in that task.
    pub(crate) fn of_stream(
        callable: Py<PyAny>,
        args: Py<PyTuple>,
        kwargs: Option<Py<PyDict>>,
        plan: Py<Plan>,
        opened: Instant,
        task: &Bound<'_, PyAny>,
    ) -> Self {
        let py = task.py();
        let idles = plan.get().stack.iter().any(|layer| matches!(layer, policy::Layer::Idle(_)));
        let leaf = PyLeaf { opened: Some(opened), ..PyLeaf::new(callable, args, kwargs, plan) };
        leaf.state.lock(py).pulls = Some(Box::new(Pulls {
            figures: None,
            source: Source::None,
            flights: Vec::new(),
            item: None,
            cut: None,
            outside: None,
            stop: None,
            met: None,
            out: false,
            stands_in: None,
            closing: Closing::No,
            phase: Phase::New,
            since: None,
            idles,
            task: 0,
            opener: (!task.is_none()).then(|| task.clone().unbind()),
            ender: None,
            leaves: false,
            waiters: Vec::new(),
        }));
        leaf
    }

    pub(super) fn with<T>(&self, py: Python<'_>, what: impl FnOnce(&mut Suspended, &mut Pulls) -> T) -> T {
        let mut s = self.state.lock(py);
        let mut pulls = s.pulls.take().expect("the leaf of a stream has pulls");
        let out = what(&mut s, &mut pulls);
        // No drop of what was there, which is nothing.
        std::mem::forget(s.pulls.replace(pulls));
        out
    }

    /// The stream begins: its items are counted from now on, at `tally` if it counts.
    pub(super) fn counts_items(&self, py: Python<'_>, tally: Option<Arc<Tally>>) {
        self.with(py, |_, pulls| pulls.figures = Some(Open::new(tally)));
    }

    /// The first item came out after that long.
    pub(super) fn first_item(&self, py: Python<'_>, nanos: impl FnOnce() -> u64) {
        self.with(py, |_, pulls| {
            if let Some(figures) = &pulls.figures
                && figures.items() == 1
            {
                figures.first(nanos());
            }
        });
    }

    /// The stream has ended: the number of its items.
    pub(super) fn ends_items(&self, py: Python<'_>) -> Option<u64> {
        self.opened?;
        let figures = self.with(py, |_, pulls| pulls.figures.take());
        figures.map(|figures| figures.items())
    }

    pub(super) fn has_item_out(&self, py: Python<'_>) -> bool {
        self.opened.is_some() && self.state.lock(py).pulls.as_ref().is_some_and(|pulls| pulls.out)
    }

    /// Goes on with the items of a flight, in place of a generator of its own. The next poll takes the first of them.
    pub(super) fn follow_items(&self, py: Python<'_>, items: Py<PyAny>, around: &Around<'_>) {
        if let Some(watch) = self.watch.get() {
            watch.enter(py, false);
        }
        let next = next_of(items.bind(py));
        let held = around.held.map(Holder::held);
        let replaced = self.with(py, |s, pulls| {
            (s.over, s.held, s.resume) = (around.over, held, Resume::Send);
            let source = std::mem::replace(&mut pulls.source, Source::Iterator(items));
            match next {
                Ok(next) => (source, s.coroutine.replace(next)),
                Err(e) => {
                    pulls.met = Some(Err(e));
                    (source, None)
                }
            }
        });
        drop(replaced);
    }

    pub(crate) fn phase(&self, py: Python<'_>) -> Phase {
        self.with(py, |_, pulls| pulls.phase)
    }

    /// Its loop is closed: its generator is left to asyncio.
    pub(super) fn lost(&self, py: Python<'_>) {
        if self.opened.is_none() {
            return;
        }
        let gone = self.with(py, |_, pulls| {
            pulls.phase = Phase::Lost;
            pulls.take()
        });
        drop(gone);
    }

    /// The pull, or the closing, waits in the task of that address.
    pub(crate) fn waits_in(&self, py: Python<'_>, task: usize) {
        self.with(py, |_, pulls| pulls.task = task);
    }

    /// The address of the task in which the pull or the closing waits; 0 while a step of it is under way.
    pub(crate) fn task(&self, py: Python<'_>) -> usize {
        self.with(py, |_, pulls| pulls.task)
    }

    /// Notes a flight, which of a stream is an attempt: its task runs the source.
    pub(super) fn flown_by<'py>(&self, flight: Bound<'py, Landing>) -> Bound<'py, Landing> {
        if self.opened.is_some() {
            self.with(flight.py(), |_, pulls| pulls.flights.push(flight.clone().unbind()));
        }
        flight
    }

    /// Whether `task` is that of a flight which attempts the stream, or gives its items.
    pub(crate) fn is_flown_by(&self, py: Python<'_>, task: &Bound<'_, PyAny>) -> bool {
        self.with(py, |_, pulls| pulls.flights.iter().any(|flight| flight.get().is_of(task)))
    }

    /// A pull or a closing has ended, and the stream is in `phase`. The futures that waited for that are to be told.
    #[must_use]
    pub(crate) fn comes_to(&self, py: Python<'_>, phase: Phase) -> Vec<Py<PyAny>> {
        let (waiters, gone) = self.with(py, |_, pulls| {
            pulls.phase = phase;
            let waiters = std::mem::take(&mut pulls.waiters);
            // A generator whose pull was closed is left to asyncio.
            let gone = if phase == Phase::Ended { Some(pulls.take()) } else { None };
            (waiters, gone)
        });
        drop(gone);
        waiters
    }

    /// The StopAsyncIteration with which the generator has ended.
    pub(crate) fn take_stop(&self, py: Python<'_>) -> Option<PyErr> {
        self.with(py, |_, pulls| pulls.stop.take())
    }

    /// Has a future be told of the end of what is under way, after which its owner closes the stream.
    pub(crate) fn tells(&self, py: Python<'_>, waiter: Py<PyAny>) {
        self.with(py, |_, pulls| {
            pulls.leaves = true;
            pulls.waiters.push(waiter);
        });
    }

    /// The task that opened the stream.
    pub(super) fn opener(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.with(py, |_, pulls| pulls.opener.as_ref().map(|opener| opener.clone_ref(py)))
    }

    pub(super) fn ends_by(&self, py: Python<'_>, ender: Py<PyAny>) {
        self.with(py, |_, pulls| (pulls.phase, pulls.ender) = (Phase::Closing, Some(ender)));
    }

    /// The ender, if there is one.
    pub(crate) fn ender(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.with(py, |_, pulls| pulls.ender.as_ref().map(|ender| ender.clone_ref(py)))
    }
}
