//! The trail on a file of its own.

use std::{collections::HashSet, fs, io::Write, net::IpAddr, path::PathBuf};

use expect_test::expect;
use serde_json::{Value, json};
use uuid::Uuid;

use super::*;
use crate::{clock::Timestamp, identity::Identity, principal::Principal};

struct World {
    directory: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().expect("a directory") }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("audit.log")
    }

    fn open(&self, sync: bool) -> Arc<Trail> {
        Arc::new(Trail::open(&self.path(), sync).expect("a trail"))
    }

    /// Every line of the file; each must be whole.
    fn records(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.path()).expect("text");
        assert!(text.ends_with('\n'));
        text.lines().map(|line| serde_json::from_str(line).expect("a record")).collect()
    }
}

fn identity(arn: &str) -> Identity {
    let principal = Principal::try_from(arn.to_owned()).expect("a principal");
    Identity { principal, access_key_id: "AKIDEXAMPLE".into() }
}

fn event<'a>(caller: UserIdentity<'a>, parameters: &'a Value, resources: &'a [String]) -> Event<'a> {
    Event {
        event_id: Uuid::nil(),
        time: Timestamp::from_ms(1_440_938_160_123),
        request_id: Uuid::nil(),
        event_name: "Encrypt",
        region: "eu-west-1",
        source_ip: Some(IpAddr::from([192, 0, 2, 7])),
        user_agent: "aws-cli/2",
        caller,
        parameters,
        resources,
        account: "111122223333",
        additional: &Value::Null,
        read_only: true,
        error: None,
    }
}

async fn record(trail: &Trail, name: &str) -> Result<(), AuditError> {
    trail.record(&Event { event_name: name, ..event(UserIdentity::Unknown, &Value::Null, &[]) }).await
}

#[test]
fn a_record_is_cloudtrails() {
    let identity = identity("arn:aws:iam::111122223333:user/team/alice");
    let parameters = json!({ "keyId": "alias/a", "encryptionAlgorithm": "SYMMETRIC_DEFAULT" });
    let resources = ["arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab".to_owned()];
    let event = event(UserIdentity::Proved(&identity), &parameters, &resources);
    let event = Event { event_id: Uuid::from_u128(1), ..event };
    let line = event.line().expect("JSON");
    expect![[r#"
        {"eventVersion":"1.11","userIdentity":{"type":"IAMUser","arn":"arn:aws:iam::111122223333:user/team/alice","accountId":"111122223333","accessKeyId":"AKIDEXAMPLE","userName":"alice"},"eventTime":"2015-08-30T12:36:00Z","eventSource":"kms.amazonaws.com","eventName":"Encrypt","awsRegion":"eu-west-1","sourceIPAddress":"192.0.2.7","userAgent":"aws-cli/2","requestParameters":{"encryptionAlgorithm":"SYMMETRIC_DEFAULT","keyId":"alias/a"},"responseElements":null,"requestID":"00000000-0000-0000-0000-000000000000","eventID":"00000000-0000-0000-0000-000000000001","readOnly":true,"resources":[{"accountId":"111122223333","type":"AWS::KMS::Key","ARN":"arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"}],"eventType":"AwsApiCall","managementEvent":true,"recipientAccountId":"111122223333","eventCategory":"Management"}
    "#]].assert_eq(&line);
}

#[test]
fn what_the_service_does_by_itself_is_cloudtrails_too() {
    let event = ServiceEvent {
        event_id: Uuid::from_u128(1),
        time: Timestamp::from_ms(1_440_938_160_123),
        event_name: "DeleteKey",
        region: "eu-west-1",
        key: "arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab",
        account: "111122223333",
        response: &Value::Null,
        details: &json!({ "keyId": "k" }),
    };
    let line = event.line().expect("JSON");
    expect![[r#"
        {"eventVersion":"1.11","userIdentity":{"accountId":"111122223333","invokedBy":"AWS Internal"},"eventTime":"2015-08-30T12:36:00Z","eventSource":"kms.amazonaws.com","eventName":"DeleteKey","awsRegion":"eu-west-1","sourceIPAddress":"AWS Internal","userAgent":"AWS Internal","requestParameters":null,"responseElements":null,"eventID":"00000000-0000-0000-0000-000000000001","readOnly":false,"resources":[{"accountId":"111122223333","type":"AWS::KMS::Key","ARN":"arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"}],"eventType":"AwsServiceEvent","managementEvent":true,"recipientAccountId":"111122223333","serviceEventDetails":{"keyId":"k"},"eventCategory":"Management"}
    "#]]
    .assert_eq(&line);
}

#[test]
fn a_failure_says_what_the_caller_was_told() {
    let failure = EventError { code: "AccessDeniedException", message: Some("no\r\n\u{7}") };
    let event = Event { error: Some(failure), ..event(UserIdentity::Claimed("AKID\nx"), &Value::Null, &[]) };
    let line = event.line().expect("JSON");
    let value: Value = serde_json::from_str(&line).expect("JSON");
    assert_eq!(value["errorCode"], "AccessDenied");
    assert_eq!(value["errorMessage"], "no   ");
    assert_eq!(value["userIdentity"], json!({ "type": "Unknown", "accessKeyId": "AKID x" }));
}

#[test]
fn what_a_caller_writes_is_bounded_and_a_cut_ends_in_a_mark() {
    let identity = identity("arn:aws:iam::111122223333:root");
    let text = "é".repeat(10_000);
    for (caller, longest) in [(UserIdentity::Proved(&identity), 1024), (UserIdentity::Unknown, 96)] {
        let line = Event { user_agent: &text, ..event(caller, &Value::Null, &[]) }.line().expect("JSON");
        let value: Value = serde_json::from_str(&line).expect("JSON");
        let agent = value["userAgent"].as_str().expect("text");
        assert!(agent.len() <= longest && agent.len() > longest - 12, "{agent}");
        assert!(agent.starts_with("éé") && agent.ends_with("é… (20000 bytes)"), "{agent}");
    }
}

#[test]
fn the_record_of_a_caller_whom_nothing_proved_is_small_whatever_it_says() {
    for text in ["\"".repeat(5000), "\u{7}".repeat(5000), "\u{80}é\\".repeat(5000)] {
        let failure = EventError { code: "CloudHsmClusterInvalidConfigurationException", message: Some(&text) };
        let event = Event {
            event_name: &text,
            region: &text,
            user_agent: &text,
            error: Some(failure),
            ..event(UserIdentity::Claimed(&text), &Value::Null, &[])
        };
        let length = event.line().expect("JSON").len();
        assert!(length <= 2048, "{length}");
    }
}

#[test]
fn callers_are_named_as_cloudtrail_names_them() {
    let user_identity = |arn: &str| {
        let identity = identity(arn);
        let line = event(UserIdentity::Proved(&identity), &Value::Null, &[]).line().expect("JSON");
        serde_json::from_str::<Value>(&line).expect("JSON")["userIdentity"].to_string()
    };
    let all = [
        "arn:aws:iam::111122223333:root",
        "arn:aws:iam::111122223333:user/team/alice",
        "arn:aws:iam::111122223333:role/admin",
        "arn:aws:sts::111122223333:assumed-role/admin/alice",
    ];
    expect![[r#"
        {"accessKeyId":"AKIDEXAMPLE","accountId":"111122223333","arn":"arn:aws:iam::111122223333:root","principalId":"111122223333","type":"Root"}
        {"accessKeyId":"AKIDEXAMPLE","accountId":"111122223333","arn":"arn:aws:iam::111122223333:user/team/alice","type":"IAMUser","userName":"alice"}
        {"accessKeyId":"AKIDEXAMPLE","accountId":"111122223333","arn":"arn:aws:iam::111122223333:role/admin","type":"Role"}
        {"accessKeyId":"AKIDEXAMPLE","accountId":"111122223333","arn":"arn:aws:sts::111122223333:assumed-role/admin/alice","type":"AssumedRole"}"#]].assert_eq(&all.map(user_identity).join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_record_is_there_and_whole() {
    for sync in [false, true] {
        let world = World::new();
        let trail = world.open(sync);
        let mut tasks = tokio::task::JoinSet::new();
        for n in 0..1000 {
            let trail = Arc::clone(&trail);
            tasks.spawn(async move { record(&trail, &n.to_string()).await.expect("written") });
        }
        tasks.join_all().await;
        let names: HashSet<_> = world.records().iter().map(|record| record["eventName"].to_string()).collect();
        assert_eq!((names.len(), trail.records()), (1000, 1000));
    }
}

#[tokio::test]
async fn a_record_is_in_the_file_when_it_is_acknowledged() {
    let world = World::new();
    let trail = world.open(false);
    for n in 1..=20 {
        record(&trail, "Encrypt").await.expect("written");
        assert_eq!(world.records().len(), n);
    }
}

#[tokio::test]
async fn a_torn_line_spoils_only_itself() {
    let world = World::new();
    record(&world.open(false), "first").await.expect("written");
    let mut file = fs::OpenOptions::new().append(true).open(world.path()).expect("open");
    file.write_all(b"{\"eventVersion\":\"1.").expect("written");
    record(&world.open(false), "second").await.expect("written");
    let text = fs::read_to_string(world.path()).expect("text");
    let lines: Vec<_> = text.lines().collect();
    assert_eq!((lines.len(), lines[1]), (3, "{\"eventVersion\":\"1."));
    assert!(serde_json::from_str::<Value>(lines[2]).is_ok());
}

#[tokio::test]
async fn a_full_disk_is_an_error_for_everybody_who_waits() {
    for sync in [false, true] {
        let trail = Trail::open(Path::new("/dev/full"), sync).expect("open");
        for _ in 0..3 {
            let error = record(&trail, "Encrypt").await.expect_err("no room");
            let cause = error.source().expect("a cause").to_string();
            assert!(cause.contains("No space left on device"), "{cause}");
        }
        assert_eq!(trail.records(), 0);
    }
}

#[test]
fn what_a_crash_has_torn_is_ended_by_the_next() {
    let world = World::new();
    fs::write(world.path(), "{}\n{\"torn").expect("written");
    let mut sink = Sink::open(&world.path(), false).expect("open");
    sink.append(b"[]\n").expect("written");
    assert_eq!(fs::read_to_string(world.path()).expect("text"), "{}\n{\"torn\n[]\n");
}

#[tokio::test]
async fn after_a_rotation_records_go_to_the_new_file() {
    let world = World::new();
    let trail = world.open(false);
    record(&trail, "old").await.expect("written");
    fs::rename(world.path(), world.directory.path().join("audit.log.1")).expect("renamed");
    record(&trail, "old").await.expect("written");
    trail.reopen().expect("open");
    record(&trail, "new").await.expect("written");
    assert_eq!(world.records()[0]["eventName"], "new");
}

#[tokio::test]
async fn a_caller_that_goes_away_has_its_record() {
    let world = World::new();
    let trail = world.open(true);
    for _ in 0..5 {
        let mut pending = Box::pin(record(&trail, "Encrypt"));
        assert!(poll_once(&mut pending).await.is_none_or(|outcome| outcome.is_ok()));
    }
    drop(trail);
    assert_eq!(world.records().len(), 5);
}

/// The outcomes of a record that is being written for a while, and of nine that come meanwhile.
fn outcomes_of_a_batch(path: &Path) -> Vec<Result<(), AuditError>> {
    let trail = Arc::new(Trail::open(path, false).expect("open"));
    let runtime = || tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let written = trail.shared.sink.lock();
    let first = thread::spawn({
        let (trail, runtime) = (Arc::clone(&trail), runtime());
        move || runtime.block_on(record(&trail, "0"))
    });
    while !trail.shared.queue.lock().writing {
        thread::yield_now();
    }
    let names: Vec<_> = (1..10).map(|n| n.to_string()).collect();
    let later = async {
        let mut later: Vec<_> = names.iter().map(|name| Box::pin(record(&trail, name))).collect();
        for pending in &mut later {
            assert!(poll_once(pending).await.is_none(), "it was answered before it was written");
        }
        drop(written);
        let mut outcomes = Vec::new();
        for pending in later {
            outcomes.push(pending.await);
        }
        outcomes
    };
    let later = runtime().block_on(later);
    std::iter::once(first.join().expect("ended")).chain(later).collect()
}

#[test]
fn records_that_come_during_a_write_are_written_after_it_in_their_order() {
    let world = World::new();
    for outcome in outcomes_of_a_batch(&world.path()) {
        outcome.expect("written");
    }
    let names: Vec<_> = world.records().iter().map(|record| record["eventName"].as_str().map(str::to_owned)).collect();
    assert_eq!(names, (0..10).map(|n| Some(n.to_string())).collect::<Vec<_>>());
}

#[test]
fn records_that_come_during_a_write_that_fails_are_refused_with_it_and_kept() {
    for outcome in outcomes_of_a_batch(Path::new("/dev/full")) {
        assert!(outcome.is_err_and(|error| error.is_kept()));
    }
}

async fn poll_once<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    std::future::poll_fn(|cx| match std::pin::Pin::new(&mut *future).poll(cx) {
        std::task::Poll::Ready(outcome) => std::task::Poll::Ready(Some(outcome)),
        std::task::Poll::Pending => std::task::Poll::Ready(None),
    })
    .await
}

#[tokio::test]
async fn a_trail_can_be_a_device_or_a_pipe() {
    let trail = Trail::open(Path::new("/dev/null"), false).expect("open");
    record(&trail, "Encrypt").await.expect("written");
    trail.sync().expect("there is nothing to be forced to a disk");
    assert_eq!((trail.name().as_str(), trail.trouble()), ("/dev/null", None));
}

#[tokio::test]
async fn a_trail_that_cannot_be_written_takes_nothing_new_and_keeps_what_it_has_taken() {
    let trail = Trail::open(Path::new("/dev/full"), false).expect("open");
    assert!(record(&trail, "Encrypt").await.is_err_and(|error| error.is_kept()));
    assert!(trail.trouble().is_some_and(|trouble| trouble.contains("No space left")));
    assert!(record(&trail, "Encrypt").await.is_err_and(|error| !error.is_kept()));
    assert_eq!(trail.records(), 0);
}
