//! The limiter by jumps of time: its guarantees, number by number. `model` holds it against a simple reference under
//! any schedule.

mod model;
mod reference;

use super::*;
use crate::schedule::Priority::{High, Low, Normal};

const SECOND: u64 = 1_000_000_000;

fn at(seconds: f64) -> Instant {
    Instant::from_nanos((seconds * SECOND as f64).round() as u64)
}

fn secs(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

fn strict(n: f64, per: f64) -> Limiter {
    Limiter::new(&Settings { n, per: secs(per), burst: None, max_wait: None })
}

fn bucket(n: f64, per: f64, burst: f64) -> Limiter {
    Limiter::new(&Settings { n, per: secs(per), burst: Some(burst), max_wait: None })
}

fn ask(l: &mut Limiter, key: u32, cost: f64, now: f64) -> Answer {
    l.ask(key, Normal, cost, at(now), Instant::NEVER)
}

/// Asks, and starts at once if it may.
fn go(l: &mut Limiter, cost: f64, now: f64) -> bool {
    match ask(l, 0, cost, now) {
        Answer::Go(offer) => {
            l.started(offer, at(now));
            true
        }
        Answer::Wait(ticket) => {
            l.leave(ticket);
            false
        }
        Answer::Refused { .. } => false,
    }
}

fn ticket(answer: Answer) -> Ticket {
    match answer {
        Answer::Wait(ticket) => ticket,
        other => panic!("{other:?}"),
    }
}

fn offer(answer: Answer) -> Offer {
    match answer {
        Answer::Go(offer) => offer,
        other => panic!("{other:?}"),
    }
}

fn due(l: &mut Limiter, now: Instant) -> Vec<Turn> {
    let mut turns = Vec::new();
    l.due(now, &mut turns);
    assert!(l.next() > now);
    turns
}

/// Starts every waiter as soon as it may; returns when, in order.
fn drain(l: &mut Limiter) -> Vec<Instant> {
    let mut starts = Vec::new();
    while l.next() != Instant::NEVER {
        let now = l.next();
        let turns = due(l, now);
        assert!(!turns.is_empty(), "woken for nothing");
        for (_, turn) in turns {
            l.started(turn.unwrap(), now);
            starts.push(now);
        }
    }
    assert_eq!(l.waiting(), 0);
    starts
}

#[test]
fn ten_at_once_go_three_in_any_three_seconds() {
    let mut l = strict(3.0, 3.0);
    for i in 0..10 {
        match ask(&mut l, 0, 1.0, 0.0) {
            Answer::Go(offer) if i < 3 => l.started(offer, at(0.0)),
            answer => drop(ticket(answer)),
        }
    }
    assert_eq!(drain(&mut l), [3.0, 3.0, 3.0, 6.0, 6.0, 6.0, 9.0].map(at));
}

#[test]
fn a_bucket_lets_its_burst_go_and_then_its_rate() {
    let mut l = bucket(2.0, 1.0, 3.0);
    assert_eq!((0..10).filter(|_| go(&mut l, 1.0, 5.0)).count(), 3);
    assert_eq!((0..10).filter(|_| go(&mut l, 1.0, 5.5)).count(), 1);
    assert_eq!((0..10).filter(|_| go(&mut l, 1.0, 60.0)).count(), 3);
}

#[test]
fn what_counts_is_when_it_starts() {
    for mut l in [strict(1.0, 1.0), bucket(1.0, 1.0, 1.0)] {
        let held = offer(ask(&mut l, 0, 1.0, 0.0));
        let _waits = ticket(ask(&mut l, 0, 1.0, 0.0));
        assert_eq!(l.next(), Instant::NEVER);
        assert!(due(&mut l, at(7.0)).is_empty());
        l.started(held, at(7.0));
        assert_eq!(drain(&mut l), [at(8.0)]);
    }
}

#[test]
fn what_is_withdrawn_was_never_offered() {
    for mut l in [strict(1.0, 1.0), bucket(1.0, 1.0, 1.0)] {
        let held = offer(ask(&mut l, 0, 1.0, 0.0));
        let _waits = ticket(ask(&mut l, 0, 1.0, 0.0));
        l.withdraw(held, at(0.1));
        assert_eq!(drain(&mut l), [at(0.1)]);
        assert!(!l.is_idle(0, at(0.9)) && l.is_idle(0, at(1.1)));
    }
}

#[test]
fn who_comes_too_late_is_refused_at_once() {
    let mut l = strict(2.0, 10.0);
    assert!(go(&mut l, 1.0, 0.0) && go(&mut l, 1.0, 4.0));
    let _first = ticket(l.ask(0, Normal, 1.0, at(5.0), at(10.0)));
    assert_eq!(l.ask(0, Normal, 1.0, at(5.0), at(13.9)), Answer::Refused { retry_after: secs(9.0) });
    let _second = ticket(l.ask(0, Normal, 1.0, at(5.0), at(14.0)));
    assert_eq!(l.ask(0, Normal, 1.0, at(5.0), at(19.0)), Answer::Refused { retry_after: secs(15.0) });
    assert_eq!(l.waiting_on(0), 2);
}

#[test]
fn nobody_waits_longer_than_he_may() {
    let mut l = Limiter::new(&Settings { n: 1.0, per: secs(1.0), burst: None, max_wait: Some(secs(2.0)) });
    assert!(go(&mut l, 1.0, 0.0));
    let (first, second) = (ticket(ask(&mut l, 0, 1.0, 0.0)), ticket(ask(&mut l, 0, 1.0, 0.5)));
    assert_eq!(ask(&mut l, 0, 1.0, 0.5), Answer::Refused { retry_after: secs(2.5) });
    l.pause(0, at(2.5));
    assert_eq!(l.next(), at(2.0));
    assert_eq!(due(&mut l, at(2.0)), [(first, Err(secs(0.5)))]);
    assert!(matches!(&due(&mut l, at(2.5))[..], [(t, Ok(_))] if *t == second));
}

/// Asks with that priority, where there is no room.
fn wait_as(l: &mut Limiter, priority: Priority, cost: f64, now: f64) -> Ticket {
    ticket(l.ask(0, priority, cost, at(now), Instant::NEVER))
}

#[test]
fn a_high_one_goes_before_those_who_wait_and_the_window_stays_strict() {
    for mut l in [strict(1.0, 1.0), bucket(1.0, 1.0, 1.0)] {
        assert!(go(&mut l, 1.0, 0.0));
        let low = [(); 3].map(|()| wait_as(&mut l, Low, 1.0, 0.0));
        let (normal, high) = (wait_as(&mut l, Normal, 1.0, 0.1), wait_as(&mut l, High, 1.0, 0.2));
        let mut order = Vec::new();
        for second in 1..=5 {
            let now = at(f64::from(second));
            assert_eq!(l.next(), now);
            for (ticket, turn) in due(&mut l, now) {
                l.started(turn.unwrap(), now);
                order.push(ticket);
            }
            assert_eq!(order.len(), second as usize);
        }
        assert_eq!(order, [high, normal, low[0], low[1], low[2]]);
    }
}

#[test]
fn a_low_one_is_passed_over_sixteen_times() {
    let mut l = strict(1.0, 1.0);
    assert!(go(&mut l, 1.0, 0.0));
    let low = wait_as(&mut l, Low, 1.0, 0.0);
    for second in 1..=17 {
        let high = wait_as(&mut l, High, 1.0, f64::from(second) - 0.5);
        let now = at(f64::from(second));
        let [(gone, turn)] = <[Turn; 1]>::try_from(due(&mut l, now)).unwrap();
        l.started(turn.unwrap(), now);
        assert_eq!(gone, if second == 17 { low } else { high });
    }
}

#[test]
fn a_high_one_that_finds_room_does_not_wait_behind_a_costly_low_one() {
    let mut l = strict(4.0, 1.0);
    assert!(go(&mut l, 1.0, 0.0));
    let _low = wait_as(&mut l, Low, 4.0, 0.0);
    assert_eq!(l.next(), at(1.0));
    let held = offer(l.ask(0, High, 2.0, at(0.5), Instant::NEVER));
    assert_eq!(l.next(), Instant::NEVER);
    l.started(held, at(0.5));
    assert_eq!(drain(&mut l), [at(1.5)]);
}

#[test]
fn who_is_refused_is_foretold_with_priorities() {
    let mut l = strict(1.0, 1.0);
    assert!(go(&mut l, 1.0, 0.0));
    let _waits = [(); 8].map(|()| wait_as(&mut l, Low, 1.0, 0.0));
    assert_eq!(l.ask(0, Low, 1.0, at(0.0), at(8.9)), Answer::Refused { retry_after: secs(9.0) });
    assert_eq!(l.ask(0, High, 1.0, at(0.0), at(0.9)), Answer::Refused { retry_after: secs(1.0) });
    let _high = [(); 6].map(|()| ticket(l.ask(0, High, 1.0, at(0.0), at(6.0))));
    // After four of the six.
    assert_eq!(l.ask(0, Normal, 1.0, at(0.0), at(4.9)), Answer::Refused { retry_after: secs(5.0) });
    let _normal = ticket(l.ask(0, Normal, 1.0, at(0.0), at(5.0)));
}

#[test]
fn one_who_was_overtaken_waits_no_longer_than_it_may() {
    let mut l = Limiter::new(&Settings { n: 1.0, per: secs(1.0), burst: None, max_wait: Some(secs(1.5)) });
    assert!(go(&mut l, 1.0, 0.0));
    let low = wait_as(&mut l, Low, 1.0, 0.0);
    let (first, second) = (wait_as(&mut l, High, 1.0, 0.6), wait_as(&mut l, High, 1.0, 0.7));
    let turns = due(&mut l, at(1.0));
    let [(ticket, Ok(offer))] = <[Turn; 1]>::try_from(turns).unwrap() else { panic!() };
    assert_eq!(ticket, first);
    l.started(offer, at(1.0));
    assert_eq!(l.next(), at(1.5));
    // Behind the second High one, which goes at 2.
    assert_eq!(due(&mut l, at(1.5)), [(low, Err(secs(1.5)))]);
    assert!(matches!(&due(&mut l, at(2.0))[..], [(t, Ok(_))] if *t == second));
}

#[test]
fn nothing_goes_in_a_pause_and_the_later_pause_wins() {
    for mut l in [strict(5.0, 1.0), bucket(5.0, 1.0, 5.0), strict(f64::INFINITY, 1.0)] {
        l.pause(0, at(3.0));
        l.pause(0, at(2.0));
        let _waits = [0.0, 1.0, 0.0].map(|cost| ticket(ask(&mut l, 0, cost, 0.0)));
        assert!(matches!(ask(&mut l, 1, 1.0, 0.0), Answer::Go(_)));
        assert_eq!(l.ask(0, Normal, 0.0, at(1.0), at(2.9)), Answer::Refused { retry_after: secs(2.0) });
        assert_eq!(drain(&mut l), [at(3.0); 3]);
    }
}

#[test]
fn what_costs_nothing_waits_for_nobody() {
    for mut l in [strict(1.0, 1.0), bucket(1.0, 1.0, 1.0)] {
        l.charge(0, 5.0, at(0.0));
        let _waits = ticket(ask(&mut l, 0, 1.0, 0.0));
        assert!(matches!(ask(&mut l, 0, 0.0, 0.0), Answer::Go(_)));
    }
}

#[test]
fn a_charge_is_a_debt_and_a_refund_is_no_gain() {
    let mut l = bucket(1.0, 1.0, 4.0);
    l.charge(0, 6.0, at(0.0));
    let _waits = ticket(ask(&mut l, 0, 1.0, 0.0));
    assert_eq!(l.next(), at(3.0));
    l.charge(0, -2.0, at(0.0));
    assert_eq!(drain(&mut l), [at(1.0)]);
    l.charge(0, -100.0, at(1.0));
    assert_eq!((0..10).filter(|_| go(&mut l, 1.0, 1.0)).count(), 4);

    let mut l = strict(4.0, 10.0);
    l.charge(0, 6.0, at(0.0));
    assert!(!go(&mut l, 1.0, 9.9));
    l.charge(0, -3.0, at(9.9));
    assert!(go(&mut l, 1.0, 9.9) && !go(&mut l, 1.0, 9.9));
    l.charge(0, -100.0, at(9.9));
    assert_eq!((0..10).filter(|_| go(&mut l, 1.0, 9.9)).count(), 4);

    // A start that has left the window is not given back.
    let mut l = strict(2.0, 10.0);
    assert!(go(&mut l, 1.0, 0.0) && go(&mut l, 1.0, 5.0));
    l.charge(0, -1.0, at(10.0));
    assert_eq!((0..10).filter(|_| go(&mut l, 1.0, 10.0)).count(), 2);
}

#[test]
fn a_lowered_limit_holds_and_goes_on_refilling() {
    let mut l = strict(4.0, 4.0);
    assert_eq!((0..10).filter(|_| go(&mut l, 1.0, 0.0)).count(), 4);
    let (_waits, hopeless) = ([(); 4].map(|()| ticket(ask(&mut l, 0, 1.0, 1.0))), ticket(ask(&mut l, 0, 3.0, 1.0)));
    let mut turns = Vec::new();
    l.change(2.0, secs(5.0), at(2.0), &mut turns);
    assert_eq!(turns, [(hopeless, Err(Duration::MAX))]);
    assert_eq!(drain(&mut l), [5.0, 5.0, 10.0, 10.0].map(at));

    let mut l = bucket(10.0, 1.0, 10.0);
    assert_eq!((0..20).filter(|_| go(&mut l, 1.0, 0.0)).count(), 10);
    let _waits = [(); 3].map(|()| ticket(ask(&mut l, 0, 1.0, 0.0)));
    l.change(1.0, secs(1.0), at(0.05), &mut turns);
    assert_eq!(drain(&mut l), [0.55, 1.55, 2.55].map(at));
    l.change(0.0, secs(1.0), at(3.0), &mut turns);
    assert_eq!(ask(&mut l, 0, 1.0, 3.0), Answer::Refused { retry_after: Duration::MAX });
    l.change(f64::INFINITY, secs(1.0), at(3.0), &mut turns);
    assert!((0..1000).all(|_| go(&mut l, 1.0, 3.0)));
}

#[test]
fn no_limit_and_no_entry() {
    for mut l in [strict(f64::INFINITY, 1.0), strict(1.0, 0.0), bucket(f64::INFINITY, 1.0, 1.0), bucket(1.0, 1.0, f64::INFINITY)]
    {
        assert!((0..1000).all(|_| go(&mut l, 1e300, 0.0)));
        assert!(l.is_idle(0, at(0.0)));
    }
    for mut l in [strict(0.0, 1.0), bucket(0.0, 1.0, 1.0), bucket(1.0, 1.0, 0.0)] {
        for cost in [0.0, 1e-9, 1.0] {
            assert_eq!(ask(&mut l, 0, cost, 0.0), Answer::Refused { retry_after: Duration::MAX });
        }
    }
    for mut l in [strict(2.0, 1.0), bucket(2.0, 1.0, 2.0)] {
        assert_eq!(ask(&mut l, 0, 2.5, 0.0), Answer::Refused { retry_after: Duration::MAX });
    }
}

#[test]
fn numbers_of_any_size() {
    let mut l = strict(1.0, 1.0);
    assert_eq!((0..20).filter(|_| go(&mut l, 0.1, 0.0)).count(), 10);
    let mut l = strict(0.3, 1.0);
    assert_eq!((0..20).filter(|_| go(&mut l, 0.1, 0.0)).count(), 3);
    let mut l = bucket(1e9, 1.0, 10.0);
    assert_eq!((0..20).filter(|_| go(&mut l, 1.0, 0.0)).count(), 10);
    // No unit of time that is too short or too long: a thousand million in a nanosecond, one in an age of the world.
    let mut l = bucket(1e9, 1e-9, 1e3);
    assert!((0..20).all(|i| go(&mut l, 1e3, f64::from(i) * 1e-9)));
    for mut l in [strict(2.0, 1e18), bucket(2.0, 1e18, 2.0)] {
        assert!(go(&mut l, 1.0, 0.0) && go(&mut l, 1.0, 0.0) && !go(&mut l, 1.0, 1e9));
        assert!(!l.is_idle(0, at(1e9)));
    }
    let mut l = strict(1e15, 1.0);
    assert!(go(&mut l, 6e14, 0.0) && !go(&mut l, 6e14, 0.0) && go(&mut l, 4e14, 0.0) && !go(&mut l, 1.0, 0.0));
    for mut l in [strict(1.0, 1.0), bucket(1.0, 1.0, 1.0), strict(1e300, 1.0), bucket(1e300, 1.0, 1e300)] {
        for cost in [f64::INFINITY, -f64::INFINITY, 1e300, f64::NAN, -1e300, 1e300, 1e300, f64::MIN_POSITIVE] {
            l.charge(0, cost, at(0.0));
            let _ = go(&mut l, cost.abs(), 0.0);
            l.change(1e-300, secs(1e9), at(1.0), &mut Vec::new());
            l.change(1e300, secs(1.0), at(1.0), &mut Vec::new());
        }
    }
}

#[test]
fn numbers_too_large_or_small_to_count_still_count() {
    let mut l = strict(1.0, 1.0);
    assert!(go(&mut l, 1.0, 0.0) && !go(&mut l, 1e-300, 0.0));
    for _ in 0..4 {
        l.charge(0, f64::INFINITY, at(0.5));
    }
    assert!(!go(&mut l, 1.0, 1.4) && go(&mut l, 1.0, 1.5));
    let mut l = strict(f64::INFINITY, 1.0);
    let held = [1e300; 5].map(|cost| offer(ask(&mut l, 0, cost, 0.0)));
    l.change(1.0, secs(1.0), at(0.0), &mut Vec::new());
    let _waits = ticket(ask(&mut l, 0, 1.0, 0.0));
    for offer in held {
        l.withdraw(offer, at(0.0));
    }
    assert_eq!(drain(&mut l), [at(0.0)]);
}

#[test]
fn an_earlier_now_is_the_latest() {
    for mut l in [strict(1.0, 1.0), bucket(1.0, 1.0, 1.0)] {
        assert!(due(&mut l, at(5.0)).is_empty());
        assert!(go(&mut l, 1.0, 1.0) && !go(&mut l, 1.0, 5.9) && go(&mut l, 1.0, 6.0));
    }
}

#[test]
fn a_key_that_is_held_is_not_forgotten() {
    let mut l = strict(1.0, 1.0);
    let held = offer(ask(&mut l, 0, 1.0, 0.0));
    l.forget(0);
    assert!(!go(&mut l, 1.0, 0.0));
    let _waits = ticket(ask(&mut l, 0, 1.0, 0.0));
    l.started(held, at(0.0));
    l.forget(0);
    assert_eq!(drain(&mut l), [at(1.0)]);
    l.forget(0);
    assert_eq!(l.keys.bytes(), 0);
}

#[test]
fn a_crowd_on_one_key_delays_no_other() {
    let mut l = strict(f64::INFINITY, 1.0);
    for key in 0..3 {
        l.pause(key, at(1.0));
    }
    let mut crowd: Vec<Ticket> = (0..10_000).map(|_| ticket(ask(&mut l, 0, 1.0, 0.0))).collect();
    let others = [1, 2].map(|key| ticket(ask(&mut l, key, 1.0, 0.5)));
    let order: Vec<Ticket> = due(&mut l, at(1.0)).into_iter().map(|(ticket, _)| ticket).collect();
    crowd.splice(1..1, others);
    assert_eq!(order, crowd);
}

#[test]
fn ten_thousand_who_leave_were_never_there() {
    let mut l = strict(1.0, 1.0);
    assert!(go(&mut l, 1.0, 0.0));
    let first = ticket(ask(&mut l, 0, 1.0, 0.0));
    let crowd: Vec<Ticket> = (0..10_000).map(|_| ticket(ask(&mut l, 0, 1.0, 0.0))).collect();
    let last = ticket(l.ask(0, Normal, 1.0, at(0.0), at(10_002.0)));
    // Out of order, and once more when they have left.
    crowd.iter().step_by(2).chain(crowd.iter().skip(1).step_by(2)).chain(&crowd).for_each(|&t| l.leave(t));
    assert_eq!((l.waiting(), l.waiting_on(0)), (2, 2));
    let _more = ticket(l.ask(0, Normal, 1.0, at(0.0), at(3.0)));
    l.leave(first);
    assert!(matches!(&due(&mut l, at(1.0))[..], [(t, Ok(_))] if *t == last));
}

#[test]
fn the_last_of_a_crowd_gives_the_memory_back() {
    let mut l = strict(1.0, 1.0);
    assert!(go(&mut l, 1.0, 0.0));
    let crowd: Vec<Ticket> = (0..10_000).map(|_| ticket(ask(&mut l, 0, 1.0, 0.0))).collect();
    for &t in &crowd {
        l.leave(t);
    }
    assert_eq!((l.waiters.cells(), l.waiting(), l.next()), (0, 0, Instant::NEVER));
    let fresh = ticket(ask(&mut l, 0, 1.0, 0.0));
    for &t in &crowd {
        l.leave(t);
    }
    assert_eq!((l.waiting(), fresh.index()), (1, 0));
}

#[test]
fn a_million_buckets_are_small_and_are_gone_when_idle() {
    const KEYS: u32 = 1_000_000;
    let mut l = bucket(1.0, 1.0, 2.0);
    for key in 0..KEYS {
        let offer = offer(ask(&mut l, key, 1.0, 0.0));
        l.started(offer, at(0.0));
    }
    assert!(l.keys.iter_mut().all(|(_, state)| state.busy().is_none()));
    assert!(l.keys.bytes() < 40 * KEYS as usize, "{}", l.keys.bytes());
    assert!((0..KEYS).all(|key| !l.is_idle(key, at(0.9)) && l.is_idle(key, at(1.0))));
    (0..KEYS).for_each(|key| l.forget(key));
    assert!(l.keys.bytes() < 1000, "{}", l.keys.bytes());
}

/// Nanoseconds to let `n` wait and to grant them all, one a millisecond, beside a long log.
fn work(n: u32) -> u128 {
    #[expect(clippy::disallowed_methods, reason = "how long the machine works, not what it decides")]
    let begun = std::time::Instant::now();
    let mut l = strict(1000.0, 1.0);
    for i in 0..1000 {
        assert!(go(&mut l, 1.0, f64::from(i) / 1000.0));
    }
    (0..n).for_each(|_| drop(ask(&mut l, 0, 1.0, 0.999)));
    assert_eq!(drain(&mut l).len(), n as usize);
    begun.elapsed().as_nanos()
}

#[test]
fn many_waiters_are_as_much_work_each_as_few() {
    let few = (0..5).map(|_| work(10_000)).min().unwrap();
    // Quadratic work would be 256 times as much.
    assert!(work(160_000) < 16 * 5 * few);
}
