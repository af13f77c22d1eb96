//! Owns a histogram as Prometheus has it, cumulative counts by upper bound, and what can be read from it.

/// Counts by upper bound, each with those below it.
#[derive(Clone, Debug, Default)]
pub(super) struct Histogram {
    buckets: Vec<(f64, f64)>,
    sum: f64,
}

impl Histogram {
    /// The last bound is infinity; its count is the count of all.
    pub(super) fn new(mut buckets: Vec<(f64, f64)>, sum: f64) -> Self {
        buckets.sort_by(|left, right| left.0.total_cmp(&right.0));
        Self { buckets, sum }
    }

    /// How many values it has.
    pub(super) fn count(&self) -> f64 {
        self.buckets.last().map_or(0.0, |(_, count)| *count)
    }

    /// What came since an earlier look at the same histogram.
    pub(super) fn since(&self, earlier: &Self) -> Self {
        if earlier.buckets.len() != self.buckets.len() {
            return self.clone(); // there was none yet
        }
        let pairs = self.buckets.iter().zip(&earlier.buckets);
        Self {
            buckets: pairs
                .map(|((bound, now), (_, then))| (*bound, now - then))
                .collect(),
            sum: self.sum - earlier.sum,
        }
    }

    /// The mean of its values.
    pub(super) fn mean(&self) -> Option<f64> {
        (self.count() > 0.0).then(|| self.sum / self.count())
    }

    /// The value that this share of all lies below, interpolated within its bucket as Prometheus'
    /// `histogram_quantile` does. Beyond the last finite bound, that bound.
    pub(super) fn quantile(&self, share: f64) -> Option<f64> {
        let rank = share * self.count();
        let (mut lower, mut below) = (0.0, 0.0);
        for (bound, count) in &self.buckets {
            if *count >= rank && *count > below {
                return Some(if bound.is_infinite() {
                    lower
                } else {
                    lower + (bound - lower) * (rank - below) / (count - below)
                });
            }
            (lower, below) = (*bound, *count);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_interpolated_in_their_bucket() {
        let histogram = Histogram::new(
            vec![(f64::INFINITY, 100.0), (0.1, 0.0), (0.2, 50.0), (0.4, 98.0)],
            20.0,
        );
        for (share, expected) in [(0.25, 0.15), (0.5, 0.2), (0.74, 0.3)] {
            let found = histogram.quantile(share).expect("there are values");
            assert!((found - expected).abs() < 1e-9, "{share}: {found}");
        }
        assert_eq!(histogram.quantile(0.99), Some(0.4), "it lies beyond all bounds");
        assert_eq!(histogram.mean(), Some(0.2));
        assert_eq!(Histogram::default().quantile(0.5), None);
        assert_eq!(Histogram::default().mean(), None);
    }

    #[test]
    fn what_came_since_is_a_histogram_too() {
        let earlier = Histogram::new(vec![(1.0, 10.0), (f64::INFINITY, 10.0)], 5.0);
        let now = Histogram::new(vec![(1.0, 10.0), (f64::INFINITY, 14.0)], 25.0);
        assert_eq!(now.since(&earlier).mean(), Some(5.0));
        assert_eq!(
            now.since(&Histogram::default()).count().to_bits(),
            14f64.to_bits()
        );
    }
}
