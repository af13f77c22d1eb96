//! Owns one service: where it runs, what it offers, and readings whose rate, latency, errors, connections
//! and queue hang together as a service's do.

use super::anomaly::{Anomaly, Fate, Temper, Trouble};
use super::json::Line;
use super::noise::{Dice, Wander, toward};

/// The seconds over which a service counts its errors.
const ERROR_WINDOW: f64 = 10.0;

const CATALOGUE: [(&str, &[&str]); 10] = [
    (
        "api-gateway",
        &["/api/v1/status", "/api/v1/search", "/api/v1/batch"],
    ),
    ("auth-service", &["/login", "/token/refresh", "/logout"]),
    ("payment-service", &["/payments", "/payments/refund", "/invoices"]),
    ("user-service", &["/users", "/users/profile", "/users/settings"]),
    ("recommendation-service", &["/recommend", "/similar", "/trending"]),
    ("inference-service", &["/predict", "/embed", "/models"]),
    ("order-service", &["/orders", "/orders/status", "/cart"]),
    ("search-service", &["/query", "/suggest", "/reindex"]),
    ("notification-service", &["/send", "/subscriptions", "/templates"]),
    ("media-service", &["/upload", "/thumbnails", "/stream"]),
];

/// A service that runs on a few servers.
pub(super) struct Application {
    name: String,
    endpoints: &'static [&'static str],
    /// The servers that it runs on, by their place in the fleet.
    replicas: Vec<usize>,
    rate: f64,
    latency_ms: f64,
    error_percent: f64,
    pool: f64,
    fate: Fate,
    traffic: Wander,
    latency: Wander,
    errors: Wander,
}

/// What one replica of a service reports at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading {
    rate: f64,
    p50_ms: f64,
    p95_ms: f64,
    p99_ms: f64,
    error_percent: f64,
    errors: f64,
    connections: f64,
    queue: f64,
}

impl Application {
    /// The `index`-th service of a fleet of so many servers (at least one).
    pub(super) fn new(index: usize, servers: usize, temper: &Temper, dice: &mut Dice) -> Self {
        let (name, endpoints) = CATALOGUE[index % CATALOGUE.len()];
        let name = match index / CATALOGUE.len() {
            0 => name.to_owned(),
            round => format!("{name}-{}", round + 1),
        };
        let first = dice.below(servers);
        Self {
            name,
            endpoints,
            replicas: (0..servers.min(3)).map(|i| (first + i) % servers).collect(),
            rate: dice.between(60.0, 800.0),
            latency_ms: dice.between(8.0, 60.0),
            error_percent: dice.between(0.05, 0.5),
            pool: dice.between(10.0, 60.0),
            fate: Fate::new(&Anomaly::OF_SERVICES, temper, dice),
            traffic: Wander::new(dice),
            latency: Wander::new(dice),
            errors: Wander::new(dice),
        }
    }

    /// The server that the next reading comes from, by its place in the fleet.
    pub(super) fn replica(&self, dice: &mut Dice) -> usize {
        dice.pick(&self.replicas)
    }

    /// The next reading, at a time of day as busy as `busy` (0 to 1), and the anomaly that touched it.
    pub(super) fn read(&mut self, busy: f64, temper: &Temper, dice: &mut Dice) -> (Reading, Option<Anomaly>) {
        let trouble = self.fate.next(temper, dice);
        (self.measure(busy, trouble, dice), trouble.map(|t| t.anomaly))
    }

    fn measure(&mut self, busy: f64, trouble: Option<Trouble>, dice: &mut Dice) -> Reading {
        let late = Trouble::of(trouble, Anomaly::LatencySpike);
        let failing = Trouble::of(trouble, Anomaly::ErrorBurst);

        let swing = (1.0 + 0.12 * self.traffic.step(dice) + 0.03 * dice.bell()).max(0.1);
        let rate = self.rate * (0.35 + 1.1 * busy) * swing;
        let utilization = ((0.25 + 0.5 * busy) * swing).clamp(0.05, 0.95);

        // Latency grows with utilization, and its tail more than its middle.
        let swing = (1.0 + 0.1 * self.latency.step(dice) + 0.03 * dice.bell()).max(0.2);
        let p50 = self.latency_ms
            * (1.0 + 0.8 * utilization * utilization)
            * swing
            * (1.0 + 6.0 * late)
            * (1.0 + 0.5 * failing);
        let p95 = p50 * (1.9 + 0.8 * utilization + 1.5 * late + 0.1 * dice.unit());
        let p99 = p95 * (1.3 + 0.4 * utilization + 0.5 * late + 0.1 * dice.unit());

        let usual = self.error_percent * (1.0 + 0.3 * self.errors.step(dice) + 0.1 * dice.bell()).max(0.0);
        // What answers late runs into timeouts.
        let error_percent = (toward(usual, 45.0, failing) + 4.0 * late).min(100.0);

        // Little's law: what arrives in a second, times the seconds that it stays.
        let in_flight = rate * p50 / 1_000.0;
        let connections = self.pool + 2.0 * in_flight + 2.0 * dice.unit();
        let queue =
            (4.0 * utilization * utilization + 0.7 * dice.bell()).max(0.0) + late * (20.0 + 0.5 * in_flight);

        Reading {
            rate,
            p50_ms: p50,
            p95_ms: p95,
            p99_ms: p99,
            error_percent,
            errors: rate * ERROR_WINDOW * error_percent / 100.0,
            connections,
            queue,
        }
    }

    pub(super) fn write(
        &self,
        reading: &Reading,
        timestamp: &str,
        server_id: &str,
        dice: &mut Dice,
        line: &mut Line,
    ) {
        line.start();
        line.text("timestamp", timestamp);
        line.text("type", "application_metric");
        line.text("service_name", &self.name);
        line.decimal("request_rate_per_sec", reading.rate);
        line.decimal("response_time_p50_ms", reading.p50_ms);
        line.decimal("response_time_p95_ms", reading.p95_ms);
        line.decimal("response_time_p99_ms", reading.p99_ms);
        line.decimal("error_rate_percent", reading.error_percent);
        line.integer("error_count", reading.errors);
        line.integer("active_connections", reading.connections);
        line.integer("queue_depth", reading.queue);
        line.text("server_id", server_id);
        line.text("endpoint", dice.pick(self.endpoints));
        line.finish();
    }
}

#[cfg(test)]
mod tests {
    use super::super::settings::Config;
    use super::*;

    fn mean(trouble: Option<Trouble>, field: fn(&Reading) -> f64) -> f64 {
        let mut dice = Dice::new(8, 0);
        let temper = Temper::new(0.0, Config::Normal);
        let mut service = Application::new(0, 10, &temper, &mut dice);
        (0..5_000)
            .map(|_| field(&service.measure(0.5, trouble, &mut dice)))
            .sum::<f64>()
            / 5_000.0
    }

    #[test]
    fn a_latency_spike_fills_the_queue_and_an_error_burst_counts_errors() {
        let late = Some(Trouble {
            anomaly: Anomaly::LatencySpike,
            strength: 0.8,
        });
        assert!(mean(late, |r| r.p50_ms) > 4.0 * mean(None, |r| r.p50_ms));
        assert!(mean(late, |r| r.queue) > 5.0 * mean(None, |r| r.queue));
        assert!(mean(late, |r| r.connections) > 1.5 * mean(None, |r| r.connections));
        let tail = |t| mean(t, |r| r.p99_ms) / mean(t, |r| r.p50_ms);
        assert!(tail(late) > tail(None));

        let failing = Some(Trouble {
            anomaly: Anomaly::ErrorBurst,
            strength: 0.8,
        });
        assert!(mean(failing, |r| r.error_percent) > 20.0 && mean(None, |r| r.error_percent) < 1.0);
        assert!(mean(failing, |r| r.errors) > 20.0 * mean(None, |r| r.errors));
    }

    #[test]
    fn percentiles_keep_their_order_and_errors_their_share() {
        let mut dice = Dice::new(9, 0);
        let temper = Temper::new(0.3, Config::Chaos);
        let mut service = Application::new(2, 10, &temper, &mut dice);
        for i in 0..20_000 {
            let (r, _) = service.read(f64::from(i) / 20_000.0, &temper, &mut dice);
            assert!(r.p50_ms < r.p95_ms && r.p95_ms < r.p99_ms, "{r:?}");
            assert!((r.errors - r.rate * ERROR_WINDOW * r.error_percent / 100.0).abs() < 1e-6);
            assert!(r.queue >= 0.0 && r.connections > 0.0 && r.rate > 0.0);
        }
    }

    #[test]
    fn names_differ_and_replicas_are_servers_of_the_fleet() {
        let mut dice = Dice::new(10, 0);
        let temper = Temper::new(0.0, Config::Normal);
        let mut names = std::collections::BTreeSet::new();
        for index in 0..30 {
            let service = Application::new(index, 2, &temper, &mut dice);
            assert!(service.replicas.iter().all(|server| *server < 2));
            assert!(names.insert(service.name));
        }
    }
}
