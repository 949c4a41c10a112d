//! The layer of a deadline.
//!
//!  1. The inside is polled first: a value wins over a deadline that passed in the same instant.
//!  2. The deadline is armed when the inside is first found pending; a call that ends at once never touches the heap.
//!  3. When it has passed and inside it a leaf is running, or a flight for which only this call waits, that is asked to
//!     stop and the inside is polled on: it keeps its permits until it has ended.
//!  4. When none is running (a backoff, a queue), the inside is dropped at once, which gives back its place.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

use crate::effect::{Call, Deadline, Fault, Leaf};
use crate::error::TimedOut;
use crate::policy::asked::{End, State};
use crate::time::{Instant, Sleep, sleep_until};

/// Holds `inner` to `deadline`. No async function: those have room for each argument twice.
pub fn hold_to<'a, L, F>(
    call: &'a Call<'a, L>,
    deadline: Deadline,
    mut inner: F,
) -> impl Future<Output = Result<L::Ok, L::Err>> + Unpin
where
    L: Leaf,
    F: Future<Output = Result<L::Ok, L::Err>> + Send + Unpin,
{
    let mut timer: Option<Sleep<'a>> = None;
    let mut state = State::Open;
    let timed_out = move |late: Option<L::Err>| {
        let cause = late.or_else(|| call.trace.take_last(deadline.owner));
        Poll::Ready(Err(L::Err::timed_out(TimedOut { owner: deadline.owner, attempts: call.trace.attempts(), cause })))
    };
    poll_fn(move |cx| {
        loop {
            if let Poll::Ready(result) = Pin::new(&mut inner).poll(cx) {
                let Err(e) = result else { return Poll::Ready(result) };
                return match state.failed(e.class(), deadline.owner) {
                    End::Pass => Poll::Ready(Err(e)),
                    End::Late => timed_out(Some(e)),
                    End::Stopped => timed_out(None),
                };
            }
            if state == State::Asked {
                return if call.stopping(deadline.owner) { Poll::Pending } else { timed_out(None) };
            }
            if deadline.at == Instant::NEVER {
                return Poll::Pending;
            }
            let timer = timer.get_or_insert_with(|| sleep_until(call.clock, deadline.at));
            if Pin::new(timer).poll(cx).is_pending() {
                return Poll::Pending;
            }
            state = State::Asked;
            if !call.stop(deadline.owner) {
                return timed_out(None);
            }
        }
    })
}
