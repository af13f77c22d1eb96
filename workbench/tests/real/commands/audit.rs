//! The audit agrees with what a consumer has done, and finds what somebody else has.

use super::{ask, execute, run};
use crate::consumer::{Consumer, expect_settled, load, migrate_with_coordinates};
use crate::shared::{Scene, postgres};
use std::sync::atomic::AtomicBool;
use workbench::generator::{Settings, publish};

#[test]
fn the_sums_agree_until_somebody_meddles_and_it_is_said_where() {
    let scene = Scene::new("audit", 2);
    migrate_with_coordinates(&scene, postgres());
    let settings = Settings {
        malformed_ratio: 0.05,
        ..load(&scene, 2000)
    };
    publish::run(&settings, &AtomicBool::new(false), |_| {}).expect("the load is sent");
    let consumer = Consumer::start(&scene, &[]);
    expect_settled(&scene, postgres(), &consumer, 2000);
    let (code, text) = run(&scene, &["audit"]);
    assert_eq!(code, 0, "{text}");
    assert!(
        text.contains("consumed 2,000 = stored") && !text.contains("DIFFERS"),
        "{text}"
    );

    let differs = |sql: &str, expected: &[&str]| {
        execute(&scene, sql);
        let (code, audit) = ask(&scene, &["audit", "--json"]);
        assert_eq!((code, &audit["agrees"]), (1, &false.into()), "{audit:#}");
        let findings = audit["findings"].as_array().expect("findings").iter();
        let told: Vec<String> = findings
            .filter(|finding| finding["agrees"] == false)
            .map(|finding| format!("{} {}", finding["finding"], finding["why"]))
            .collect();
        assert_eq!(told.len(), expected.len(), "{told:#?}");
        for (told, expected) in told.iter().zip(expected) {
            assert!(told.contains(expected), "{expected} in {told}");
        }
    };
    differs(
        "DELETE FROM server_metrics WHERE ctid = (SELECT min(ctid) FROM server_metrics)",
        &["in the routed tables", "counted as stored"],
    );
    differs(
        "DELETE FROM dead_letters WHERE id = (SELECT min(id) FROM dead_letters)",
        &[
            "in the routed tables",
            "counted as dead-lettered",
            "counted as stored",
        ],
    );
    consumer.stop();
    let nothing = ["audit", "--group-id", "nobody"];
    let (code, text) = run(&scene, &nothing);
    assert!(
        code == 1 && text.contains("has no row of consumer_offsets"),
        "{text}"
    );
}
