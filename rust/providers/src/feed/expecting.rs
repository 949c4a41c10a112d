//! A feed of what happens in the world around: its thread waits for that, and a request wakes it.

#[cfg(target_os = "linux")]
use mountain_core::effect::AtWork;

use super::feed::Shared;

impl<T> Shared<T> {
    pub(super) fn wake(&self) {
        if self.expects
            && let Some(wake) = &*self.wake.lock()
        {
            wake();
        }
    }

    /// The thread waits elsewhere than in [`push`](Self::push): each request calls this, and so does the end.
    #[cfg(target_os = "linux")]
    pub(crate) fn on_request(&self, wake: impl Fn() + Send + 'static) {
        *self.wake.lock() = Some(Box::new(wake));
    }

    /// The number of the last request.
    #[cfg(target_os = "linux")]
    pub(crate) fn request(&self) -> u64 {
        self.state.lock().requests
    }

    /// Nothing is under way for this request: virtual time goes on.
    #[cfg(target_os = "linux")]
    pub(crate) fn rests(&self, request: u64) {
        let at_work = {
            let mut state = self.state.lock();
            let this = state.requests == request;
            state.asked.as_mut().filter(|_| this).and_then(|(_, at_work)| at_work.take())
        };
        drop(at_work);
    }

    /// Something is under way for the call that waits, if one does.
    #[cfg(target_os = "linux")]
    pub(crate) fn works(&self) {
        if let Some((_, at_work)) = &mut self.state.lock().asked {
            at_work.get_or_insert_with(AtWork::begin);
        }
    }
}
