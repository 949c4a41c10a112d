//! A leaf's faults: the exceptions that callers see, the verdicts that policies get, and where the deadlines over a
//! leaf come from.

use mountain_core::effect::{Class, Course, GaveUp, Shared, Verdict};
use mountain_core::error::{Error, OsError, Owner};
use pyo3::exceptions::{PyMemoryError, PyRecursionError};
use pyo3::intern;
use pyo3::prelude::*;

use crate::context::deadline_source::DeadlineSource;
use crate::convert::error::to_python;
use crate::convert::fail::{Fail, answer, no_stop, while_handling, with_frames};
use crate::convert::note;
use crate::observe::retries;
use crate::plan::Plan;
use crate::plan::layer::On;
use crate::policy::cache;
use crate::python::api::api;
use crate::run::leaf::PyLeaf;

impl PyLeaf {
    /// The run inherits a deadline, which `source` set.
    pub(crate) fn inherits(&self, py: Python<'_>, source: DeadlineSource) {
        self.state.lock(py).make_rare().inherits = Some(source);
    }

    /// Where a deadline over the call comes from, for what starts within its steps.
    pub(crate) fn deadline_source(&self, py: Python<'_>, owner: Owner) -> Option<DeadlineSource> {
        match owner {
            Owner::Layer(layer) => Some(DeadlineSource::policy(self.plan.clone_ref(py).into_any(), layer)),
            Owner::Inherited => {
                let s = self.state.lock(py);
                s.rare().and_then(|rare| rare.inherits.as_ref()).map(|source| source.clone_ref(py))
            }
            Owner::None => None,
        }
    }

    /// The deadline that the run inherited, written out.
    fn inherited(&self, py: Python<'_>) -> Option<String> {
        self.deadline_source(py, Owner::Inherited).map(|source| source.text(py))
    }

    /// A fault as the exception that the caller would see.
    pub(super) fn raise<'a>(&self, py: Python<'_>, fault: &'a mut Fail) -> Option<&'a PyErr> {
        let late = is_late(fault);
        let error = fault.raise(py, self.plan.get(), &|| self.inherited(py));
        if let Some(e) = error.as_ref().filter(|_| late) {
            self.note_source(py, e);
        }
        error
    }

    /// A flight ran out of its caller's time: the caller knows the limit for one of its own.
    fn note_source(&self, py: Python<'_>, e: &PyErr) {
        if self.plan.get().part_of().is_some()
            && let Some(source) = self.deadline_source(py, Owner::Inherited)
        {
            e.value(py).setattr(intern!(py, "_by"), place(py, &source)).ok();
        }
    }

    /// The run's failure as the exception that the caller sees.
    pub(crate) fn error(&self, py: Python<'_>, fault: Fail) -> PyErr {
        let late = is_late(&fault);
        let e = fault.into_error(py, self.plan.get(), &|| self.inherited(py));
        if late {
            self.note_source(py, &e);
        }
        e
    }

    /// Whether the policy at `layer` goes on after that fault.
    pub(super) fn judge(&self, py: Python<'_>, layer: usize, fault: &mut Fail) -> Result<Verdict, Fail> {
        let plan = self.plan.get();
        if let Fail::Raised(e, _) = fault
            && (e.is_instance_of::<PyRecursionError>(py) || e.is_instance_of::<PyMemoryError>(py))
        {
            return Ok(Verdict::No);
        }
        if self.has_item_out(py) {
            return Ok(Verdict::No);
        }
        if let Fail::NotAccepted(_) = fault {
            self.raise(py, fault); // a retry inside gave up on it
        }
        let judged = match (plan.on(layer), &*fault) {
            (On::Classes { .. }, Fail::TimedOut(_) | Fail::Raised(_, Class::TimedOut(_))) => Ok(Verdict::Yes),
            (On::Classes { rejected, .. }, Fail::Refused(..)) => {
                let yes =
                    !rejected.bind(py).is_empty() && self.raise(py, fault).is_some_and(|e| e.is_instance(py, rejected.bind(py)));
                Ok(if yes { Verdict::Yes } else { Verdict::No })
            }
            (On::Classes { named, rejected }, Fail::Raised(e, _)) => {
                let classes = if e.is_instance(py, api(py).rejected.bind(py)) { rejected } else { named };
                Ok(if e.is_instance(py, classes.bind(py)) { Verdict::Yes } else { Verdict::No })
            }
            (On::Function(f), _) => {
                let Some(e) = self.raise(py, fault) else { return Ok(Verdict::No) };
                let error = with_frames(py, e);
                f.bind(py).call1((&error,)).and_then(|said| answer(&said)).map_err(|e| {
                    while_handling(&e, &error);
                    no_stop(py, e, "a retry's on= raised StopIteration")
                })
            }
            (On::Nothing, _) | (_, Fail::Stopped | Fail::Left | Fail::NotAccepted(_)) => Ok(Verdict::No),
        };
        judged.map_err(|e| Fail::raised(py, e))
    }

    /// An attempt has failed, or its value is not accepted, and the policy at `layer` goes that way: said in the log,
    /// in the span, and in a note.
    pub(super) fn tell_of_retry(&self, py: Python<'_>, layer: usize, attempt: u32, course: Course, fault: &mut Fail) {
        if let (Course::Again(_), Fail::Raised(e, _)) = (course, &*fault) {
            // One exception raised again and again would drag the frames of all its attempts along.
            e.set_traceback(py, None);
        }
        let unaccepted = matches!(fault, Fail::NotAccepted(what) if what.layer == layer);
        // Of a value that is not accepted the span has an event: the attempt has not failed.
        let span = self.watch.get().and_then(|watch| watch.span()).filter(|_| !unaccepted);
        let heard = retries::is_heard(py, course);
        let misfit = match course {
            Course::GivesUp(GaveUp::TooLate(misfit)) => Some(misfit),
            _ => None,
        };
        if span.is_none() && misfit.is_none() && !heard {
            return;
        }
        let plan = self.plan.get();
        if let (true, Course::Again(wait)) = (unaccepted, course) {
            return retries::say_unaccepted(py, &plan.name, attempt, wait);
        }
        let Some(error) = self.raise(py, fault) else { return };
        let error = error.value(py);
        if let Some(span) = span {
            span.attempt_failed(py, error);
        }
        let whose = misfit.and_then(|m| plan.whose(py, m.owner, || self.inherited(py))).unwrap_or_default();
        if let Some(misfit) = &misfit {
            note::gave_up(error, &plan.title(), misfit, &whose);
        }
        if heard {
            let budget = matches!(course, Course::GivesUp(GaveUp::Budget)).then(|| retries::budget(&plan.stack, layer));
            retries::say(py, plan, attempt, course, &budget.unwrap_or(whose), error);
        }
    }

    /// The policy at `layer` names the fault's class.
    pub(super) fn is_named(&self, py: Python<'_>, layer: usize, fault: &mut Fail) -> bool {
        let plan = self.plan.get();
        if self.has_item_out(py) && plan.stands_in(layer) {
            return false;
        }
        match (plan.on(layer), self.raise(py, fault)) {
            (On::Classes { named, .. }, Some(e)) => e.is_instance(py, named.bind(py)),
            _ => false,
        }
    }

    /// The fault that the chaos at `layer` puts in place of a call: the operating system's, or one that it makes.
    pub(super) fn fault_of_chaos(&self, py: Python<'_>, layer: usize, errno: Option<i32>) -> Fail {
        let plan = self.plan.get();
        let made = match errno {
            // By its value: until it has one, its type is OSError, whatever its errno.
            Some(errno) => {
                let e = to_python(py, Error::Os(Box::new(OsError { errno, path: None, path2: None, advice: None })), Some(plan));
                Ok(PyErr::from_value(e.into_value(py).into_bound(py).into_any()))
            }
            None => plan.injected(py, layer),
        };
        if let Ok(e) = &made {
            note::injected(e.value(py), &plan.policy(py, layer).unwrap_or_default());
        }
        let e = made.unwrap_or_else(|e| e);
        Fail::raised(py, no_stop(py, e, "the error= of chaos raised StopIteration"))
    }

    /// A flight's fault as that of this caller.
    pub(super) fn shared_fault(&self, py: Python<'_>, fault: &Shared) -> Fail {
        let e = cache::shared_error(py, fault);
        let (whole, around) = self.plan.get().place();
        let by = e.value(py).getattr_opt(intern!(py, "_by")).ok().flatten().and_then(|by| by.extract::<(u64, usize)>().ok());
        match by {
            Some((of, layer)) if of == whole && layer >= around => Fail::Raised(e, Class::TimedOut(Owner::Layer(layer - around))),
            Some(by) if self.deadline_source(py, Owner::Inherited).is_some_and(|source| place(py, &source) == by) => {
                Fail::Raised(e, Class::TimedOut(Owner::Inherited))
            }
            _ => Fail::raised(py, e),
        }
    }
}

/// The time of a deadline that the call inherited is up.
fn is_late(fault: &Fail) -> bool {
    matches!(fault, Fail::TimedOut(t) if t.owner == Owner::Inherited)
}

/// The identity of a deadline's source, as long as that lives: the number of the whole stack's plan and the policy's
/// place there; or, of a block, an address.
fn place(py: Python<'_>, source: &DeadlineSource) -> (u64, usize) {
    let (by, layer) = source.by();
    by.bind(py).cast::<Plan>().map_or((by.as_ptr() as u64, layer), |plan| {
        let (number, around) = plan.get().place();
        (number, around + layer)
    })
}
