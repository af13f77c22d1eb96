//! Owns chance: seeded dice, mean-reverting noise and the daily curve. All that is random in the
//! generator comes from here, so that one seed fixes it all.

use rand::rngs::SmallRng;
use rand::{Rng, RngCore, SeedableRng};
use std::f64::consts::TAU;

const MICROS_PER_DAY: i64 = 86_400_000_000;

/// One stream of random numbers.
pub(crate) struct Dice(SmallRng);

impl Dice {
    /// Streams of one seed are independent: drawing more from one doesn't move the others.
    pub(crate) fn new(seed: u64, stream: u64) -> Self {
        Self(SmallRng::seed_from_u64(
            seed ^ (stream + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15),
        ))
    }

    /// Uniform in `[0, 1)`.
    pub(crate) fn unit(&mut self) -> f64 {
        self.0.random()
    }

    /// Uniform in `[low, high)`.
    pub(crate) fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// Uniform in `0..n`; `n` is at least 1.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        self.0.random_range(0..n)
    }

    /// True with the given probability.
    pub(crate) fn chance(&mut self, probability: f64) -> bool {
        probability > 0.0 && self.unit() < probability
    }

    /// One of a non-empty slice.
    pub(super) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    /// Bell-shaped with mean 0 and variance 1, never beyond 3.5: four 16-bit draws out of one
    /// number are close enough to a normal distribution, and cost a tenth of one.
    pub(super) fn bell(&mut self) -> f64 {
        let draw = self.0.next_u64();
        let sum = (draw & 0xFFFF) + ((draw >> 16) & 0xFFFF) + ((draw >> 32) & 0xFFFF) + (draw >> 48);
        let sum = u32::try_from(sum).expect("four times 16 bits fit in 18");
        (f64::from(sum) - 131_070.0) * (3.0_f64.sqrt() / 65_536.0)
    }

    /// Puts a slice in random order.
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

/// Noise that wanders and comes back: mean 0, variance 1, and each value close to the one before.
pub(super) struct Wander(f64);

impl Wander {
    /// How much of a value is left in the next one; half of it is gone after some 23 readings.
    const KEPT: f64 = 0.97;
    /// √(1 − KEPT²): keeps the variance at 1.
    const FRESH: f64 = 0.243_104_915_623_1;

    pub(super) fn new(dice: &mut Dice) -> Self {
        Self(dice.bell())
    }

    pub(super) fn step(&mut self, dice: &mut Dice) -> f64 {
        self.0 = self.0 * Self::KEPT + dice.bell() * Self::FRESH;
        self.0
    }
}

/// How busy a datacenter is at a time of day: 0 at 04:00 UTC, 1 at 16:00.
pub(super) fn busyness(micros_since_epoch: i64) -> f64 {
    let of_day = u32::try_from(micros_since_epoch.rem_euclid(MICROS_PER_DAY) / 1_000)
        .expect("a day has fewer than 2^32 milliseconds");
    0.5 - 0.5 * (TAU * (f64::from(of_day) / 86_400_000.0 - 4.0 / 24.0)).cos()
}

/// A share of the way from `value` to `limit`; a value beyond the limit stays.
pub(super) fn toward(value: f64, limit: f64, share: f64) -> f64 {
    value + (limit - value).max(0.0) * share.min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mean_and_deviation(values: &[f64]) -> (f64, f64) {
        let count = f64::from(u32::try_from(values.len()).expect("few values"));
        let mean = values.iter().sum::<f64>() / count;
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / count;
        (mean, variance.sqrt())
    }

    #[test]
    fn bell_and_wander_have_mean_zero_and_variance_one() {
        let mut dice = Dice::new(1, 0);
        let bells: Vec<f64> = (0..100_000).map(|_| dice.bell()).collect();
        let (mean, deviation) = mean_and_deviation(&bells);
        assert!(
            mean.abs() < 0.02 && (deviation - 1.0).abs() < 0.02,
            "{mean} {deviation}"
        );

        let mut wander = Wander::new(&mut dice);
        let walk: Vec<f64> = (0..300_000).map(|_| wander.step(&mut dice)).collect();
        let (mean, deviation) = mean_and_deviation(&walk);
        assert!(
            mean.abs() < 0.1 && (deviation - 1.0).abs() < 0.1,
            "{mean} {deviation}"
        );
        let steps: Vec<f64> = walk.windows(2).map(|w| w[1] - w[0]).collect();
        assert!(mean_and_deviation(&steps).1 < 0.3, "neighbours are close");
    }

    #[test]
    fn a_day_is_quiet_at_four_and_busy_at_sixteen() {
        const HOUR: i64 = 3_600_000_000;
        assert!(busyness(4 * HOUR) < 1e-9);
        assert!(busyness(16 * HOUR) > 1.0 - 1e-9);
        assert!(
            (busyness(-8 * HOUR) - 1.0).abs() < 1e-9,
            "before the epoch the day goes on"
        );
    }
}
