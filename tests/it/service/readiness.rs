//! What the service says of itself: whether calls can work, and in numbers.

use std::path::Path;

use serde_json::json;
use strongroom::clock::{Clock, days, validity::Validity};

use crate::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_valid_or_no_call_can_work() {
    let world = World::new().await;
    world.work().await;
    let now = world.clock.now();
    let note = |from, until| world.kms.note_certificate(Path::new("/c.pem"), Validity { from, until });
    assert_eq!(world.kms.readiness().await, Ok(vec![]));
    assert!(!world.kms.metrics_text().contains("certificate_days_left{"), "there is none");
    note(now, now.plus(days(10)));
    assert_eq!(world.kms.ready().await, Ok(()));
    assert!(world.kms.metrics_text().contains("strongroom_certificate_days_left{file=\"/c.pem\"} 10.0\n"));
    let earlier = strongroom::clock::Timestamp::from_ms(now.ms() - 1);
    for (from, until, fault) in [
        (earlier, earlier, format!("expired at {earlier}")),
        (now.plus(days(1)), now.plus(days(2)), format!("is not valid before {}", now.plus(days(1)))),
    ] {
        note(from, until);
        assert_eq!(world.kms.ready().await, Err(format!("the certificate in /c.pem {fault}")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_counted_by_state() {
    let world = World::new().await;
    let shows = |line: &str| {
        let text = world.kms.metrics_text();
        assert!(text.contains(&format!("strongroom_keys{line}\n")), "{line}\n{text}");
    };
    let [one, two, gone] = [world.key().await, world.key().await, world.key().await];
    world.in_region("eu-b-1").ok("CreateKey", json!({})).await;
    shows("{state=\"Enabled\"} 4");
    world.ok("DisableKey", json!({"KeyId": one})).await;
    world.ok("ScheduleKeyDeletion", json!({"KeyId": two})).await;
    world.delete(&gone).await;
    shows("{state=\"Enabled\"} 1");
    shows("{state=\"Disabled\"} 1");
    shows("{state=\"PendingDeletion\"} 1");
    shows("{state=\"PendingImport\"} 0");
}
