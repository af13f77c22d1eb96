//! Owns how samples become Prometheus' text: families by name, with the prefix of the program.

use crate::metrics::{Distribution, as_float};
use prometheus::proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType};
use prometheus::{Encoder, TextEncoder};

pub(super) type Labels = Vec<(&'static str, String)>;

/// Metrics by name.
#[derive(Default)]
pub(super) struct Families(Vec<MetricFamily>);

impl Families {
    pub(super) fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.counters(name, help, [(Vec::new(), value)]);
    }

    pub(super) fn counters(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (Labels, u64)>,
    ) {
        let samples = samples.into_iter();
        let metrics = samples.map(|(labels, value)| counter(labels, as_float(value)));
        self.push(ours(name), help, MetricType::COUNTER, metrics.collect());
    }

    pub(super) fn gauge(&mut self, name: &str, help: &str, value: f64) {
        self.gauges(name, help, [(Vec::new(), value)]);
    }

    pub(super) fn gauges(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (Labels, f64)>,
    ) {
        let samples = samples.into_iter();
        let metrics = samples.map(|(labels, value)| gauge(labels, value));
        self.push(ours(name), help, MetricType::GAUGE, metrics.collect());
    }

    pub(super) fn histogram(&mut self, name: &str, help: &str, values: &Distribution) {
        self.histograms(name, help, [(Vec::new(), values)]);
    }

    pub(super) fn histograms<'a>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (Labels, &'a Distribution)>,
    ) {
        let samples = samples.into_iter();
        let metrics = samples.map(|(labels, values)| histogram(labels, values));
        self.push(ours(name), help, MetricType::HISTOGRAM, metrics.collect());
    }

    pub(super) fn of_process(&mut self, name: &str, help: &str, is_counter: bool, value: Option<f64>) {
        let metrics = value.map(|value| {
            if is_counter {
                counter(Vec::new(), value)
            } else {
                gauge(Vec::new(), value)
            }
        });
        let kind = if is_counter {
            MetricType::COUNTER
        } else {
            MetricType::GAUGE
        };
        self.push(name.to_owned(), help, kind, metrics.into_iter().collect());
    }

    pub(super) fn text(&self) -> String {
        let mut text = Vec::new();
        TextEncoder::new()
            .encode(&self.0, &mut text)
            .expect("every family has a name and a sample");
        String::from_utf8(text).expect("names, labels and help are text")
    }

    fn push(&mut self, name: String, help: &str, kind: MetricType, metrics: Vec<Metric>) {
        // A name without a sample is no news.
        if metrics.is_empty() {
            return;
        }
        let mut family = MetricFamily::default();
        family.set_name(name);
        family.set_help(help.to_owned());
        family.set_field_type(kind);
        family.set_metric(metrics);
        self.0.push(family);
    }
}

fn ours(name: &str) -> String {
    format!("storage_consumer_{name}")
}

fn labelled(labels: Labels) -> Metric {
    let pairs = labels.into_iter().map(|(name, value)| {
        let mut pair = LabelPair::default();
        pair.set_name(name.to_owned());
        pair.set_value(value);
        pair
    });
    Metric::from_label(pairs.collect())
}

fn counter(labels: Labels, value: f64) -> Metric {
    let mut counter = Counter::default();
    counter.set_value(value);
    let mut metric = labelled(labels);
    metric.set_counter(counter);
    metric
}

fn gauge(labels: Labels, value: f64) -> Metric {
    let mut gauge = Gauge::default();
    gauge.set_value(value);
    let mut metric = labelled(labels);
    metric.set_gauge(gauge);
    metric
}

fn histogram(labels: Labels, values: &Distribution) -> Metric {
    let buckets = values.cumulative().map(|(bound, below)| {
        let mut bucket = Bucket::default();
        bucket.set_upper_bound(bound);
        bucket.set_cumulative_count(below);
        bucket
    });
    let mut histogram = Histogram::default();
    histogram.set_bucket(buckets.collect());
    histogram.set_sample_count(values.count());
    histogram.set_sample_sum(values.sum());
    let mut metric = labelled(labels);
    metric.set_histogram(histogram);
    metric
}
