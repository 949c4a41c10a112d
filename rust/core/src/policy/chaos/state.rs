//! The state of chaos: whether it is on, the number of the next call, and the calls that hang.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};

use super::Settings;
use super::machine::decide;
use crate::observe::Injected;
use crate::sync::Mutex;

#[derive(Debug)]
pub struct Chaos {
    pub settings: Settings,
    /// The same as `entered > 0`: each call reads it.
    on: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// How often it was entered and not yet left.
    entered: usize,
    /// How often it has been turned off.
    turn: u64,
    figures: Figures,
    /// Of all turns before.
    earlier: Figures,
    /// The calls that hang, by their number, until it is turned off.
    hung: HashMap<u64, Waker>,
}

/// Its calls, since it was turned on or since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// All of them, also those without a fault.
    pub calls: u64,
    pub failed: u64,
    pub delayed: u64,
    pub hung: u64,
}

impl Figures {
    fn add(&mut self, more: Figures) {
        let Figures { calls, failed, delayed, hung } = more;
        self.calls += calls;
        self.failed += failed;
        self.delayed += delayed;
        self.hung += hung;
    }
}

impl Chaos {
    pub fn new(settings: Settings) -> Self {
        Chaos { settings, on: AtomicBool::new(false), state: Mutex::default() }
    }

    pub fn is_on(&self) -> bool {
        self.on.load(Ordering::Relaxed)
    }

    /// Turns it on, if it is not: its calls are numbered anew. True: it was off.
    pub fn enter(&self) -> bool {
        let mut state = self.state.lock();
        state.entered += 1;
        let first = state.entered == 1;
        if first {
            let ended = std::mem::take(&mut state.figures);
            state.earlier.add(ended);
            self.on.store(true, Ordering::Relaxed);
        }
        first
    }

    /// Turns it off, if it was entered only once: the calls that hang go on. True: it is off.
    pub fn leave(&self) -> bool {
        let mut state = self.state.lock();
        state.entered = state.entered.saturating_sub(1);
        if state.entered > 0 {
            return false;
        }
        self.on.store(false, Ordering::Relaxed);
        state.turn += 1;
        let hung = std::mem::take(&mut state.hung);
        drop(state);
        hung.into_values().for_each(Waker::wake);
        true
    }

    /// Since it was turned on.
    pub fn figures(&self) -> Figures {
        self.state.lock().figures
    }

    /// Since it was made.
    pub fn all_figures(&self) -> Figures {
        let state = self.state.lock();
        let mut all = state.earlier;
        all.add(state.figures);
        all
    }

    /// The fault of the next call, if any, and the end of a hang.
    pub(super) fn next(&self) -> Option<(Injected, Hang<'_>)> {
        let mut state = self.state.lock();
        if state.entered == 0 {
            return None;
        }
        let number = state.figures.calls;
        state.figures.calls += 1;
        let injected = decide(&self.settings, number)?;
        let figures = &mut state.figures;
        match injected {
            Injected::Failure => figures.failed += 1,
            Injected::Delay(_) => figures.delayed += 1,
            Injected::Hang => figures.hung += 1,
        }
        Some((injected, Hang { chaos: self, turn: state.turn, number }))
    }
}

/// Ready when the chaos has been turned off.
pub(super) struct Hang<'a> {
    chaos: &'a Chaos,
    turn: u64,
    number: u64,
}

impl Future for Hang<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.chaos.state.lock();
        if state.turn != self.turn {
            return Poll::Ready(());
        }
        let old = state.hung.insert(self.number, cx.waker().clone());
        drop(state);
        drop(old);
        Poll::Pending
    }
}

impl Drop for Hang<'_> {
    fn drop(&mut self) {
        let mut state = self.chaos.state.lock();
        // Of a later turn the number is another call's.
        let old = if state.turn == self.turn { state.hung.remove(&self.number) } else { None };
        drop(state);
        drop(old);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;
    use std::task::Wake;
    use std::time::Duration;

    fn chaos(fail: f64, hang: f64) -> Chaos {
        let delay = (Duration::ZERO, Duration::ZERO);
        Chaos::new(Settings { fail, hang, slow: 0.0, delay, seed: 7, errno: None })
    }

    fn sequence(chaos: &Chaos) -> Vec<bool> {
        (0..50).map(|_| chaos.next().is_some()).collect()
    }

    #[test]
    fn it_does_nothing_unless_it_is_on() {
        let chaos = chaos(1.0, 0.0);
        assert!(!chaos.is_on() && chaos.next().is_none());
        assert_eq!(chaos.figures(), Figures::default());
        assert!(chaos.enter() && chaos.is_on() && chaos.next().is_some());
        assert!(chaos.leave() && !chaos.is_on() && chaos.next().is_none());
        assert_eq!(chaos.figures(), Figures { calls: 1, failed: 1, ..Figures::default() });
    }

    #[test]
    fn the_last_to_leave_turns_it_off_and_the_next_to_enter_begins_anew() {
        let chaos = chaos(0.5, 0.0);
        assert!(chaos.enter());
        let first = sequence(&chaos);
        assert!(!chaos.enter(), "it is on already");
        assert_eq!(chaos.figures().calls, 50, "and goes on where it was");
        assert!(!chaos.leave() && chaos.is_on());
        assert!(chaos.leave() && !chaos.is_on());
        let before = chaos.figures();
        assert_eq!(chaos.all_figures(), before);
        assert!(chaos.enter());
        assert_eq!((chaos.figures(), chaos.all_figures()), (Figures::default(), before));
        assert_eq!(sequence(&chaos), first);
        assert_eq!(chaos.all_figures().calls, before.calls + 50);
        assert_eq!(chaos.all_figures().failed, before.failed + chaos.figures().failed);
    }

    #[derive(Default)]
    struct Count(AtomicUsize);
    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn a_hang_ends_when_it_is_turned_off_or_dropped() {
        let chaos = chaos(0.0, 1.0);
        chaos.enter();
        let count = Arc::new(Count::default());
        let waker = Waker::from(count.clone());
        let mut cx = Context::from_waker(&waker);
        let mut hung = pin!(chaos.next().expect("it hangs").1);
        assert!(hung.as_mut().poll(&mut cx).is_pending() && hung.as_mut().poll(&mut cx).is_pending());
        {
            let mut dropped = pin!(chaos.next().expect("it hangs").1);
            assert!(dropped.as_mut().poll(&mut cx).is_pending());
            assert_eq!(chaos.state.lock().hung.len(), 2);
        }
        assert_eq!(chaos.state.lock().hung.len(), 1);
        chaos.leave();
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
        // On again, and a call has the same number: the first one has ended all the same, and its drop leaves that.
        chaos.enter();
        {
            let mut again = pin!(chaos.next().expect("it hangs").1);
            assert!(again.as_mut().poll(&mut cx).is_pending());
            assert!(hung.as_mut().poll(&mut cx).is_ready());
            hung.set(chaos.next().expect("it hangs").1);
            assert_eq!(chaos.state.lock().hung.len(), 1);
        }
    }
}
