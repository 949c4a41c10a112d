//! The layer of a breaker: asks the machine its three questions at the right moments of a call.

use std::any::Any;
use std::sync::OnceLock;

use super::{Breaker, Change, Ended, Outcome, Pass, tell};
use crate::effect::{Around, Call, Class, Deadline, Fault, Leaf};
use crate::error::{Reason, Refused};
use crate::sync::Mutex;

/// A call inside a breaker. Dropped before its end, it records a failure if its time was up, and nothing otherwise.
pub struct Inside<'a, L: Leaf> {
    call: &'a Call<'a, L>,
    layer: usize,
    breaker: &'a Mutex<Breaker>,
    over: Deadline,
    pass: OnceLock<Pass>,
}

/// Enters `breaker`, the layer at `layer` of the stack. Asks question 1 if something inside `waits` before the leaf
/// begins, or would act on a refusal that is not its to judge; otherwise question 2 comes at once.
pub fn enter<'a, L: Leaf>(
    call: &'a Call<'a, L>,
    layer: usize,
    breaker: &'a Mutex<Breaker>,
    waits: bool,
    around: Around<'a>,
) -> Result<Inside<'a, L>, L::Err> {
    let asked = if waits { breaker.lock().peek(call.terms.key(layer), call.entered()) } else { Ok(()) };
    match asked {
        Ok(()) => Ok(Inside { call, layer, breaker, over: around.over, pass: OnceLock::new() }),
        Err(after) => Err(L::Err::refused(call.refused(layer, Reason::Open(after)))),
    }
}

impl<L: Leaf> Inside<'_, L> {
    /// Asks question 2 as the leaf is about to begin. A retry inside begins the leaf again under the same pass.
    pub fn admit(&self) -> Result<(), Refused> {
        if self.pass.get().is_none() {
            let (key, mut breaker) = (self.call.terms.key(self.layer), self.breaker.lock());
            let admitted = match breaker.admit_closed(key) {
                Some(pass) => Ok(pass),
                None => breaker.admit(key, self.call.entered()),
            };
            drop(breaker);
            let pass = admitted.map_err(|after| self.call.refused(self.layer, Reason::Open(after)))?;
            if let Some(change) = pass.change() {
                self.tell(change, Ended::Well);
            }
            // Only the thread that polls the call sets it.
            let _ = self.pass.set(pass);
        }
        Ok(())
    }

    /// Asks question 3 with the result of the call.
    pub fn settle(mut self, mut result: Result<L::Ok, L::Err>) -> Result<L::Ok, L::Err> {
        let outcome = match &mut result {
            Ok(_) => Outcome::Success,
            Err(e) => match e.class() {
                Class::TimedOut(_) => Outcome::Failure,
                Class::Failure if self.call.leaf.names(self.layer, e) => Outcome::Failure,
                Class::Failure | Class::Refused(_) => Outcome::Nothing,
                Class::Stopped | Class::Passes => self.cut_short(),
            },
        };
        // A leaf that was stopped has no fault of its own: its time was up.
        let fault = result.as_ref().err().filter(|e| !matches!(e.class(), Class::Stopped | Class::Passes));
        self.record(outcome, fault.map(|e| e as &dyn Any));
        result
    }

    /// The outcome of a call that was cut short: a deadline around it passed, or the caller has gone.
    fn cut_short(&self) -> Outcome {
        if self.call.now() >= self.over.at { Outcome::Failure } else { Outcome::Nothing }
    }

    fn record(&mut self, outcome: Outcome, fault: Option<&dyn Any>) {
        if let Some(pass) = self.pass.take() {
            let now = self.call.now();
            let change = self.breaker.lock().record(pass, outcome, now, fastrand::f64());
            if let Some(change) = change {
                self.tell(
                    change,
                    match (outcome, fault) {
                        (Outcome::Failure, Some(fault)) => Ended::Failed(fault),
                        (Outcome::Failure, None) => Ended::OutOfTime,
                        _ => Ended::Well,
                    },
                );
            }
        }
    }

    fn tell(&self, change: Change, ended: Ended<'_>) {
        tell(self.breaker, self.call.terms.used(self.layer).cloned(), change, ended);
    }
}

impl<L: Leaf> Drop for Inside<'_, L> {
    fn drop(&mut self) {
        if self.pass.get().is_some() {
            let outcome = self.cut_short();
            self.record(outcome, None);
        }
    }
}
