//! The referee itself: it must find what is lost, doubled or from nowhere, or its silence would prove nothing.

use crate::consumer::{database, migrate_with_coordinates};
use crate::shared::{Scene, postgres};
use workbench::referee::{Finding, Wrong, findings, partitions_that_disagree};

#[test]
fn the_referee_finds_whatever_is_not_in_exactly_one_place() {
    let scene = Scene::new("referee", 1);
    migrate_with_coordinates(&scene, postgres());
    let sql = format!(
        "INSERT INTO server_metrics (timestamp, server_id, kafka_partition, kafka_offset)
             SELECT now(), 's', 0, at FROM generate_series(0, 9) AS at WHERE at <> 3;
         INSERT INTO application_metrics (timestamp, service_name, kafka_partition, kafka_offset)
             VALUES (now(), 'a', 0, 5), (now(), 'a', 0, 10), (now(), 'a', NULL, NULL);
         INSERT INTO dead_letters (topic, partition, \"offset\", reason, detail)
             VALUES ('{topic}', 0, 7, 'invalid_json', ''), ('another', 0, 3, 'invalid_json', '');
         INSERT INTO consumer_offsets (group_id, topic, partition, next_offset, stored)
             VALUES ('g', '{topic}', 0, 10, 9), ('g', '{topic}', 2, 1, 1)",
        topic = scene.topic
    );
    postgres()
        .execute(&scene.database, &sql)
        .expect("a database in disorder");
    let mut database = database(postgres(), &scene.database);
    let found = findings(&mut database, &scene.topic, &[(0, 10)]).expect("findings");
    let finding = |wrong, partition, offset| Finding {
        wrong,
        partition,
        offset,
    };
    let expected = [
        finding(Wrong::Lost, 0, 3),
        finding(Wrong::Doubled, 0, 5),
        finding(Wrong::Doubled, 0, 7),
        finding(Wrong::Stray, 0, 10),
        finding(Wrong::Stray, -1, -1),
    ];
    assert_eq!(found.len(), expected.len(), "{found:?}");
    for finding in expected {
        assert!(found.contains(&finding), "{finding:?} is not in {found:?}");
    }

    let told = partitions_that_disagree(&mut database, &scene.topic, &[(0, 10), (1, 0)]).expect("an answer");
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(told[0].contains("9 are settled"), "{told:?}");
    assert!(told[1].contains("partition 1 has no row"), "{told:?}");
    assert!(told[2].contains("for no partition"), "{told:?}");
}
