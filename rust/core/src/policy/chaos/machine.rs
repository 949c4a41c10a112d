//! The decision of chaos about a call, by its number: nothing here waits or counts.

use std::time::Duration;

use crate::observe::Injected;

/// Parts are those of all calls, and add up to at most 1.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    pub fail: f64,
    pub hang: f64,
    pub slow: f64,
    /// The shortest and the longest delay of a slow call.
    pub delay: (Duration, Duration),
    pub seed: u64,
    /// The errno of its failures; `None` where the host makes them.
    pub errno: Option<i32>,
}

/// The fault of the call of that number. The same settings give the same answer, on every machine.
pub(super) fn decide(settings: &Settings, number: u64) -> Option<Injected> {
    let drawn = part(settings.seed, number, 0);
    let Settings { fail, hang, slow, delay: (least, most), .. } = *settings;
    if drawn < fail {
        Some(Injected::Failure)
    } else if drawn < fail + hang {
        Some(Injected::Hang)
    } else if drawn < fail + hang + slow {
        let more = most.saturating_sub(least).as_secs_f64() * part(settings.seed, number, 1);
        Some(Injected::Delay(least.saturating_add(Duration::try_from_secs_f64(more).unwrap_or(Duration::MAX))))
    } else {
        None
    }
}

/// A number from 0 up to 1, without 1: the draw number `draw` for a call. Two rounds of SplitMix64 (Steele, Lea, Flood
/// 2014), so that seeds that follow one another have nothing in common.
fn part(seed: u64, number: u64, draw: u64) -> f64 {
    let mixed = mix(mix(seed).wrapping_add(number.wrapping_mul(2).wrapping_add(draw)));
    (mixed >> 11) as f64 / (1u64 << 53) as f64
}

fn mix(seed: u64) -> u64 {
    let z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALLS: u64 = 100_000;

    fn settings(fail: f64, hang: f64, slow: f64) -> Settings {
        let delay = (Duration::from_millis(50), Duration::from_millis(200));
        Settings { fail, hang, slow, delay, seed: 7, errno: None }
    }

    /// The parts of many calls that fail, hang and are slow.
    fn parts(settings: &Settings) -> (f64, f64, f64) {
        let all: Vec<_> = (0..CALLS).filter_map(|number| decide(settings, number)).collect();
        let of = |wanted: fn(&Injected) -> bool| all.iter().filter(|each| wanted(each)).count() as f64 / CALLS as f64;
        (of(|i| matches!(i, Injected::Failure)), of(|i| matches!(i, Injected::Hang)), of(|i| matches!(i, Injected::Delay(_))))
    }

    #[test]
    fn the_parts_are_those_asked_for() {
        // Five standard deviations of such a share are 0.008 at most.
        for seed in 0..20 {
            let settings = Settings { seed, ..settings(0.1, 0.02, 0.3) };
            let (fail, hang, slow) = parts(&settings);
            assert!((fail - 0.1).abs() < 0.008 && (hang - 0.02).abs() < 0.008 && (slow - 0.3).abs() < 0.008, "{settings:?}");
        }
    }

    #[test]
    fn none_and_all_are_exact() {
        assert_eq!(parts(&settings(0.0, 0.0, 0.0)), (0.0, 0.0, 0.0));
        assert_eq!(parts(&settings(1.0, 0.0, 0.0)), (1.0, 0.0, 0.0));
        assert_eq!(parts(&settings(0.0, 1.0, 0.0)), (0.0, 1.0, 0.0));
        assert_eq!(parts(&settings(0.0, 0.0, 1.0)), (0.0, 0.0, 1.0));
    }

    #[test]
    fn delays_are_spread_between_their_bounds() {
        let settings = settings(0.0, 0.0, 1.0);
        let delays: Vec<_> = (0..CALLS)
            .map(|number| match decide(&settings, number) {
                Some(Injected::Delay(delay)) => delay,
                other => panic!("{other:?}"),
            })
            .collect();
        let (least, most) = settings.delay;
        assert!(delays.iter().all(|delay| (least..=most).contains(delay)));
        let mean = delays.iter().sum::<Duration>().as_secs_f64() / CALLS as f64;
        assert!((mean - 0.125).abs() < 0.001, "{mean}");
        let fixed = Settings { delay: (least, least), ..settings };
        assert_eq!(decide(&fixed, 3), Some(Injected::Delay(least)));
        let endless = Settings { delay: (Duration::MAX, Duration::MAX), ..settings };
        assert_eq!(decide(&endless, 3), Some(Injected::Delay(Duration::MAX)));
    }

    #[test]
    fn a_seed_is_a_sequence_of_its_own() {
        let of = |seed| (0..200).map(|n| decide(&Settings { seed, ..settings(0.5, 0.0, 0.0) }, n).is_some()).collect::<Vec<_>>();
        let same = |a: &[bool], b: &[bool]| a.iter().zip(b).filter(|(a, b)| a == b).count();
        assert_eq!(of(7), of(7));
        // Of two that have nothing in common about half agree, also one call later.
        for (a, b) in [(of(7), of(8)), (of(7)[1..].to_vec(), of(8)), (of(0), of(u64::MAX))] {
            assert!((65..135).contains(&same(&a, &b)), "{}", same(&a, &b));
        }
    }

    #[test]
    fn the_sequence_of_a_seed_does_not_change() {
        let settings = settings(0.2, 0.1, 0.2);
        let told = |number| match decide(&settings, number) {
            None => '.',
            Some(Injected::Failure) => 'f',
            Some(Injected::Hang) => 'h',
            Some(Injected::Delay(_)) => 's',
        };
        assert_eq!((0..40).map(told).collect::<String>(), "..fsh..f...s.ffh.f.sf.f.ff..f.fh.h.f..s.");
    }
}
