//! Tests of the figures of policies, by name and by key.

use super::super::KEYS;
use super::*;
use crate::effect::Use;
use crate::policy::limit::{Overflow, Settings};
use crate::time::Clock;
use std::time::Duration;

fn limit() -> Arc<Limit> {
    Limit::new(Settings { n: 1, most_waiting: None, overflow: Overflow::Reject })
}

fn names(policies: &Policies) -> Vec<String> {
    policies.all(Instant::from_nanos(0)).into_iter().map(|(name, _)| name).collect()
}

#[test]
fn a_policy_has_one_name_and_a_name_one_policy() {
    let policies = Policies::new(10);
    let (a, b) = (limit(), limit());
    policies.limit(&a, None, "github");
    policies.limit(&a, None, "stars");
    policies.limit(&b, None, "github");
    assert_eq!(names(&policies), ["github", "github#2"]);
    drop(a);
    assert_eq!(names(&policies), ["github#2"]);
    let c = limit();
    policies.limit(&c, None, "github");
    assert_eq!(names(&policies), ["github", "github#2"]);
}

#[test]
fn those_that_come_and_go_leave_nothing_and_there_is_a_bound() {
    let policies = Policies::new(10);
    for n in 0..10_000 {
        policies.limit(&limit(), None, &format!("limit {n}"));
    }
    assert!(policies.state.lock().known.len() <= 10 && policies.state.lock().names.len() <= 11);
    assert_eq!(policies.folded(), 0);
    let kept: Vec<_> = (0..15).map(|_| limit()).collect();
    for limit in &kept {
        policies.limit(limit, None, "kept");
    }
    assert_eq!((names(&policies).len(), policies.folded()), (10, 5));
}

#[test]
fn the_busiest_keys_are_held_by_their_tokens() {
    let (policies, clock) = (Policies::new(10), Clock::manual());
    let keys = Keys::new(|_| (), Duration::from_secs(1), |_, _| true);
    let (limit, rests) = (limit(), limit());
    policies.limit(&limit, Some(&keys), "github");
    policies.limit(&rests, None, "without keys");
    let interned = |key: usize| keys.intern(&clock, key as u64, || key, |token| Ok::<_, ()>(token == key)).unwrap();
    let used: Vec<Use> = (100..130).map(interned).collect();
    let permits: Vec<_> = used.iter().filter_map(|key| limit.try_permit(&clock, key.number(), None)).collect();
    let without = limit.try_permit(&clock, 0, None);
    assert_eq!(policies.keyed(), [("limits", "github".to_owned())]);
    let [found] = &policies.by_key(clock.now())[..] else { panic!("one has keys") };
    assert_eq!((found.kind, found.name.as_str(), found.keys.len(), found.others), ("limits", "github", KEYS, 11));
    assert!(found.keys[0].0.is_none() && found.keys.iter().all(|(_, reading)| reading.in_flight == 1));
    let tokens: Vec<usize> = found.keys[1..].iter().filter_map(|(key, _)| Some(key.as_ref()?.token())).collect();
    assert_eq!(tokens, (100..119).collect::<Vec<_>>());
    let Some((_, Reading::Limit { capacity: 1, in_flight: 31, fullest: 1, keys: Some(30), .. })) =
        policies.all(clock.now()).into_iter().find(|(name, _)| name == "github")
    else {
        panic!("in flight over all keys, places for each")
    };
    drop((permits, without));
    let [found] = &policies.by_key(clock.now())[..] else { panic!("its keys are known") };
    assert!(found.keys.is_empty(), "they rest");
}
