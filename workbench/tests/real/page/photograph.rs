//! The pictures of the status page in `docs/images`, as `make screenshot` takes them: two minutes of load, PostgreSQL
//! restarted once.

use super::browser::browser;
use super::{free_address, wait_for_state};
use crate::consumer::{Consumer, load, while_load_flows};
use crate::shared::{Scene, kafka};
use std::fs;
use std::thread::sleep;
use std::time::Duration;
use workbench::generator::Settings;
use workbench::services::{Postgres, postgres};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/images");

#[test]
#[ignore = "it takes two minutes, and is no test: `make screenshot`"]
fn the_page_sits_for_its_pictures() {
    // The names that a person has who changes none.
    let scene = Scene {
        topic: "datacenter-metrics".to_owned(),
        group: "storage-consumer-group".to_owned(),
        database: "mlops_db".to_owned(),
    };
    let mut own = Postgres::start(&postgres::Options::default()).expect("a PostgreSQL of its own");
    own.create_database(&scene.database).expect("a database");
    kafka().create_topic(&scene.topic, 6, &[]).expect("a topic");
    let address = free_address();
    let listen = address.to_string();
    let consumer = Consumer::start_on(&scene, &own, &["--http-listen", &listen]);
    wait_for_state(address, "keeping_up", &consumer);
    let steady = Settings {
        rate: 1500.0,
        partitions: 6,
        malformed_ratio: 0.002,
        ..load(&scene, 1)
    };
    while_load_flows(steady.clone(), || {
        sleep(Duration::from_secs(35));
        own.stop_fast().expect("it stops");
        sleep(Duration::from_secs(6));
        own.restart().expect("it starts");
        wait_for_state(address, "keeping_up", &consumer);
        sleep(Duration::from_secs(20));
        let more = Settings {
            rate: 900.0,
            malformed_ratio: 0.0,
            seed: Some(8),
            ..steady
        };
        while_load_flows(more, || sleep(Duration::from_secs(28)));
        sleep(Duration::from_secs(15));
        let browser = browser();
        browser.resize(1280, 1000);
        browser.open(&format!("http://{address}/"));
        browser.wait("document.querySelectorAll('#letters li').length > 5");
        fs::create_dir_all(FOLDER).expect("a folder");
        for scheme in ["light", "dark"] {
            browser.prefer(scheme);
            sleep(Duration::from_millis(500));
            let picture = browser.photograph();
            assert!(
                picture.len() < 200_000,
                "{} bytes are too many for a README",
                picture.len()
            );
            fs::write(format!("{FOLDER}/status-page-{scheme}.png"), picture).expect("written");
        }
    });
}
