//! Owns what the kernel says of this process, under the names that Prometheus' own clients give it.

/// What the process uses. What can't be read is left out.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ProcessNow {
    /// CPU time in user and kernel mode, in seconds.
    pub cpu_seconds: Option<f64>,
    /// Memory that is resident, in bytes.
    pub resident_bytes: Option<u64>,
    /// Address space, in bytes.
    pub virtual_bytes: Option<u64>,
    /// File descriptors that are open, and how many may be.
    pub open_fds: Option<u64>,
    /// How many file descriptors may be open.
    pub max_fds: Option<u64>,
    /// Threads.
    pub threads: Option<u64>,
    /// When it started, in seconds since the Unix epoch.
    pub started: Option<f64>,
}

impl ProcessNow {
    /// As it is now.
    #[must_use]
    pub fn read() -> Self {
        let Ok(process) = procfs::process::Process::myself() else {
            return Self::default();
        };
        let mut now = Self {
            open_fds: process.fd_count().ok().map(|count| count as u64),
            max_fds: process
                .limits()
                .ok()
                .and_then(|limits| match limits.max_open_files.soft_limit {
                    procfs::process::LimitValue::Value(value) => Some(value),
                    procfs::process::LimitValue::Unlimited => None,
                }),
            ..Self::default()
        };
        if let Ok(stat) = process.stat() {
            let seconds = |ticks: u64| super::as_float(ticks) / super::as_float(procfs::ticks_per_second());
            now.cpu_seconds = Some(seconds(stat.utime + stat.stime));
            now.resident_bytes = Some(stat.rss * procfs::page_size());
            now.virtual_bytes = Some(stat.vsize);
            now.threads = u64::try_from(stat.num_threads).ok();
            now.started = procfs::boot_time_secs()
                .ok()
                .map(|boot| super::as_float(boot) + seconds(stat.starttime));
        }
        now
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::SystemTime;

    #[test]
    fn the_kernel_knows_this_process() {
        let now = ProcessNow::read();
        assert!(now.cpu_seconds.expect("known") >= 0.0);
        assert!((1 << 20..1 << 40).contains(&now.resident_bytes.expect("known")));
        assert!(now.virtual_bytes >= now.resident_bytes);
        assert!(now.open_fds.expect("known") > 2 && now.open_fds <= now.max_fds);
        assert!(now.threads.expect("known") > 0);
        let unix = SystemTime::UNIX_EPOCH
            .elapsed()
            .expect("after the epoch")
            .as_secs_f64();
        let started = now.started.expect("known");
        // Boot is told in whole seconds.
        assert!(started > 1e9 && started < unix + 2.0, "{started} of {unix}");
    }
}
