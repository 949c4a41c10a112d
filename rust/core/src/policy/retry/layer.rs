//! The layer of a retry: call, ask `on` or `until`, decide, sleep, call again. A failed attempt gives everything back
//! before the sleep, as does one whose value is not accepted.

use std::future::Future;

use super::Settings;
use super::machine::{Decision, decide, leaves_the_wait};
use crate::effect::{Call, Class, Course, Deadline, Fault, GaveUp, Leaf, Verdict};
use crate::error::TimedOut;
use crate::observe::Event;
use crate::time::{Instant, sleep_until};

/// Calls `inner` anew for each attempt. `layer` is this retry's place in the stack, `over` the earliest deadline around
/// it.
pub fn retry<'a, L, F, M>(
    call: &'a Call<'a, L>,
    layer: usize,
    settings: &'a Settings,
    over: Deadline,
    inner: M,
) -> impl Future<Output = Result<L::Ok, L::Err>>
where
    L: Leaf,
    F: Future<Output = Result<L::Ok, L::Err>> + Send,
    M: Fn() -> F,
{
    let mut attempt = 0u32;
    // No async function: those have room for each argument twice.
    async move {
        if let Some(budget) = &settings.budget {
            budget.lock().deposit(call.entered());
        }
        loop {
            attempt = attempt.saturating_add(1);
            let again = match inner().await {
                Ok(value) if !settings.until => return Ok(value),
                Ok(value) => match call.leaf.unaccepted(layer, &value)? {
                    None => return Ok(value),
                    Some(e) => {
                        drop(value);
                        call.trace.stand_in(None);
                        call.tell(Event::NotAccepted(layer));
                        judge(call, layer, settings, over, attempt, e, Some(Verdict::Yes))?
                    }
                },
                Err(e) => judge(call, layer, settings, over, attempt, e, None)?,
            };
            if again > call.now() {
                sleep_until(call.clock, again).await;
                // Woken late, as by a stalled loop: nothing begins after the deadline.
                if call.now() >= over.at {
                    return Err(timed_out(call, over, call.trace.take_last(over.owner)));
                }
            }
        }
    }
}

/// When to call again after a failure, or the failure to raise. `on` is asked unless there is a verdict. Apart from the
/// loop, so that a future that never fails has no room for failures.
fn judge<L: Leaf>(
    call: &Call<'_, L>,
    layer: usize,
    settings: &Settings,
    over: Deadline,
    attempt: u32,
    mut e: L::Err,
    verdict: Option<Verdict>,
) -> Result<Instant, L::Err> {
    // A deadline outside this retry has passed, a breaker outside is open, or the failure is not the retry's to judge.
    if !e.class().is_inside(layer) {
        return Err(e);
    }
    let is_last = settings.attempts.is_some_and(|most| attempt >= most);
    let mut verdict = match verdict {
        _ if is_last => Verdict::No,
        Some(verdict) => verdict,
        None => call.leaf.verdict(layer, &mut e)?,
    };
    if settings.backoff.is_none() && leaves_the_wait(settings, verdict) {
        verdict = Verdict::Wait(call.leaf.wait(layer, attempt, &mut e)?);
    }
    let now = call.now();
    let why = match decide(settings, attempt, verdict, now, over, fastrand::f64()) {
        Decision::TimeIsUp => return Err(timed_out(call, over, Some(e))),
        Decision::GiveUp(GaveUp::Attempts | GaveUp::Unnamed) if matches!(e.class(), Class::Refused(_)) => GaveUp::Refused,
        Decision::GiveUp(why) => why,
        Decision::Again(_) if settings.budget.as_ref().is_some_and(|budget| !budget.lock().withdraw(now)) => GaveUp::Budget,
        Decision::Again(at) => {
            call.leaf.retried(layer, call.trace.attempts(), Course::Again(at.since(now)), &mut e);
            call.trace.failed(layer, e);
            call.tell(Event::BacksOff(layer, at));
            return Ok(at);
        }
    };
    // A first failure that `on` does not name is no retry, and is not reported.
    if attempt > 1 || matches!(why, GaveUp::Budget | GaveUp::TooLate(_)) {
        call.leaf.retried(layer, call.trace.attempts(), Course::GivesUp(why), &mut e);
    }
    Err(e)
}

fn timed_out<L: Leaf>(call: &Call<'_, L>, over: Deadline, cause: Option<L::Err>) -> L::Err {
    L::Err::timed_out(TimedOut { owner: over.owner, attempts: call.trace.attempts(), cause })
}
