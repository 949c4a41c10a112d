//! The state of a stream in its leaf: where its items come from, who drives it, and who waits for that.

use mountain_core::observe::Open;
use mountain_core::time::Instant;
use pyo3::prelude::*;
use pyo3::{PyTraverseError, PyVisit};

use crate::port::flight_guard::Landing;

/// Where the items come from.
pub(super) enum Source {
    /// The call has not begun, or has ended.
    None,
    Iterator(Py<PyAny>),
    /// A fallback's value, which is the only item.
    Sole,
}

/// Why the generator is closed before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Closing {
    No,
    /// Its consumer has left.
    Left,
    /// A limit has passed.
    Stopped,
}

/// How far the stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Nothing has been pulled.
    New,
    /// A pull is under way: in a step, suspended or parked.
    Pulling,
    Between,
    /// It is being closed: by its consumer, or by the ender.
    Closing,
    /// Its loop was closed.
    Lost,
    Ended,
}

pub(crate) struct Pulls {
    /// Where its items are counted, from its beginning to its end.
    pub(super) figures: Option<Open>,
    pub(super) source: Source,
    /// The attempts of a hedge, whose tasks run the source.
    pub(super) flights: Vec<Py<Landing>>,
    /// An item for the run to hand out.
    pub(super) item: Option<Py<PyAny>>,
    /// The cancel of a pull that its source has outlived, for the run to raise.
    pub(super) cut: Option<PyErr>,
    /// The cancel from outside that came as the stream was asked to end, to be raised when it is closed.
    pub(super) outside: Option<PyErr>,
    /// The generator's own end, for the consumer's loop.
    pub(super) stop: Option<PyErr>,
    /// The end that was met outside of the engine.
    pub(super) met: Option<PyResult<()>>,
    /// An item is out: no policy begins anew, and no fallback stands in.
    pub(super) out: bool,
    /// The place of the fallback that gives the items, until that is counted.
    pub(super) stands_in: Option<usize>,
    pub(super) closing: Closing,
    pub(crate) phase: Phase,
    /// Since when the consumer waits.
    pub(super) since: Option<Instant>,
    /// Some policy needs to know that.
    pub(super) idles: bool,
    /// The address of the task in which the pull is suspended.
    pub(super) task: usize,
    /// The task in which it was opened, whose context the ender runs in.
    pub(super) opener: Option<Py<PyAny>>,
    pub(super) ender: Option<Py<PyAny>>,
    /// Its consumer leaves, as soon as a pull of another task has ended: no pull begins any more.
    pub(super) leaves: bool,
    /// Futures that wait for the end of what is under way.
    pub(super) waiters: Vec<Py<PyAny>>,
}

/// The outcome of a pull's first step.
pub(crate) enum Pull {
    Item(Py<PyAny>),
    /// The engine is to be polled: the pull has suspended, or has met the end.
    Look,
    /// The first pull begins the call.
    First,
    /// A deadline may have passed: the engine says so.
    Due,
    /// A pull is under way, in the task of that address.
    Busy(usize),
    /// It is being closed; by that ender, if it is one.
    Closing(Option<Py<PyAny>>),
    /// Its loop was closed: said once.
    Lost,
    Ended,
}

impl Pulls {
    pub(super) fn is_open(&self) -> bool {
        !matches!(self.source, Source::None)
    }

    pub(super) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        if let Source::Iterator(source) = &self.source {
            visit.call(source)?;
        }
        self.flights.iter().try_for_each(|flight| visit.call(flight))?;
        visit.call(&self.item)?;
        visit.call(&self.opener)?;
        visit.call(&self.ender)?;
        self.waiters.iter().try_for_each(|waiter| visit.call(waiter))
    }

    /// Takes its references, to be dropped outside of the lock.
    pub(super) fn take(&mut self) -> impl Sized + use<> {
        let source = std::mem::replace(&mut self.source, Source::None);
        (
            source,
            std::mem::take(&mut self.flights),
            self.item.take(),
            self.cut.take(),
            self.outside.take(),
            self.met.take(),
            self.opener.take(),
            self.ender.take(),
            std::mem::take(&mut self.waiters),
        )
    }
}
