use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::task::Wake;

use super::*;

const PATIENCE: Duration = Duration::from_secs(30);
const MILLI: Duration = Duration::from_millis(1);

/// Says its number and the time when it is woken.
struct Says(usize, Arc<Clock>, Sender<(usize, Instant)>);

impl Wake for Says {
    fn wake(self: Arc<Self>) {
        // A failed send is a test that has ended already.
        let _ = self.2.send((self.0, self.1.now()));
    }
}

struct Alarms(Arc<Clock>, Sender<(usize, Instant)>, Receiver<(usize, Instant)>);

impl Alarms {
    fn of(clock: &Arc<Clock>) -> Self {
        let (sender, receiver) = channel();
        Alarms(clock.clone(), sender, receiver)
    }

    fn arm(&self, number: usize, at: Instant) -> Key {
        self.0.arm(at, Waker::from(Arc::new(Says(number, self.0.clone(), self.1.clone()))))
    }

    /// The next one that is called, when time is real.
    #[track_caller]
    fn next(&self) -> (usize, Instant) {
        self.2.recv_timeout(PATIENCE).expect("an alarm")
    }

    /// Those that have been called.
    fn called(&self) -> Vec<usize> {
        self.2.try_iter().map(|(number, _)| number).collect()
    }
}

fn wait(time: Duration) {
    let clock = Clock::real();
    let alarms = Alarms::of(&clock);
    alarms.arm(0, clock.now().after(time));
    alarms.next();
    clock.close();
}

#[test]
fn a_clock_that_is_taken_over_stands_still_and_moves_when_it_is_told() {
    let clock = Clock::real();
    let alarms = Alarms::of(&clock);
    alarms.arm(1, clock.now());
    alarms.next(); // its thread runs
    let before = clock.now();
    let soon = clock.now().after(MILLI * 5);
    alarms.arm(2, soon);
    assert!(clock.take_over());
    let start = clock.now();
    assert!(start >= before);
    let was_due = start >= soon; // on a slow machine
    wait(MILLI * 20);
    assert_eq!(clock.now(), start);
    assert_eq!(clock.first(), (!was_due).then_some(soon));
    clock.advance(Duration::from_hours(1));
    assert_eq!(clock.now(), start.after(Duration::from_hours(1)));
    assert_eq!(alarms.next().0, 2);
    clock.close();
}

#[test]
fn nothing_fires_but_by_advance_in_order_and_equals_as_they_were_armed() {
    let clock = Clock::real();
    assert!(clock.take_over());
    assert!(!clock.take_over(), "it is somebody's");
    let (alarms, start) = (Alarms::of(&clock), clock.now());
    let at = |millis: u32| start.after(MILLI * millis);
    for (number, millis) in [(0, 3), (1, 2), (2, 2), (3, 2), (4, 1), (5, 2), (6, 0)] {
        alarms.arm(number, at(millis));
    }
    let taken_back = alarms.arm(7, at(1));
    clock.disarm(taken_back);
    wait(MILLI * 20);
    assert_eq!(alarms.called(), []);
    clock.advance(Duration::ZERO);
    assert_eq!(alarms.called(), [6]);
    clock.advance(MILLI * 2);
    assert_eq!(alarms.called(), [4, 1, 2, 3, 5]);
    assert_eq!(clock.first(), Some(at(3)));
    clock.close();
}

#[test]
fn handed_back_it_goes_on_from_where_it_stands_and_deadlines_keep_their_distance() {
    for ahead in [Duration::from_hours(1000), MILLI] {
        let clock = Clock::real();
        assert!(clock.take_over());
        let alarms = Alarms::of(&clock);
        wait(MILLI * 10); // behind real time, if it is hardly moved
        clock.advance(ahead);
        let (handed, soon) = (clock.now(), clock.now().after(MILLI * 10));
        alarms.arm(1, soon);
        alarms.arm(2, handed.after(Duration::from_hours(1)));
        clock.hand_back();
        clock.hand_back(); // nothing more happens
        let (number, woken) = alarms.next();
        assert_eq!(number, 1);
        assert!(woken >= soon && woken < handed.after(PATIENCE), "{woken:?} {handed:?}");
        assert_eq!(clock.armed(), 1);
        assert!(clock.take_over(), "it can be taken again");
        assert!(clock.now() >= woken);
        clock.close();
    }
}

#[test]
fn moving_too_far_stops_at_the_end_of_time() {
    let clock = Clock::manual();
    let alarms = Alarms::of(&clock);
    alarms.arm(1, Instant::NEVER);
    clock.advance(Duration::MAX);
    assert_eq!(clock.now().nanos(), !VIRTUAL);
    clock.advance(Duration::MAX);
    assert_eq!(alarms.called(), []);
    clock.hand_back();
    clock.close();
}

#[test]
#[should_panic(expected = "only a virtual clock")]
fn a_real_clock_cannot_be_moved() {
    Clock::real().advance(MILLI);
}

struct Counts(Arc<AtomicUsize>);

impl Wake for Counts {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// Whatever the thread was doing, it calls nothing by itself once the clock is taken over; and time never goes
/// backwards for a reader that takes one reading after the other.
#[test]
fn taking_over_and_handing_back_under_load() {
    let clock = Clock::real();
    let called = Arc::new(AtomicUsize::new(0));
    let end = Arc::new(AtomicBool::new(false));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !end.load(Ordering::Relaxed) {
                    for micros in 0..50 {
                        let at = clock.now().after(Duration::from_micros(micros));
                        clock.arm(at, Waker::from(Arc::new(Counts(called.clone()))));
                    }
                    std::thread::yield_now();
                }
            });
        }
        let mut last = clock.now();
        for _ in 0..300 {
            assert!(clock.take_over());
            let (start, before) = (clock.now(), called.load(Ordering::SeqCst));
            assert!(start >= last);
            (0..20).for_each(|_| std::thread::yield_now());
            assert_eq!((clock.now(), called.load(Ordering::SeqCst)), (start, before));
            clock.advance(Duration::from_micros(30));
            last = clock.now();
            clock.hand_back();
            assert!(clock.now() >= last);
            last = clock.now();
        }
        end.store(true, Ordering::Relaxed);
    });
    while clock.armed() > 0 {
        std::thread::yield_now(); // real again, it wakes all the others
    }
    assert!(called.load(Ordering::SeqCst) > 0);
    clock.close();
}

#[test]
fn a_chore_is_done_in_its_time_and_waited_for_by_nobody() {
    let says = |alarms: &Alarms, number| Waker::from(Arc::new(Says(number, alarms.0.clone(), alarms.1.clone())));
    let clock = Clock::real();
    let alarms = Alarms::of(&clock);
    alarms.arm(1, clock.now().after(PATIENCE * 2));
    clock.arm_aside(clock.now().after(MILLI), says(&alarms, 2));
    assert_eq!(alarms.next().0, 2, "the thread wakes for it");
    let clock = Clock::manual();
    let alarms = Alarms::of(&clock);
    clock.arm_aside(clock.now().after(MILLI), says(&alarms, 3));
    let never = clock.arm_aside(clock.now().after(MILLI), says(&alarms, 4));
    alarms.arm(5, clock.now().after(MILLI * 2));
    assert_eq!((clock.armed(), clock.first()), (1, Some(clock.now().after(MILLI * 2))));
    clock.disarm_aside(never);
    clock.advance(MILLI);
    assert_eq!(alarms.called(), [3]);
    clock.advance(MILLI);
    assert_eq!((alarms.called(), clock.armed()), (vec![5], 0));
}
