//! The layer of an idle limit.
//!
//!  1. The inside is polled first: an item wins over a limit that passed in the same instant.
//!  2. The timer is armed when a wait is first found pending. An item that comes at once touches no heap, and a timer
//!     that an earlier wait has armed stays: it fires early, and is armed anew for the wait of that moment.
//!  3. When the wait has lasted too long, the leaf is asked to stop, and the inside is polled until it has ended, as by
//!     a timeout.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

use super::Settings;
use super::machine::Look;
use crate::effect::{Call, Fault, Leaf};
use crate::error::{Owner, TimedOut};
use crate::policy::asked::{End, State};
use crate::time::{Instant, Sleep, sleep_until};

/// Holds each wait for an item of `inner` to the limit; `layer` is its place in the stack.
pub fn watch<'a, L, F>(
    call: &'a Call<'a, L>,
    layer: usize,
    settings: &'a Settings,
    mut inner: F,
) -> impl Future<Output = Result<L::Ok, L::Err>> + Unpin
where
    L: Leaf,
    F: Future<Output = Result<L::Ok, L::Err>> + Send + Unpin,
{
    let entered = call.entered();
    let mut timer: Option<Sleep<'a>> = None;
    let mut state = State::Open;
    let mine = Owner::Layer(layer);
    let timed_out = move |late: Option<L::Err>| {
        let cause = late.or_else(|| call.trace.take_last(mine));
        Poll::Ready(Err(L::Err::timed_out(TimedOut { owner: mine, attempts: call.trace.attempts(), cause })))
    };
    poll_fn(move |cx| {
        loop {
            if let Poll::Ready(result) = Pin::new(&mut inner).poll(cx) {
                let Err(e) = result else { return Poll::Ready(result) };
                return match state.failed(e.class(), mine) {
                    End::Pass => Poll::Ready(Err(e)),
                    End::Late => timed_out(Some(e)),
                    End::Stopped => timed_out(None),
                };
            }
            if state == State::Asked {
                return if call.stopping(mine) { Poll::Pending } else { timed_out(None) };
            }
            // Between two pulls no clock is read.
            let Some(since) = call.leaf.waiting() else { return Poll::Pending };
            match settings.look(entered, since, call.clock.about_now()) {
                Look::Until(Instant::NEVER) => return Poll::Pending,
                Look::Until(until) => {
                    let armed = timer.get_or_insert_with(|| sleep_until(call.clock, until));
                    if Pin::new(armed).poll(cx).is_pending() {
                        return Poll::Pending;
                    }
                    // It was armed for an earlier wait, or has just fired.
                    timer = None;
                }
                Look::Over => {
                    state = State::Asked;
                    if !call.stop(mine) {
                        return timed_out(None);
                    }
                }
            }
        }
    })
}
