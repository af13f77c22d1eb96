//! Owns the numbers of the consumer's `/metrics`, read from Prometheus' text format.

use std::net::SocketAddr;

use anyhow::ensure;

use super::histogram::Histogram;
use crate::http::get;

/// The numbers as they are now.
pub(super) fn metrics(address: SocketAddr) -> anyhow::Result<Scrape> {
    let (status, text) = get(address, "/metrics")?;
    ensure!(status == 200, "/metrics answers {status}");
    Ok(Scrape { text })
}

/// The text of `/metrics`.
pub(super) struct Scrape {
    text: String,
}

impl Scrape {
    /// Every sample of a metric: its labels as they stand between the braces, and its value.
    fn samples<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (&'a str, f64)> {
        self.text.lines().filter_map(move |line| {
            let rest = line.strip_prefix(name)?;
            let (labels, value) = match rest.strip_prefix('{') {
                Some(rest) => rest.rsplit_once('}')?,
                None if rest.starts_with(' ') => ("", rest),
                None => return None,
            };
            Some((labels, value.trim().parse().ok()?))
        })
    }

    /// The sum over all labels.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "counts are whole, not negative, and far below 2^53"
    )]
    pub(super) fn sum(&self, name: &str) -> u64 {
        self.samples(name).map(|(_, value)| value).sum::<f64>() as u64
    }

    /// The values by one label, in the order of its values.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "counts are whole, not negative, and far below 2^53"
    )]
    pub(super) fn by(&self, name: &str, label: &str) -> Vec<(String, u64)> {
        let mut values: Vec<(String, u64)> = self
            .samples(name)
            .filter_map(|(labels, value)| Some((of_label(labels, label)?.to_owned(), value as u64)))
            .collect();
        values.sort_unstable();
        values
    }

    /// A histogram without labels of its own.
    pub(super) fn histogram(&self, name: &str) -> Histogram {
        let buckets = self
            .samples(&format!("{name}_bucket"))
            .filter_map(|(labels, value)| {
                let bound = of_label(labels, "le")?;
                let bound = if bound == "+Inf" {
                    f64::INFINITY
                } else {
                    bound.parse().ok()?
                };
                Some((bound, value))
            })
            .collect();
        let sum = self.samples(&format!("{name}_sum")).map(|(_, value)| value).sum();
        Histogram::new(buckets, sum)
    }
}

/// The value of a label; those of the consumer have no quotes within.
fn of_label<'a>(labels: &'a str, label: &str) -> Option<&'a str> {
    labels.split(',').find_map(|pair| {
        let (key, value) = pair.split_once('=')?;
        (key == label).then(|| value.trim_matches('"'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prometheus_text_is_read_by_whole_names() {
        let scrape = Scrape {
            text: "# HELP rows_total Rows\n# TYPE rows_total counter\nrows_total{table=\"b\"} 3\n\
                   rows_total{table=\"a\",zone=\"x\"} 4\nrows_total_more 7\nplain 9\n\
                   seconds_bucket{le=\"0.5\"} 1\nseconds_bucket{le=\"+Inf\"} 2\nseconds_sum 3.5\nseconds_count 2\n"
                .to_owned(),
        };
        assert_eq!(scrape.sum("rows_total"), 7);
        assert_eq!(scrape.sum("plain"), 9);
        assert_eq!(scrape.sum("absent"), 0);
        assert_eq!(
            scrape.by("rows_total", "table"),
            [("a".to_owned(), 4), ("b".to_owned(), 3)]
        );
        let histogram = scrape.histogram("seconds");
        assert_eq!(histogram.mean(), Some(1.75));
        assert_eq!(histogram.quantile(0.25), Some(0.25));
    }
}
