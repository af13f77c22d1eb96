//! Owns what a person is told when everything runs: what is where, and what to try in another terminal.

use super::settings::Broker;
use super::{Settings, Stage, say, stage};
use crate::services::in_path;

/// Queries worth trying while events arrive.
const QUERIES: [&str; 4] = [
    "SELECT reason, count(*), max(detail) FROM dead_letters GROUP BY 1 ORDER BY 2 DESC;",
    "SELECT server_id, round(max(cpu_usage_percent)) FROM server_metrics GROUP BY 1 ORDER BY 2 DESC LIMIT 5;",
    "SELECT service_name, sum(error_count) FROM application_metrics GROUP BY 1 ORDER BY 2 DESC LIMIT 5;",
    "SELECT sum(next_offset), sum(stored), sum(dead_lettered), sum(skipped) FROM consumer_offsets;",
];

pub(super) fn tell(stage: &Stage, settings: &Settings) {
    let url = stage.postgres.url(stage::DATABASE);
    let beside = stage.postgres.programs().join("psql");
    // The first thing to look at stands alone.
    say(&format!(
        "\nthe status page, in a browser:  http://{}/",
        stage.http
    ));
    say("\nin another terminal:");
    if in_path("psql").is_some() {
        say(&format!("  psql {url}"));
    } else if beside.is_file() {
        say(&format!("  {} {url}", beside.display()));
    } else {
        say(&format!(
            "  (psql is not installed; any other client takes {url})"
        ));
    }
    for query in QUERIES {
        say(&format!("    {query}"));
    }
    say(&format!("  curl http://{}/ready", stage.http));
    say(&format!("  curl http://{}/metrics", stage.http));
    say(&format!("  tail -f {}", stage.consumer.log().display()));

    let load = if settings.rate == 0.0 {
        "as many events as the consumer takes".to_owned()
    } else {
        format!("{} events/s", settings.rate)
    };
    let end = settings.seconds.map_or_else(
        || "until Ctrl-C".to_owned(),
        |seconds| format!("for {} s, or until Ctrl-C", seconds.as_secs_f64()),
    );
    say(&format!(
        "\n{load}, {} % of them malformed on purpose, {end}",
        settings.malformed * 100.0
    ));
    if settings.broker == Broker::Mock {
        say("(the mock broker keeps 5 MiB a partition; DEMO_KAFKA=apache takes the real one)");
    }
    say("");
}
