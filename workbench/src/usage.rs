//! Owns what processes have used, by the kernel's own account in `/proc`; zero where there is none.

use std::fs;

/// CPU seconds of all threads of a process so far.
pub(crate) fn cpu_seconds(process: u32) -> f64 {
    times(&read(process, "stat")).map_or(0.0, |times| times.own)
}

/// CPU seconds of a server and of all processes that it has started, those that have ended included.
pub(crate) fn cpu_seconds_of_server(process: u32) -> f64 {
    let Some(server) = times(&read(process, "stat")) else {
        return 0.0;
    };
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let children = processes
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(|id: u32| times(&read(id, "stat")))
        .filter(|child| child.parent == process);
    server.own
        + server.ended_children
        + children
            .map(|child| child.own + child.ended_children)
            .sum::<f64>()
}

/// The most memory that a process has ever had, in megabytes.
pub(crate) fn peak_megabytes(process: u32) -> f64 {
    megabytes(&read(process, "status"), "VmHWM:").unwrap_or_default()
}

/// The memory that a process has now, in megabytes.
pub(crate) fn resident_megabytes(process: u32) -> f64 {
    megabytes(&read(process, "status"), "VmRSS:").unwrap_or_default()
}

fn read(process: u32, file: &str) -> String {
    fs::read_to_string(format!("/proc/{process}/{file}")).unwrap_or_default()
}

#[derive(Debug, PartialEq)]
struct Times {
    parent: u32,
    own: f64,
    ended_children: f64,
}

/// The parent is field 4; user and system time are fields 14 and 15, of children that were waited for 16 and 17;
/// counted behind the program's name, which may hold anything. Linux counts in hundredths of a second here, on every
/// architecture.
fn times(stat: &str) -> Option<Times> {
    let (_, fields) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let ticks = |at: usize| -> Option<f64> { fields.get(at)?.parse().ok() };
    Some(Times {
        parent: fields.get(1)?.parse().ok()?,
        own: (ticks(11)? + ticks(12)?) / 100.0,
        ended_children: (ticks(13)? + ticks(14)?) / 100.0,
    })
}

fn megabytes(status: &str, name: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    let kibibytes: f64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kibibytes * 1_024.0 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_account_is_read() {
        let stat = "42 (a (b) c) S 7 42 42 0 -1 4194304 900 0 0 0 150 50 30 10 20 0 5 0 1 2 3";
        let expected = Times {
            parent: 7,
            own: 2.0,
            ended_children: 0.4,
        };
        assert_eq!(times(stat), Some(expected));
        let status = "Name:\tx\nVmHWM:\t    1000 kB\nVmRSS:\t 900 kB\n";
        assert_eq!(megabytes(status, "VmHWM:"), Some(1.024));
        assert_eq!(megabytes(status, "VmRSS:"), Some(0.9216));
        let own = std::process::id();
        assert!(peak_megabytes(own) > 1.0 && resident_megabytes(own) > 1.0);
    }
}
