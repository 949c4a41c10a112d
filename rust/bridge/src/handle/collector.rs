//! Collects the items of a batch function into calls (`calls.rs`), one for each loop and receiver.

use std::sync::Arc;

use mountain_core::effect::Submitted;
use mountain_core::observe::Tally;
use mountain_core::sync::Mutex;
use pyo3::prelude::*;
use pyo3::types::{PyTuple, PyWeakrefMethods, PyWeakrefReference};
use pyo3::{PyTraverseError, PyVisit};

use crate::context;
use crate::context::inherited_deadline::InheritedDeadline;
use crate::convert::error;
use crate::globals::clock;
use crate::handle::Handle;
use crate::handle::backing::Backing;
use crate::handle::calls::{Calls, Place, State, Ways};
use crate::observe::watchers;
use crate::plan::Plan;
use crate::port::Port;

/// Collects the items of one batch function: the calls that are open, of each loop and receiver at most one.
#[pyclass(frozen, module = "mountain_runtime._native")]
pub(crate) struct Collector {
    name: String,
    /// Of one item's calls.
    tally: Arc<Tally>,
    size: usize,
    /// Of a method: the first argument of a call is its receiver.
    of_method: bool,
    /// Given new calls, returns how they begin, how they close, and what to call of each that joins.
    opens: Py<PyAny>,
    open: Mutex<Vec<Opened>>,
}

struct Opened {
    /// The addresses of the port and of the receiver, both of which the calls keep alive.
    of: (usize, usize),
    calls: Py<PyWeakrefReference>,
}

#[pymethods]
impl Collector {
    #[new]
    #[pyo3(signature = (plan, size, of_method, opens, /))]
    fn new(plan: &Bound<'_, Plan>, size: usize, of_method: bool, opens: Py<PyAny>) -> Self {
        let Plan { name, tally, .. } = plan.get();
        Collector { name: name.clone(), tally: tally.clone(), size, of_method, opens, open: Mutex::default() }
    }

    /// One call, as a part of a run that counts itself.
    #[pyo3(signature = (*args))]
    fn __call__<'py>(&self, args: &Bound<'py, PyTuple>) -> PyResult<Bound<'py, Handle>> {
        let py = args.py();
        let limit = context::current_deadline(py)?;
        self.join(args, None, limit)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.opens)?;
        self.open.try_lock().map_or(Ok(()), |open| open.iter().try_for_each(|opened| visit.call(&opened.calls)))
    }
}

impl Collector {
    /// One more item, and the handle of its result.
    pub(crate) fn join<'py>(
        &self,
        args: &Bound<'py, PyTuple>,
        plan: Option<Py<Plan>>,
        limit: Option<InheritedDeadline>,
    ) -> PyResult<Bound<'py, Handle>> {
        let py = args.py();
        let item = args.get_item(usize::from(self.of_method))?.unbind();
        let receiver = if self.of_method { Some(args.get_item(0)?) } else { None };
        let calls = self.opened(py, receiver)?;
        let (held, flight) = context::held_and_flight(py)?;
        let awaits = (held.is_some() || flight.is_some()).then(|| Box::new((held, flight)));
        if let Some(awaits) = &awaits {
            let work = calls.get().state.lock().work.get_or_insert_with(|| Submitted::new(true)).clone();
            if !work.awaited_by(awaits.0.as_ref(), awaits.1.as_ref()) {
                return Err(error::circle(py, &self.name));
            }
        }
        let limit = limit.map(|limit| Py::new(py, limit)).transpose()?;
        let event_loop = &calls.get().port.get().event_loop;
        let handle = Handle::new(py, event_loop, plan, Backing::Item(calls.clone().into_any().unbind()))?;
        let place = Place { handle: handle.clone().unbind(), item: Some(item), limit, awaits };
        let (joined, begin) = {
            let mut s = calls.get().state.lock();
            handle.get().state.lock().place = s.places.len() as u32;
            s.places.push(Some(place));
            s.waiting += 1;
            let full = s.waiting >= self.size;
            let ways = s.opened.as_ref();
            (
                ways.and_then(|ways| ways.joined.as_ref()).map(|joined| joined.clone_ref(py)),
                ways.filter(|_| full).map(|ways| ways.begin.clone_ref(py)),
            )
        };
        if let Some(joined) = joined {
            joined.call0(py)?;
        }
        if let Some(begin) = begin {
            begin.call0(py)?;
        }
        Ok(handle)
    }

    /// The calls of the running loop that are open.
    fn opened<'py>(&self, py: Python<'py>, receiver: Option<Bound<'py, PyAny>>) -> PyResult<Bound<'py, Calls>> {
        let port = Port::current(py)?;
        let of = (port.as_ptr() as usize, receiver.as_ref().map_or(0, |receiver| receiver.as_ptr() as usize));
        let known = {
            let open = self.open.lock();
            open.iter().find(|opened| opened.of == of).and_then(|opened| opened.calls.bind(py).upgrade())
        };
        if let Some(known) = known
            && let Ok(calls) = known.cast_into::<Calls>()
            && calls.get().state.lock().opened.is_some()
        {
            return Ok(calls);
        }
        let calls = Bound::new(
            py,
            Calls {
                port: port.unbind(),
                receiver: receiver.map(Bound::unbind),
                counted: watchers::counting().then(|| (self.tally.clone(), clock().now())),
                state: Mutex::new(State::default()),
            },
        )?;
        let (begin, close, joined) = self.opens.bind(py).call1((&calls,))?.extract()?;
        calls.get().state.lock().opened = Some(Ways { begin, close, joined });
        let opened = Opened { of, calls: PyWeakrefReference::new(&calls)?.unbind() };
        let gone: Vec<Opened> = {
            let mut open = self.open.lock();
            // Those of loops that are gone.
            let gone = open.extract_if(.., |opened| opened.of == of || is_gone(py, opened)).collect();
            open.push(opened);
            gone
        };
        drop(gone);
        Ok(calls)
    }
}

fn is_gone(py: Python<'_>, opened: &Opened) -> bool {
    opened.calls.bind(py).upgrade().is_none()
}
