//! Owns one server: its place, its hardware, and readings whose values hang together as a machine's do.

use super::anomaly::{Anomaly, Fate, Temper, Trouble};
use super::json::Line;
use super::noise::{Dice, Wander, toward};

/// Megabytes a second that a server's link carries.
const LINK_MBPS: f64 = 1_180.0;
/// Megabytes a second that its disks deliver.
const DISK_MBPS: f64 = 540.0;
/// The fans' ends, in turns a minute.
const FAN_RPM: (f64, f64) = (1_800.0, 9_500.0);

/// A machine in a rack.
pub(super) struct Server {
    pub(super) id: String,
    rack: &'static str,
    zone: &'static str,
    // What it is.
    load: f64,
    memory_gb: f64,
    memory_percent: f64,
    disk_percent: f64,
    disk_mbps: (f64, f64),
    network_mbps: (f64, f64),
    inlet_celsius: f64,
    watts: (f64, f64),
    // What happens to it.
    fate: Fate,
    cpu: Wander,
    memory: Wander,
    disk: Wander,
    network: Wander,
    heat: Wander,
}

/// What a server's agent reports at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading {
    cpu_percent: f64,
    memory_percent: f64,
    memory_available_gb: f64,
    disk_percent: f64,
    disk_read_mbps: f64,
    disk_write_mbps: f64,
    network_rx_mbps: f64,
    network_tx_mbps: f64,
    celsius: f64,
    watts: f64,
    fan_rpm: f64,
}

impl Server {
    /// The `index`-th server, counted from 0; racks are filled in turn, and a rack is in one zone.
    pub(super) fn new(index: usize, temper: &Temper, dice: &mut Dice) -> Self {
        const PLACES: [(&str, &str); 5] = [
            ("R01", "marseille-1"),
            ("R02", "marseille-1"),
            ("R03", "marseille-1"),
            ("R04", "marseille-2"),
            ("R05", "marseille-2"),
        ];
        let (rack, zone) = PLACES[index % PLACES.len()];
        Self {
            id: format!("server-{:03}", index + 1),
            rack,
            zone,
            load: dice.between(0.18, 0.48),
            memory_gb: dice.pick(&[64.0, 128.0, 256.0]),
            memory_percent: dice.between(30.0, 60.0),
            disk_percent: dice.between(25.0, 75.0),
            disk_mbps: (dice.between(20.0, 120.0), dice.between(15.0, 90.0)),
            network_mbps: (dice.between(40.0, 260.0), dice.between(30.0, 220.0)),
            inlet_celsius: dice.between(24.0, 29.0),
            watts: (dice.between(110.0, 160.0), dice.between(180.0, 320.0)),
            fate: Fate::new(&Anomaly::OF_SERVERS, temper, dice),
            cpu: Wander::new(dice),
            memory: Wander::new(dice),
            disk: Wander::new(dice),
            network: Wander::new(dice),
            heat: Wander::new(dice),
        }
    }

    /// The next reading, at a time of day as busy as `busy` (0 to 1), and the anomaly that touched it.
    pub(super) fn read(&mut self, busy: f64, temper: &Temper, dice: &mut Dice) -> (Reading, Option<Anomaly>) {
        let trouble = self.fate.next(temper, dice);
        (self.measure(busy, trouble, dice), trouble.map(|t| t.anomaly))
    }

    fn measure(&mut self, busy: f64, trouble: Option<Trouble>, dice: &mut Dice) -> Reading {
        let feels = |anomaly| Trouble::of(trouble, anomaly);
        let (leak, disk_full) = (feels(Anomaly::MemoryLeak), feels(Anomaly::DiskBottleneck));
        let link_full = feels(Anomaly::NetworkSaturation);

        let cpu = 100.0 * self.load * (0.5 + busy) + 5.0 * self.cpu.step(dice) + 1.2 * dice.bell();
        let cpu = toward(cpu, 99.0, feels(Anomaly::CpuSpike));
        // Interrupts of a full link, waiting for disks, reclaiming memory: none comes for free.
        let cpu = (cpu + 10.0 * link_full + 12.0 * disk_full + 8.0 * leak).clamp(0.5, 100.0);
        let load = cpu / 100.0;

        let memory = self.memory_percent + 8.0 * load + 3.0 * self.memory.step(dice) + 0.2 * dice.bell();
        let memory = toward(memory, 99.0, leak).clamp(1.0, 99.9);

        // A server that leaks ends up swapping.
        let traffic = (0.4 + 1.2 * load) * (1.0 + 0.25 * self.disk.step(dice)).max(0.1);
        let jitter = |dice: &mut Dice| (1.0 + 0.08 * dice.bell()).max(0.1);
        let disk_read = toward(self.disk_mbps.0 * traffic * jitter(dice), DISK_MBPS, disk_full);
        let disk_write = toward(
            self.disk_mbps.1 * traffic * jitter(dice),
            DISK_MBPS,
            disk_full.max(0.3 * leak),
        );

        let traffic = (0.3 + 1.4 * load) * (1.0 + 0.2 * self.network.step(dice)).max(0.1);
        let rx = toward(self.network_mbps.0 * traffic * jitter(dice), LINK_MBPS, link_full);
        let tx = toward(
            self.network_mbps.1 * traffic * jitter(dice),
            LINK_MBPS,
            0.9 * link_full,
        );

        let surge = feels(Anomaly::PowerSurge);
        let celsius = self.inlet_celsius
            + 34.0 * load
            + 1.2 * self.heat.step(dice)
            + 0.3 * dice.bell()
            + 32.0 * feels(Anomaly::HighTemperature)
            + 4.0 * surge;
        let fan =
            (2_000.0 + 92.0 * (celsius - 28.0).max(0.0) + 25.0 * dice.bell()).clamp(FAN_RPM.0, FAN_RPM.1);
        // Load, fans (their draw grows with the cube of their speed), and leakage of hot silicon.
        let watts = self.watts.0
            + self.watts.1 * load
            + 60.0 * (fan / FAN_RPM.1).powi(3)
            + 1.1 * (celsius - 50.0).max(0.0)
            + 2.5 * dice.bell();
        let watts = watts * (1.0 + 0.6 * surge);

        Reading {
            cpu_percent: cpu,
            memory_percent: memory,
            memory_available_gb: self.memory_gb * (1.0 - memory / 100.0),
            disk_percent: (self.disk_percent + 0.4 * self.disk.step(dice) + disk_full).clamp(1.0, 100.0),
            disk_read_mbps: disk_read.min(DISK_MBPS),
            disk_write_mbps: disk_write.min(DISK_MBPS),
            network_rx_mbps: rx.min(LINK_MBPS),
            network_tx_mbps: tx.min(LINK_MBPS),
            celsius: celsius.min(110.0),
            watts,
            fan_rpm: fan,
        }
    }

    pub(super) fn write(&self, reading: &Reading, timestamp: &str, line: &mut Line) {
        line.start();
        line.text("timestamp", timestamp);
        line.text("type", "server_metric");
        line.text("server_id", &self.id);
        line.decimal("cpu_usage_percent", reading.cpu_percent);
        line.decimal("memory_usage_percent", reading.memory_percent);
        line.decimal("memory_available_gb", reading.memory_available_gb);
        line.decimal("disk_usage_percent", reading.disk_percent);
        line.decimal("disk_read_mbps", reading.disk_read_mbps);
        line.decimal("disk_write_mbps", reading.disk_write_mbps);
        line.decimal("network_rx_mbps", reading.network_rx_mbps);
        line.decimal("network_tx_mbps", reading.network_tx_mbps);
        line.decimal("cpu_temperature_celsius", reading.celsius);
        line.decimal("power_consumption_watts", reading.watts);
        line.integer("fan_speed_rpm", reading.fan_rpm);
        line.text("rack_id", self.rack);
        line.text("datacenter_zone", self.zone);
        line.finish();
    }
}

#[cfg(test)]
mod tests {
    use super::super::settings::Config;
    use super::*;

    /// The mean reading of a server under one trouble.
    fn mean(trouble: Option<Trouble>) -> Reading {
        let mut dice = Dice::new(5, 0);
        let temper = Temper::new(0.0, Config::Normal);
        let mut server = Server::new(0, &temper, &mut dice);
        let readings: Vec<Reading> = (0..5_000)
            .map(|_| server.measure(0.5, trouble, &mut dice))
            .collect();
        let of = |field: fn(&Reading) -> f64| readings.iter().map(field).sum::<f64>() / 5_000.0;
        Reading {
            cpu_percent: of(|r| r.cpu_percent),
            memory_percent: of(|r| r.memory_percent),
            memory_available_gb: of(|r| r.memory_available_gb),
            disk_percent: of(|r| r.disk_percent),
            disk_read_mbps: of(|r| r.disk_read_mbps),
            disk_write_mbps: of(|r| r.disk_write_mbps),
            network_rx_mbps: of(|r| r.network_rx_mbps),
            network_tx_mbps: of(|r| r.network_tx_mbps),
            celsius: of(|r| r.celsius),
            watts: of(|r| r.watts),
            fan_rpm: of(|r| r.fan_rpm),
        }
    }

    fn under(anomaly: Anomaly) -> Reading {
        mean(Some(Trouble {
            anomaly,
            strength: 0.8,
        }))
    }

    #[test]
    fn an_anomaly_moves_the_values_that_hang_together() {
        let calm = mean(None);

        let busy = under(Anomaly::CpuSpike);
        assert!(busy.cpu_percent > 80.0 && busy.cpu_percent > calm.cpu_percent + 30.0);
        assert!(busy.celsius > calm.celsius + 8.0 && busy.watts > calm.watts + 50.0);
        assert!(busy.fan_rpm > calm.fan_rpm + 500.0);

        let hot = under(Anomaly::HighTemperature);
        assert!(hot.celsius > 60.0 && hot.watts > calm.watts + 15.0 && hot.fan_rpm > calm.fan_rpm * 1.5);
        assert!((hot.cpu_percent - calm.cpu_percent).abs() < 3.0);

        let leaking = under(Anomaly::MemoryLeak);
        assert!(
            leaking.memory_percent > 85.0 && leaking.memory_available_gb < calm.memory_available_gb / 2.0
        );
        assert!(leaking.disk_write_mbps > calm.disk_write_mbps);

        let surging = under(Anomaly::PowerSurge);
        assert!(surging.watts > calm.watts * 1.3 && surging.celsius > calm.celsius);

        let saturated = under(Anomaly::NetworkSaturation);
        assert!(saturated.network_rx_mbps > 900.0 && saturated.network_tx_mbps > 700.0);

        let waiting = under(Anomaly::DiskBottleneck);
        assert!(waiting.disk_read_mbps > 400.0 && waiting.disk_write_mbps > 400.0);
        assert!(waiting.cpu_percent > calm.cpu_percent + 5.0);
    }

    #[test]
    fn load_heat_power_and_fans_go_together_reading_by_reading() {
        let mut dice = Dice::new(6, 0);
        let temper = Temper::new(0.05, Config::Normal);
        let mut server = Server::new(3, &temper, &mut dice);
        let readings: Vec<Reading> = (0..20_000)
            .map(|i| server.read(f64::from(i % 2_000) / 2_000.0, &temper, &mut dice).0)
            .collect();
        let correlation = |a: fn(&Reading) -> f64, b: fn(&Reading) -> f64| {
            let mean = |f: fn(&Reading) -> f64| readings.iter().map(f).sum::<f64>() / 20_000.0;
            let (mean_a, mean_b) = (mean(a), mean(b));
            let sum = |f: &dyn Fn(&Reading) -> f64| readings.iter().map(f).sum::<f64>();
            sum(&|r| (a(r) - mean_a) * (b(r) - mean_b))
                / (sum(&|r| (a(r) - mean_a).powi(2)) * sum(&|r| (b(r) - mean_b).powi(2))).sqrt()
        };
        assert!(correlation(|r| r.cpu_percent, |r| r.watts) > 0.6);
        assert!(correlation(|r| r.cpu_percent, |r| r.celsius) > 0.5);
        assert!(correlation(|r| r.celsius, |r| r.fan_rpm) > 0.9);
        assert!(correlation(|r| r.celsius, |r| r.watts) > 0.5);
        assert!(correlation(|r| r.cpu_percent, |r| r.network_rx_mbps) > 0.3);
    }

    #[test]
    fn a_rack_is_in_one_zone() {
        let mut dice = Dice::new(7, 0);
        let temper = Temper::new(0.0, Config::Normal);
        let mut zones = std::collections::BTreeMap::new();
        for index in 0..50 {
            let server = Server::new(index, &temper, &mut dice);
            assert_eq!(*zones.entry(server.rack).or_insert(server.zone), server.zone);
        }
        assert_eq!(zones.len(), 5);
    }
}
