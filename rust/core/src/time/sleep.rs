//! A deadline as a future: armed when it is first found pending, taken back when it is dropped.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::{Clock, Instant, Key};

/// Ready at `at`.
pub struct Sleep<'a> {
    clock: &'a Clock,
    at: Instant,
    key: Option<Key>,
}

#[must_use]
pub fn sleep_until(clock: &Clock, at: Instant) -> Sleep<'_> {
    Sleep { clock, at, key: None }
}

impl Future for Sleep<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(key) = self.key {
            if self.clock.rearm(key, cx.waker()) {
                return Poll::Pending;
            }
            // The deadline has fired, by the clock itself.
            if self.clock.now() >= self.at {
                return Poll::Ready(());
            }
            self.key = None;
        }
        if self.clock.about_now() >= self.at {
            return Poll::Ready(());
        }
        self.key = Some(self.clock.arm(self.at, cx.waker().clone()));
        Poll::Pending
    }
}

impl Drop for Sleep<'_> {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            self.clock.disarm(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Wake, Waker};
    use std::time::Duration;

    #[derive(Default)]
    struct Count(AtomicUsize);
    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn jumps_an_hour_and_leaves_nothing_behind() {
        let clock = Clock::manual();
        let count = Arc::new(Count::default());
        let waker = Waker::from(count.clone());
        let mut cx = Context::from_waker(&waker);
        {
            let mut hour = pin!(sleep_until(&clock, clock.now().after(Duration::from_hours(1))));
            assert!(hour.as_mut().poll(&mut cx).is_pending());
            clock.advance(Duration::from_secs(3599));
            assert_eq!(count.0.load(Ordering::SeqCst), 0);
            assert!(hour.as_mut().poll(&mut cx).is_pending());
            clock.advance(Duration::from_secs(1));
            assert_eq!(count.0.load(Ordering::SeqCst), 1);
            assert!(hour.as_mut().poll(&mut cx).is_ready());
            let mut dropped = Box::pin(sleep_until(&clock, clock.now().after(Duration::from_secs(9))));
            assert!(dropped.as_mut().poll(&mut cx).is_pending());
            assert_eq!(clock.armed(), 1);
        }
        assert_eq!(clock.armed(), 0);
    }

    #[test]
    fn real_time_wakes_a_parked_thread_and_an_earlier_deadline_overtakes() {
        struct Thread(std::thread::Thread);
        impl Wake for Thread {
            fn wake(self: Arc<Self>) {
                self.0.unpark();
            }
        }
        let clock = Clock::real();
        let far = clock.arm(clock.now().after(Duration::from_hours(1)), Waker::noop().clone());
        let waker = Waker::from(Arc::new(Thread(std::thread::current())));
        let start = clock.now();
        let mut nap = pin!(sleep_until(&clock, start.after(Duration::from_millis(5))));
        while nap.as_mut().poll(&mut Context::from_waker(&waker)).is_pending() {
            std::thread::park();
        }
        let took = clock.now().since(start);
        assert!(took >= Duration::from_millis(5) && took < Duration::from_secs(5), "{took:?}");
        clock.disarm(far);
        clock.close();
    }
}
