//! Which of three lanes goes next, aged so that no lane waits for ever.
//!
//! The highest lane goes first; but a lane that was passed over [`PATIENCE`] times in a row goes next, the lowest
//! before the others. With all lanes busy that is some 13 High to 3 Normal to 1 Low, and the first of the Low lane
//! starts within 17 starts: `PATIENCE` of others, then its own; one with `k` before it in its lane, within `17 * (k +
//! 1)`. A High one that finds only Low ones waiting goes next.
//!
//! The lanes themselves belong to the caller: the functions take how many wait in each, by priority from Low to High.

use super::Priority;

/// After how many starts of higher lanes a lane goes next, by priority from Low to High.
pub const PATIENCE: [u32; 3] = [16, 4, u32::MAX];

const LOW: usize = Priority::Low as usize;
const NORMAL: usize = Priority::Normal as usize;

#[derive(Clone, Copy, Debug, Default)]
pub struct Turns {
    /// Starts of higher lanes since this lane's last one, or since it was empty.
    passed: [u32; 3],
}

impl Turns {
    /// The lane whose turn it is; `None` if all are empty.
    #[must_use]
    pub fn next(&self, waiting: [u32; 3]) -> Option<Priority> {
        let waits = |lane: &usize| waiting[*lane] > 0;
        let aged = (0..3).find(|lane| waits(lane) && self.passed[*lane] >= PATIENCE[*lane]);
        aged.or_else(|| (0..3).rev().find(waits)).map(|lane| Priority::ALL[lane])
    }

    /// Notes that one of `lane` starts; `waiting` may count it or not. The lower lanes were passed over.
    pub fn started(&mut self, lane: Priority, waiting: [u32; 3]) {
        for (passed, waiting) in self.passed.iter_mut().zip(waiting).take(lane as usize) {
            *passed += u32::from(waiting > 0);
        }
        self.passed[lane as usize] = 0;
    }

    /// Notes that `lane` is empty.
    pub fn emptied(&mut self, lane: Priority) {
        self.passed[lane as usize] = 0;
    }

    /// How many of each lane start before one of `lane` with `k` before it there, if all that wait stay and no more
    /// come.
    #[must_use]
    pub fn before(&self, lane: Priority, k: u32, waiting: [u32; 3]) -> [u32; 3] {
        let [low, normal, high] = waiting.map(u64::from);
        let passed = |lane: usize| u64::from(self.passed[lane].min(PATIENCE[lane]));
        let patience = |lane: usize| u64::from(PATIENCE[lane]);
        // A lane that a newcomer finds empty has not been passed over.
        let k = u64::from(k);
        // Among `others` starts of higher lanes, this many of `lane` fall.
        let between = |lane: usize, others: u64, most: u64| most.min((others + passed(lane)) / patience(lane));
        // Starts of higher lanes until the next of `lane`, and each one after that, has its turn.
        let until = |lane: usize, most: u64| most.min(((k + 1) * patience(lane)).saturating_sub(passed(lane)));
        let before = match lane {
            Priority::High => {
                let normal = between(NORMAL, k, normal);
                [between(LOW, k + normal, low), normal, k]
            }
            Priority::Normal => {
                let high = until(NORMAL, high);
                [between(LOW, k + high, low), k, high]
            }
            Priority::Low => {
                let others = until(LOW, normal + high);
                // Every fifth is a Normal one, while both lanes last.
                let cycle = patience(NORMAL) + 1;
                let fair = normal.min((others + passed(NORMAL)) / cycle);
                let taken = high.min(others - fair);
                [k, others - taken, taken]
            }
        };
        before.map(|n| n as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// The prediction holds from any state that can be reached.
        #[test]
        fn those_before_one_are_those_who_start_before_it(
            past in proptest::collection::vec(0u8..6, 0..120),
            lane in 0usize..3,
            more in [0u32..9, 0u32..40, 0u32..90],
        ) {
            let (mut turns, mut waiting) = (Turns::default(), [0u32; 3]);
            let start = |turns: &mut Turns, waiting: &mut [u32; 3]| {
                let lane = turns.next(*waiting)?;
                turns.started(lane, *waiting);
                waiting[lane as usize] -= 1;
                if waiting[lane as usize] == 0 {
                    turns.emptied(lane);
                }
                Some(lane)
            };
            for op in past {
                match op {
                    0..3 => waiting[usize::from(op)] += 1,
                    _ => drop(start(&mut turns, &mut waiting)),
                }
            }
            for (lane, more) in more.into_iter().enumerate() {
                waiting[lane] += more;
            }
            let lane = Priority::ALL[lane];
            let k = waiting[lane as usize];
            let foretold = turns.before(lane, k, waiting);
            waiting[lane as usize] += 1;
            let mut came = [0; 3];
            loop {
                let next = start(&mut turns, &mut waiting).unwrap();
                if next == lane && came[lane as usize] == k {
                    break;
                }
                came[next as usize] += 1;
            }
            prop_assert_eq!(foretold, came);
        }
    }

    #[test]
    fn one_who_is_alone_has_none_before_it() {
        for lane in Priority::ALL {
            assert_eq!(Turns::default().before(lane, 0, [0; 3]), [0; 3]);
        }
    }
}
