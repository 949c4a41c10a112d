//! A pull that is cancelled, of a source that goes on: `chunked` keeps what it has collected for the next pull.

use std::task::Poll;

use mountain_core::effect::Asked;
use pyo3::exceptions::asyncio::CancelledError;
use pyo3::intern;
use pyo3::prelude::*;

use crate::run::leaf::PyLeaf;
use crate::run::pulls::Closing;
use crate::run::pulls::Phase;
use crate::run::pulls::Source;
use crate::run::suspended::Resume;

impl PyLeaf {
    /// A cancel that came out of a pull, where the source says that it outlives one. True: it is from outside, so the
    /// pull has ended and the stream goes on. False: the stream was asked to end, and the source is to be closed. Any
    /// other error is given back.
    pub(super) fn outlives(&self, py: Python<'_>, e: PyErr) -> PyResult<bool> {
        if !e.is_instance_of::<CancelledError>(py) {
            return Err(e);
        }
        let source = self.with(py, |_, pulls| match &pulls.source {
            Source::Iterator(source) if pulls.closing == Closing::No => Some(source.clone_ref(py)),
            _ => None,
        });
        let Some(source) = source else { return Err(e) };
        if source.bind(py).getattr_opt(intern!(py, "_outlives_cancels"))?.is_none() {
            return Err(e);
        }
        let (stops, sent, cancels) = self.with(py, |s, pulls| {
            pulls.since = None;
            (s.stop, std::mem::take(&mut s.cancel_sent), s.cancels.take())
        });
        let ours = match cancels.filter(|_| sent) {
            Some(cancels) => cancels.settle(py, true, Some(e.value(py).as_any()))? == Asked::Ours,
            None => false,
        };
        let gone = self.with(py, |_, pulls| match (ours, stops) {
            (true, _) => Some(e),
            (false, true) => pulls.outside.replace(e),
            (false, false) => pulls.cut.replace(e),
        });
        drop(gone);
        Ok(!stops)
    }

    /// The pull was cancelled while attempts ended beside the one that had given an item. That item is dropped, and its
    /// source closed, step by step. An error of its cleanup gives way to the cancel.
    pub(super) fn closes_winner(&self, py: Python<'_>) -> Poll<()> {
        if self.opened.is_none() {
            return Poll::Ready(());
        }
        let (dropped, closing) = self.with(py, |s, pulls| {
            let open = matches!(pulls.source, Source::Iterator(_)) && s.coroutine.is_none();
            (if open { pulls.item.take() } else { None }, pulls.closing != Closing::No)
        });
        if dropped.is_some() {
            self.close(py, Closing::Stopped);
            self.with(py, |s, _| s.resume = Resume::Send);
        } else if !closing {
            return Poll::Ready(());
        }
        drop(dropped);
        self.poll_items(py, None).map(drop)
    }

    /// The cancel that ended this pull, for the run to raise.
    pub(super) fn take_cut(&self, py: Python<'_>) -> Option<PyErr> {
        self.opened?;
        let cut = {
            let mut s = self.state.lock(py);
            let pulls = s.pulls.as_deref_mut()?;
            if pulls.cut.is_some() {
                pulls.phase = Phase::Between;
            }
            pulls.cut.take()
        };
        if cut.is_some()
            && let Some(watch) = self.watch.get()
        {
            watch.leave(py);
        }
        cut
    }
}
