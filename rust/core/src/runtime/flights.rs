//! Flights of native work: each is a task that runs the inside of a layer over a leaf of its own.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::{Cancel, Contained, until_cancelled};
use crate::effect::{
    Abort, Around, Call, Deadline, Flights, Holder, Host, Landed, Landing, NativeLeaf, NativeOn, Operation, PermitContext,
    Retries, Shared, Sink, Terms, Trace,
};
use crate::error::Error;
use crate::observe::{Count, Tally};
use crate::policy::{self, Layer};
use crate::schedule::Priority;
use crate::sync::Mutex;
use crate::value::Value;

/// The parts of a program that its flights share.
#[derive(Clone)]
pub(super) struct NativeFlights {
    pub(super) operation: Arc<dyn Operation>,
    pub(super) host: Arc<Host>,
    pub(super) root: Arc<dyn Sink>,
    pub(super) on: Arc<[NativeOn]>,
    pub(super) priority: Priority,
    pub(super) retries: Option<Retries>,
    pub(super) stack: Arc<[Layer]>,
    pub(super) terms: Arc<Terms>,
    pub(super) tally: Option<Arc<Tally>>,
}

impl NativeFlights {
    /// The leaf of one flight.
    fn leaf(&self) -> NativeLeaf {
        let (operation, host, root) = (self.operation.clone(), self.host.clone(), self.root.clone());
        let leaf = NativeLeaf::new(operation, host, root, self.on.to_vec(), self.priority, self.retries.clone());
        leaf.flying(Box::new(self.clone()))
    }
}

/// A value or failure for the one call that takes it.
type Once<T> = Mutex<Option<T>>;

fn once<T: Send + 'static>(one: T) -> Shared {
    Arc::new(Once::new(Some(one)))
}

fn take<T: 'static>(shared: &Shared) -> Option<T> {
    shared.downcast_ref::<Once<T>>()?.lock().take()
}

impl Flights for NativeFlights {
    type Ok = Value;
    type Err = Error;

    fn fly(&self, layer: usize, landing: Landing, held: Option<Arc<PermitContext>>, over: Deadline) -> Result<(), Error> {
        let parts = self.clone();
        let leaf = Arc::new(self.leaf());
        let cancel = Arc::new(Cancel {
            leaf: leaf.clone(),
            trace: Trace::default(),
            asked: AtomicBool::new(false),
            waker: Mutex::new(None),
        });
        landing.begun(Abort::Shared(cancel.clone()));
        let flight = async move {
            let held = held.map(Holder::from);
            let around = Around { over, gate: None, held: held.as_ref() };
            let call = Call::new(&*leaf, &parts.host.clock, &cancel.trace, &parts.terms);
            let inside = policy::inside(&call, &parts.stack, layer, around);
            let outcome = until_cancelled(inside, &cancel).await;
            if let Some(tally) = &parts.tally {
                tally.add(Count::Retried, u64::from(cancel.trace.attempts().saturating_sub(1)));
            }
            outcome
        };
        self.operation.home().unwrap_or(&self.host.tokio).spawn(async move {
            landing.land(match Contained(flight).await {
                Ok(value) => Landed::Value(once(value)),
                Err(e) => Landed::Failed(once(e)),
            });
        });
        Ok(())
    }

    fn shared(&self, value: &Shared) -> Value {
        take(value).unwrap_or(Value::Unit)
    }

    fn failed(&self, fault: &Shared) -> Error {
        take(fault).unwrap_or(Error::Cancelled)
    }

    fn all_failed(&self, first: Error, others: Vec<Error>) -> Error {
        Error::Beside(Box::new((first, others)))
    }
}
