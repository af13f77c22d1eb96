//! Owns a distribution: how many values lie below each of some bounds, and their sum, as a Prometheus histogram tells it.

use super::as_float;

/// A count of values by size. Counts only grow.
#[derive(Clone, Debug, PartialEq)]
pub struct Distribution {
    bounds: &'static [f64],
    /// One more than there are bounds: the last one is for what lies beyond all of them.
    counts: Vec<u64>,
    sum: f64,
}

impl Distribution {
    /// Without values. The bounds ascend; a value that equals a bound lies below it.
    #[must_use]
    pub fn new(bounds: &'static [f64]) -> Self {
        Self {
            bounds,
            counts: vec![0; bounds.len() + 1],
            sum: 0.0,
        }
    }

    /// Takes a value, as often as it came.
    pub fn record(&mut self, value: f64, times: u64) {
        self.counts[self.bounds.partition_point(|bound| *bound < value)] += times;
        self.sum += value * as_float(times);
    }

    /// Takes all values of another one with the same bounds.
    pub fn add(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.sum += other.sum;
    }

    /// What has come since an earlier look.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        let counts = self.counts.iter().zip(&before.counts);
        Self {
            bounds: self.bounds,
            counts: counts.map(|(now, then)| now.saturating_sub(*then)).collect(),
            sum: self.sum - before.sum,
        }
    }

    /// How many values there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Their sum.
    #[must_use]
    pub fn sum(&self) -> f64 {
        self.sum
    }

    /// Their mean, where there are any.
    #[must_use]
    pub fn mean(&self) -> Option<f64> {
        let count = self.count();
        (count > 0).then(|| self.sum / as_float(count))
    }

    /// The value that a share of them (0.0 to 1.0) does not exceed, as `histogram_quantile` computes it: evenly within its
    /// bucket. What lies beyond all bounds is told as the last of them.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let count = self.count();
        if count == 0 {
            return None;
        }
        let rank = share * as_float(count);
        let mut below = 0.0;
        for (bucket, of_bucket) in self.counts.iter().enumerate() {
            let of_bucket = as_float(*of_bucket);
            if of_bucket > 0.0 && below + of_bucket >= rank {
                let start = if bucket == 0 { 0.0 } else { self.bounds[bucket - 1] };
                let end = self.bounds.get(bucket).copied().unwrap_or(start);
                return Some(start + (end - start) * ((rank - below) / of_bucket).max(0.0));
            }
            below += of_bucket;
        }
        self.bounds.last().copied()
    }

    /// Each bound, and how many values lie below it.
    pub fn cumulative(&self) -> impl Iterator<Item = (f64, u64)> {
        let counts = self.counts.iter().scan(0, |below, count| {
            *below += count;
            Some(*below)
        });
        self.bounds.iter().copied().zip(counts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: [f64; 3] = [0.1, 1.0, 10.0];

    fn of(values: &[f64]) -> Distribution {
        let mut distribution = Distribution::new(&BOUNDS);
        for value in values {
            distribution.record(*value, 1);
        }
        distribution
    }

    #[test]
    fn values_are_counted_below_their_bound_and_summed_as_they_are() {
        let distribution = of(&[0.1, 0.2, 0.2, 1.5, 40.0]);
        let cumulative: Vec<_> = distribution.cumulative().collect();
        assert_eq!(cumulative, [(0.1, 1), (1.0, 3), (10.0, 4)]);
        assert_eq!(distribution.count(), 5);
        assert!((distribution.sum() - 42.0).abs() < 1e-9);
        assert!((distribution.mean().expect("there are values") - 8.4).abs() < 1e-9);
    }

    #[test]
    fn a_quantile_lies_in_its_bucket_and_nothing_has_none() {
        assert_eq!(of(&[]).quantile(0.5), None);
        let distribution = of(&[0.5, 0.5, 5.0, 5.0]);
        assert_eq!(distribution.quantile(0.5), Some(1.0));
        assert_eq!(distribution.quantile(0.75), Some(5.5));
        assert_eq!(of(&[90.0]).quantile(0.99), Some(10.0), "beyond all bounds");
        assert_eq!(of(&[0.05]).quantile(0.0), Some(0.0));
    }

    #[test]
    fn what_came_since_a_look_is_the_difference_and_adding_it_gives_the_whole() {
        let before = of(&[0.5]);
        let mut now = before.clone();
        now.record(5.0, 3);
        let since = now.since(&before);
        assert_eq!(since, of(&[5.0, 5.0, 5.0]));
        let mut sum = before;
        sum.add(&since);
        assert_eq!(sum, now);
    }
}
