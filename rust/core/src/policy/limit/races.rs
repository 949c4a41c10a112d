//! Loom's models of the hand-over: permits that come back, waiters that come, look and leave, and a limit that is
//! resized, on threads that race.
//!
//! Every interleaving of the limit's lock and of the wakers is tried, up to the bound on preemptions: a permit that is
//! lost leaves a thread waiting, which loom reports; one that is doubled is seen inside. Not modelled are the clock,
//! and the counts of waits within a call (`PermitContext`), which change under the limit's lock only.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::sync::{Condvar, Mutex};
use loom::thread;

use super::machine::Caller;
use super::{Limit, Overflow, Permit, Settings};
use crate::effect::{Holder, PermitContext, Submitted};
use crate::error::Reason;
use crate::schedule::Priority::{self, High, Low, Normal};
use crate::time::{Clock, Instant};

struct Scene {
    limit: Arc<Limit>,
    clock: Arc<Clock>,
    inside: AtomicUsize,
}

/// A waker that a thread can wait for, as a loop waits for its eventfd.
#[derive(Default)]
struct Gong {
    rung: Mutex<bool>,
    heard: Condvar,
}

impl Wake for Gong {
    fn wake(self: Arc<Self>) {
        *self.rung.lock().unwrap() = true;
        self.heard.notify_one();
    }
}

impl Gong {
    fn wait(&self) {
        let mut rung = self.rung.lock().unwrap();
        while !*rung {
            rung = self.heard.wait(rung).unwrap();
        }
        *rung = false;
    }
}

impl Scene {
    fn new(settings: Settings) -> Arc<Self> {
        Arc::new(Scene { limit: Limit::new(settings), clock: Clock::manual(), inside: AtomicUsize::new(0) })
    }

    /// A limit of one permit, and that permit.
    fn one(most_waiting: Option<u32>, overflow: Overflow) -> (Arc<Self>, Permit) {
        let scene = Self::new(Settings { n: 1, most_waiting, overflow });
        let permit = scene.limit.try_permit(&scene.clock, 0, None).unwrap();
        (scene, permit)
    }

    async fn ask(&self, priority: Priority) -> Result<Permit, Reason> {
        let caller = Caller { key: 0, priority, until: Instant::NEVER, held: None };
        self.limit.acquire(&self.clock, caller).await?;
        Ok(self.limit.permit_granted(&self.clock, 0, None))
    }

    /// Waits for a permit, is inside, and gives it back. At most `most` may be inside.
    fn pass(&self, priority: Priority, most: usize) -> Result<(), Reason> {
        let permit = wait(pin!(self.ask(priority)))?;
        assert!(self.inside.fetch_add(1, Ordering::SeqCst) < most, "a permit was doubled");
        self.inside.fetch_sub(1, Ordering::SeqCst);
        drop(permit);
        Ok(())
    }

    fn is_idle(&self) -> bool {
        self.limit.counts() == (0, [0; 3])
    }
}

fn once<F: Future>(future: Pin<&mut F>, waker: &Waker) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(waker))
}

fn wait<F: Future>(mut future: Pin<&mut F>) -> F::Output {
    let gong = Arc::new(Gong::default());
    let waker = Waker::from(gong.clone());
    loop {
        match once(future.as_mut(), &waker) {
            Poll::Ready(output) => return output,
            Poll::Pending => gong.wait(),
        }
    }
}

fn spawn<T: 'static>(scene: &Arc<Scene>, does: impl FnOnce(&Scene) -> T + 'static) -> thread::JoinHandle<T> {
    let scene = scene.clone();
    thread::spawn(move || does(&scene))
}

#[test]
fn one_after_another_has_the_place() {
    loom::model(|| {
        let (scene, permit) = Scene::one(None, Overflow::Reject);
        let waiters = [Normal, High].map(|priority| spawn(&scene, move |scene| scene.pass(priority, 1)));
        drop(permit);
        for waiter in waiters {
            assert_eq!(waiter.join().unwrap(), Ok(()));
        }
        assert!(scene.is_idle());
    });
}

/// A waiter that leaves may have been handed the permit already: then the next one gets it.
#[test]
fn who_leaves_is_in_nobodys_way() {
    loom::model(|| {
        let (scene, permit) = Scene::one(None, Overflow::Reject);
        let leaves = spawn(&scene, |scene| {
            let mut asked = pin!(scene.ask(High));
            let _ = once(asked.as_mut(), Waker::noop());
        });
        let stays = spawn(&scene, |scene| scene.pass(Low, 1));
        drop(permit);
        leaves.join().unwrap();
        assert_eq!(stays.join().unwrap(), Ok(()));
        assert!(scene.is_idle());
    });
}

/// As when the thread that begins the call takes the first step, and a task the others.
#[test]
fn who_looks_with_another_waker_hears_of_it() {
    loom::model(|| {
        let (scene, permit) = Scene::one(None, Overflow::Reject);
        let waiter = spawn(&scene, |scene| {
            let mut asked = pin!(scene.ask(Normal));
            match once(asked.as_mut(), Waker::noop()) {
                Poll::Ready(found) => found.map(drop),
                Poll::Pending => wait(asked).map(drop),
            }
        });
        drop(permit);
        assert_eq!(waiter.join().unwrap(), Ok(()));
        assert!(scene.is_idle());
    });
}

#[test]
fn resizing_races_with_who_comes_and_goes() {
    loom::model(|| {
        let (scene, permit) = Scene::one(None, Overflow::Reject);
        let waiter = spawn(&scene, |scene| scene.pass(Normal, 2));
        let narrows = spawn(&scene, |scene| scene.limit.resize(1, scene.clock.now()));
        scene.limit.resize(2, scene.clock.now());
        drop(permit);
        assert_eq!(waiter.join().unwrap(), Ok(()));
        narrows.join().unwrap();
        assert!(scene.is_idle());
    });
}

/// With a second permit a waiter does not wait for the first.
#[test]
fn a_new_place_is_handed_to_who_waits() {
    loom::model(|| {
        let (scene, permit) = Scene::one(None, Overflow::Reject);
        let waiter = spawn(&scene, |scene| scene.pass(Normal, 1));
        scene.limit.resize(2, scene.clock.now());
        assert_eq!(waiter.join().unwrap(), Ok(()));
        drop(permit);
        assert!(scene.is_idle());
    });
}

/// A waiter is refused for a more urgent one, or handed the permit before: never both, never neither.
#[test]
fn who_is_sent_away_hears_of_it() {
    loom::model(|| {
        let (scene, permit) = Scene::one(Some(1), Overflow::Shed);
        let low = spawn(&scene, |scene| scene.pass(Low, 1));
        let high = spawn(&scene, |scene| scene.pass(High, 1));
        drop(permit);
        assert_eq!(high.join().unwrap(), Ok(()));
        assert!(matches!(low.join().unwrap(), Ok(()) | Err(Reason::Full(1))));
        assert!(scene.is_idle());
    });
}

/// The holder awaits work, that awaits other work, and that waits for the holder: whichever link is made last, the
/// circle is seen.
#[test]
fn what_waits_for_itself_through_submitted_work_is_refused() {
    loom::model(|| {
        let (scene, permit) = Scene::one(None, Overflow::Reject);
        let [outer, inner] = [(), ()].map(|()| Submitted::new(false));
        let (outer_held, inner_held) = (PermitContext::of_work(outer.clone()), PermitContext::of_work(inner.clone()));
        let waits = spawn(&scene, move |scene| {
            let holder = Holder::from(inner_held);
            let caller = Caller { key: 0, priority: Normal, until: Instant::NEVER, held: Some(&holder) };
            wait(pin!(scene.limit.acquire(&scene.clock, caller)))
        });
        let links = spawn(&scene, move |_| inner.awaited_by(Some(&outer_held), None));
        outer.awaited_by(Some(permit.held()), None);
        assert!(matches!(waits.join().unwrap(), Err(Reason::Reentered)));
        assert!(links.join().unwrap());
        drop(permit);
        assert!(scene.is_idle());
    });
}

/// A call in a flight waits for the permit of a caller that comes, leaves and gives it back, or stays until the flight
/// has ended: no count is left over, so that what comes later is refused where it waits for itself, and only there.
fn joins_and(leaves: impl Fn(&Arc<Submitted>, Permit) + Send + Sync + Copy + 'static) {
    loom::model(move || {
        let (scene, permit) = Scene::one(None, Overflow::Reject);
        let work = Submitted::new(false);
        let inside = PermitContext::of_work(work.clone());
        let waits = spawn(&scene, move |scene| {
            let holder = Holder::from(inside);
            let caller = Caller { key: 0, priority: Normal, until: Instant::NEVER, held: Some(&holder) };
            let found = wait(pin!(scene.limit.acquire(&scene.clock, caller)));
            if found.is_ok() {
                drop(scene.limit.permit_granted(&scene.clock, 0, None));
            }
            found
        });
        work.awaited_by(Some(permit.held()), None);
        leaves(&work, permit);
        // Refused while the caller waited, or handed the permit after.
        assert!(matches!(waits.join().unwrap(), Ok(()) | Err(Reason::Reentered)));
        assert!(scene.is_idle());
        let permit = scene.limit.try_permit(&scene.clock, 0, None).unwrap();
        let asks = |held: Option<&Holder<'_>>| {
            let caller = Caller { key: 0, priority: Normal, until: Instant::NEVER, held };
            once(pin!(scene.limit.acquire(&scene.clock, caller)), Waker::noop())
        };
        assert!(asks(None).is_pending());
        assert!(matches!(asks(Some(&Holder::from(permit.held().clone()))), Poll::Ready(Err(Reason::Reentered))));
    });
}

#[test]
fn who_leaves_a_flight_does_not_count_as_waiting() {
    joins_and(|work, permit| {
        work.left_by(Some(permit.held()), None);
        drop(permit);
    });
}

#[test]
fn who_had_the_outcome_does_not_count_as_waiting() {
    joins_and(|work, permit| {
        let ends = thread::spawn({
            let work = work.clone();
            move || work.over()
        });
        drop(permit);
        work.left_by(None, None);
        ends.join().unwrap();
    });
}

/// Two callers hold both permits: one joins, the other leaves. The call inside is refused only while both wait.
#[test]
fn one_joins_as_another_leaves() {
    loom::model(|| {
        let scene = Scene::new(Settings { n: 2, most_waiting: None, overflow: Overflow::Reject });
        let [stays, leaves] = [(), ()].map(|()| scene.limit.try_permit(&scene.clock, 0, None).unwrap());
        let work = Submitted::new(false);
        let holder = Holder::from(PermitContext::of_work(work.clone()));
        let caller = Caller { key: 0, priority: Normal, until: Instant::NEVER, held: Some(&holder) };
        let mut asked = pin!(scene.limit.acquire(&scene.clock, caller));
        work.awaited_by(Some(leaves.held()), None);
        assert!(once(asked.as_mut(), Waker::noop()).is_pending());
        let joins = thread::spawn({
            let (work, held) = (work.clone(), stays.held().clone());
            move || work.awaited_by(Some(&held), None)
        });
        work.left_by(Some(leaves.held()), None);
        drop(leaves);
        assert!(joins.join().unwrap());
        let found = wait(asked);
        assert!(matches!(found, Ok(()) | Err(Reason::Reentered)));
        if found.is_ok() {
            drop(scene.limit.permit_granted(&scene.clock, 0, None));
        }
        drop(stays);
        assert!(scene.is_idle());
    });
}
