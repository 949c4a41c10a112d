//! Tests of keys: they get small numbers, and lose them when unused.

use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

static FORGOTTEN: AtomicUsize = AtomicUsize::new(0);

fn number_of(keys: &Arc<Keys>, clock: &Arc<Clock>, key: usize) -> Use {
    // Few hashes, so that keys share them.
    keys.intern(clock, key as u64 % 97, || key, |token| Ok::<_, Infallible>(token == key)).unwrap()
}

#[test]
fn equal_keys_have_one_number_and_idle_ones_go() {
    let clock = Clock::manual();
    let busy = Arc::new(Mutex::new(std::collections::HashSet::from([3u32])));
    let rest = {
        let busy = busy.clone();
        move |number: u32, _| !busy.lock().contains(&number)
    };
    let forget = |_| {
        FORGOTTEN.fetch_add(1, Ordering::SeqCst);
    };
    let keys = Keys::new(forget, Duration::from_secs(1), rest);
    let used: Vec<Use> = (0..3000).map(|key| number_of(&keys, &clock, key)).collect();
    let numbers: std::collections::HashSet<u32> = used.iter().map(Use::number).collect();
    assert_eq!(numbers.len(), 3000);
    assert!((0..3000).all(|key| number_of(&keys, &clock, key).number() == used[key].number()));
    clock.advance(Duration::from_secs(2));
    assert_eq!(keys.len(), 3000, "they are in use");
    drop(used);
    clock.advance(Duration::from_secs(2));
    assert_eq!(keys.len(), 1, "one has a state that is not at rest");
    busy.lock().clear();
    clock.advance(Duration::from_secs(2));
    assert_eq!((keys.len(), FORGOTTEN.load(Ordering::SeqCst)), (0, 3000));
    drop(number_of(&keys, &clock, 5));
    clock.advance(Duration::from_secs(2));
    assert!(keys.is_empty(), "the clock reminds again");
    assert_eq!(clock.armed(), 0);
    drop(number_of(&keys, &clock, 6));
    assert_eq!(clock.armed(), 0, "nobody waits for a reminder");
    let known = Arc::downgrade(&keys);
    drop(keys);
    assert!(known.upgrade().is_none());
    clock.advance(Duration::from_secs(2));
}

#[test]
fn a_comparison_that_fails_or_comes_back_here_holds_no_lock() {
    let clock = Clock::manual();
    let keys = Keys::new(|_| (), Duration::from_secs(1), |_, _| true);
    let one = number_of(&keys, &clock, 1);
    let again = keys.intern(&clock, 1, || 8, |_| Ok::<_, ()>(number_of(&keys, &clock, 1).number() == 0)).unwrap();
    assert_ne!(one.number(), again.number());
    assert!(keys.intern(&clock, 1, || 15, |_| Err(())).is_err());
    assert_eq!(keys.len(), 2);
}
