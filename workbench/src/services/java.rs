//! Finds the JVM and Apache Kafka's jars, which `scripts/setup` put into the cache folder.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};

use super::kafka::{Jvm, Options};
use super::process::Launch;
use super::{SET_UP, cache_folder, in_path};

/// What `scripts/setup` resolves; names the default version.
const POM: &str = include_str!("../../kafka/pom.xml");

const LOG4J: &str = "rootLogger.level = INFO
rootLogger.appenderRef.console.ref = console
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = [%d] %p %m (%c)%n
";

/// For few cores and a small heap: a concurrent collector would only take the processor from the test.
const SERIAL: &str = "-XX:+UseSerialGC";

/// The JVM and Kafka's classes.
#[derive(Debug)]
pub(super) struct Java {
    program: PathBuf,
    arguments: Vec<String>,
}

impl Java {
    /// Finds them; `folder` is for what the JVM reads beside its arguments.
    pub(super) fn find(options: &Options, folder: &Path) -> anyhow::Result<Self> {
        let home = env::var_os("JAVA_HOME").map(|home| PathBuf::from(home).join("bin/java"));
        let program = home
            .filter(|java| java.is_file())
            .or_else(|| in_path("java"))
            .with_context(|| format!("no Java is installed: {SET_UP}, or set JAVA_HOME"))?;
        let version = env::var("KAFKA_VERSION")
            .ok()
            .filter(|version| !version.is_empty());
        let version = version
            .as_deref()
            .or_else(|| default_version(POM))
            .context("no version in kafka/pom.xml")?;
        let jars = cache_folder().join(format!("kafka-{version}")).join("libs");
        ensure!(
            jars.is_dir(),
            "Apache Kafka {version} is not in {}: {SET_UP}",
            jars.display()
        );
        let logging = folder.join("log4j2.properties");
        fs::write(&logging, LOG4J)?;
        let mut arguments = vec![
            format!("-Xmx{}m", options.heap_megabytes),
            "-Xshare:auto".to_owned(),
            format!("-Dlog4j2.configurationFile={}", logging.display()),
        ];
        let collector: &[&str] = match options.jvm {
            Jvm::Quick => &[SERIAL, "-XX:TieredStopAtLevel=1"],
            Jvm::Small => &[SERIAL],
            // KAFKA_JVM_PERFORMANCE_OPTS of kafka-run-class.sh.
            Jvm::Shipped => &[
                "-XX:+UseG1GC",
                "-XX:MaxGCPauseMillis=20",
                "-XX:InitiatingHeapOccupancyPercent=35",
            ],
        };
        arguments.extend(collector.iter().map(|argument| (*argument).to_owned()));
        if options.jvm == Jvm::Shipped {
            arguments.push(format!("-Xms{}m", options.heap_megabytes));
        }
        arguments.extend(["-cp".to_owned(), format!("{}/*", jars.display())]);
        Ok(Self { program, arguments })
    }

    /// A JVM to start; the class and its arguments come next.
    pub(super) fn launch(&self, name: &str, log: &Path) -> Launch {
        Launch::new(name, &self.program, log).args(&self.arguments)
    }

    /// The same for a short-lived tool whose output is wanted.
    pub(super) fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments);
        command
    }
}

fn default_version(pom: &str) -> Option<&str> {
    pom.split_once("<kafka.version>")?
        .1
        .split_once("</kafka.version>")
        .map(|(version, _)| version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_version_is_the_one_that_setup_resolves() {
        let version = default_version(POM).expect("a version");
        assert!(version.starts_with("4."), "{version}");
    }
}
