//! The layer of a hedge.
//!
//!  1. The first attempt is polled within the call. A timer is armed when it is first found pending, if a delay is
//!     known.
//!  2. The timer begins a further attempt as a flight, unless the call is being ended, a policy around refuses it or
//!     the budget is used up.
//!  3. The first success is the value. The flights that are left are asked to end, and so is the first attempt: as by
//!     a deadline, it is polled on while anything inside it runs, and dropped where nothing does.
//!  4. The call ends when all attempts have.
//!
//! Of a stream the first success is the first item. The attempt that has it goes on within the call: the first attempt
//! as it is, a flight by the items that it gives, which the leaf follows once the other attempts have ended.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use super::Hedge;
use super::attempts::{Attempts, Outcome};
use crate::effect::{Around, Call, Class, Fault, Leaf};
use crate::time::Instant;

/// The value of `inner`, or that of a flight of it. `layer` is this hedge's place in the stack.
pub async fn hedged<'a, L, F>(
    call: &'a Call<'a, L>,
    layer: usize,
    hedge: &'a Hedge,
    around: Around<'a>,
    inner: F,
) -> Result<L::Ok, L::Err>
where
    L: Leaf,
    F: Future<Output = Result<L::Ok, L::Err>> + Send,
{
    let began = call.entered();
    hedge.called(began);
    let mut inner = pin!(Some(inner));
    let mut attempts: Option<Box<Attempts<'a, L>>> = None;
    let (mut is_out, mut follows) = (false, false);
    poll_fn(move |cx| {
        if follows {
            return call.leaf.poll(None, cx);
        }
        if attempts.is_none()
            && let Some(polled) = inner.as_mut().as_pin_mut().map(|inner| inner.poll(cx))
        {
            let was_out = is_out;
            let so_long = match &polled {
                Poll::Ready(result) => !was_out && result.as_ref().map_or_else(|e| was_slow(e.class()), |_| true),
                Poll::Pending => {
                    is_out = call.leaf.is_out();
                    is_out && !was_out
                }
            };
            if so_long {
                took(call, layer, hedge, began);
            }
            if polled.is_ready() || is_out {
                return polled;
            }
        }
        let attempts = attempts.get_or_insert_with(|| Box::new(Attempts::new(call, layer, hedge, around, began)));
        match attempts.poll(inner.as_mut(), cx) {
            Poll::Ready(Ok(Outcome::Goes(items))) => {
                call.leaf.follow(items, &around);
                follows = true;
                call.leaf.poll(None, cx)
            }
            Poll::Ready(Ok(Outcome::Value(value))) => Poll::Ready(Ok(value)),
            Poll::Ready(Err(e)) => Poll::Ready(Err(e)),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// Whether an attempt that failed so took at least the time that it had.
pub(super) fn was_slow(class: Class) -> bool {
    matches!(class, Class::Stopped | Class::TimedOut(_))
}

pub(super) fn took<L: Leaf>(call: &Call<'_, L>, layer: usize, hedge: &Hedge, began: Instant) {
    hedge.took(call.terms.key(layer), || {
        let now = call.now();
        (now.since(began), now)
    });
}
