//! The waker that a run lends to its engine for one poll.

use std::cell::RefCell;
use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::task::{Context, RawWaker, RawWakerVTable, Wake, Waker};

use crate::port::queue::RunWake;

/// The waker of one poll: it becomes a `RunWake` only if the engine keeps it. A call that ends at once never does.
pub(super) struct LazyWake(RefCell<Option<Arc<RunWake>>>);

impl LazyWake {
    const VTABLE: RawWakerVTable = RawWakerVTable::new(Self::clone, Self::wake, Self::wake, |_| ());

    /// # Safety
    /// `data` is the `LazyWake` on the stack of the poll that lent this waker.
    unsafe fn made(data: *const ()) -> Arc<RunWake> {
        // SAFETY: as above.
        let lazy = unsafe { &*data.cast::<LazyWake>() };
        lazy.0.borrow_mut().get_or_insert_with(RunWake::new).clone()
    }

    /// # Safety
    /// As in `made`.
    unsafe fn clone(data: *const ()) -> RawWaker {
        // SAFETY: by the contract.
        let waker = ManuallyDrop::new(Waker::from(unsafe { Self::made(data) }));
        RawWaker::new(waker.data(), waker.vtable())
    }

    /// # Safety
    /// As in `made`.
    unsafe fn wake(data: *const ()) {
        // SAFETY: by the contract.
        unsafe { Self::made(data) }.wake();
    }

    /// Polls with a waker that wakes through `wake`, or through a new `RunWake` if the engine keeps the waker. Gives it
    /// back.
    pub(super) fn lend<T>(wake: Option<Arc<RunWake>>, poll: impl FnOnce(&mut Context<'_>) -> T) -> (Option<Arc<RunWake>>, T) {
        let lazy = LazyWake(RefCell::new(wake));
        // SAFETY: the vtable's functions accept this data, which outlives the poll; clones do not refer to it.
        let waker = ManuallyDrop::new(unsafe { Waker::from_raw(RawWaker::new((&raw const lazy).cast(), &Self::VTABLE)) });
        let polled = poll(&mut Context::from_waker(&waker));
        (lazy.0.into_inner(), polled)
    }
}
