//! The verbs of the command line beside a running server: what they change holds there within a second.

use std::{fs, time::Duration};

use serde_json::{Value, json};

use crate::{
    server::{ACCOUNT, Credentials, Server, credentials, exports, within},
    wire::{Answer, Connection, Request},
};

/// What a verb has done holds in a running server by then.
const SOON: Duration = Duration::from_secs(1);

fn call(server: &Server, credentials: &Credentials, operation: &str, body: &Value) -> Answer {
    let request = Request::signed(server.address(), credentials, operation, body);
    Connection::open(server.address()).send(&request.bytes()).answer()
}

fn attach(server: &Server, name: &str, policy: &Value) {
    let file = server.root().join("may-list.json");
    fs::write(&file, policy.to_string()).unwrap();
    server.printed(&["principal", "attach-policy", "--name", name, "--policy", file.to_str().unwrap()]);
}

fn allow(action: &str) -> Value {
    json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": action, "Resource": "*"}]})
}

#[test]
fn a_principal_with_a_policy_and_an_access_key_may_call_within_a_second_until_the_key_is_disabled() {
    let server = Server::started();
    let arn = format!("arn:aws:iam::{ACCOUNT}:user/app");
    assert_eq!(server.printed(&["principal", "create", "--name", "app"]), format!("{arn}\n"));
    let app = credentials(&exports(&server.printed(&["access-key", "create", "--principal", "app"])));

    let list = || call(&server, &app, "ListKeys", &json!({}));
    let mut answer = list();
    within(SOON, || {
        answer = list();
        answer.exception() != "UnrecognizedClientException"
    });
    assert_eq!(answer.exception(), "AccessDeniedException", "the access key is known, and may do nothing");

    attach(&server, "app", &allow("kms:ListKeys"));
    assert!(within(SOON, || list().status == 200), "what the policy allows is refused after {SOON:?}");
    assert_eq!(call(&server, &app, "CreateKey", &json!({})).exception(), "AccessDeniedException");
    let audited = server.audit();
    let last = audited.iter().rfind(|record| record["eventName"] == "ListKeys").unwrap();
    assert_eq!(last["userIdentity"]["arn"], *arn);
    assert_eq!(last["userIdentity"]["accessKeyId"], *app.id);

    // The policy of the same name is replaced.
    attach(&server, "app", &allow("kms:CreateKey"));
    let refused = within(SOON, || list().status == 400);
    assert!(refused, "what the policy no longer allows is allowed after {SOON:?}");
    assert_eq!(call(&server, &app, "CreateKey", &json!({})).status, 200);

    server.printed(&["access-key", "disable", &app.id]);
    let disabled = || call(&server, &app, "CreateKey", &json!({})).status == 400;
    assert!(within(SOON, disabled), "a disabled access key signs after {SOON:?}");
    let refused = call(&server, &app, "CreateKey", &json!({}));
    assert_eq!(refused.exception(), "UnrecognizedClientException");
    assert_eq!(server.call("ListKeys", &json!({})).status, 200, "the administrator's still signs");
}

#[test]
fn access_keys_and_principals_are_listed_without_secrets() {
    let server = Server::started();
    server.printed(&["principal", "create", "--name", "app"]);
    let app = credentials(&exports(&server.printed(&["access-key", "create", "--principal", "app"])));
    server.printed(&["access-key", "disable", &app.id]);
    let listed = server.printed(&["access-key", "list"]);
    let line = |id: &str| listed.lines().find(|line| line.starts_with(id)).unwrap_or_else(|| panic!("{listed}"));
    assert_eq!(listed.lines().count(), 3);
    assert!(listed.starts_with("ID ") && listed.contains("LAST USED"), "{listed}");
    assert!(line(&app.id).contains("  disabled  ") && line(&app.id).ends_with(":user/app"));
    assert!(line(&server.administrator().id).contains("  enabled   "));
    assert!(!listed.contains(&app.secret) && !listed.contains(&server.administrator().secret));

    attach(&server, "app", &allow("kms:ListKeys"));
    let listed = server.printed(&["principal", "list"]);
    let prefix = format!("arn:aws:iam::{ACCOUNT}:user/");
    let rows: Vec<Vec<&str>> = listed.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["PRINCIPAL", "CREATED", "ACCESS", "KEYS", "POLICIES"]);
    let [administrator, app_row] = &rows[1..] else { panic!("{listed}") };
    assert_eq!((administrator[0], administrator[3]), (&*format!("{prefix}administrator"), "administrator"));
    assert_eq!((app_row[0], app_row[2], app_row[3]), (&*format!("{prefix}app"), "1", "may-list"));
    let all: Value = serde_json::from_str(&server.printed(&["principal", "list", "--json"])).unwrap();
    assert_eq!(all[1]["access_keys"], json!([app.id]));
    let shown = server.printed(&["principal", "show", "--name", "app"]);
    assert!(shown.contains(&app.id) && shown.contains("kms:ListKeys"), "{shown}");
    let log = server.stderr();
    assert!(!log.contains(&app.secret) && !log.contains(&server.administrator().secret));
}

#[test]
fn what_was_given_can_be_taken_and_the_trail_says_who_did_it() {
    let server = Server::started();
    server.printed(&["principal", "create", "--name", "app"]);
    let app = credentials(&exports(&server.printed(&["access-key", "create", "--principal", "app"])));
    attach(&server, "app", &allow("kms:ListKeys"));
    let list = || call(&server, &app, "ListKeys", &json!({}));
    assert!(within(SOON, || list().status == 200));
    let policy = server.root().join("may-list.json");
    fs::write(&policy, allow("kms:ListAliases").to_string()).unwrap();
    let path = policy.to_str().unwrap();
    let said = server.printed(&["principal", "attach-policy", "--name", "app", "--policy", path]);
    assert!(said.contains("is replaced"), "{said}");
    server.printed(&["principal", "detach-policy", "--name", "app", "--policy", "may-list"]);
    assert!(within(SOON, || list().status == 400) && list().exception() == "AccessDeniedException");
    let kept = server.verb(&["principal", "delete", "--name", "app"]);
    assert!(!kept.status.success() && String::from_utf8_lossy(&kept.stderr).contains(&app.id), "{kept:?}");
    server.printed(&["access-key", "delete", &app.id]);
    assert!(within(SOON, || list().exception() == "UnrecognizedClientException"));
    server.printed(&["principal", "delete", "--name", "app"]);

    let names = || {
        let records = server.audit().into_iter().filter(|record| record["eventType"] == "OperatorCommand");
        let user = u64::from(rustix::process::geteuid().as_raw());
        let of_us = records.inspect(|record| assert_eq!(record["userIdentity"]["userId"], user, "{record}"));
        of_us.map(|record| record["eventName"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let done = [
        "CreatePrincipal",
        "CreateAccessKey",
        "AttachPolicy",
        "AttachPolicy",
        "DetachPolicy",
        "DeleteAccessKey",
        "DeletePrincipal",
    ];
    // What the first start made.
    let first = ["InitHsm", "CreatePrincipal", "CreateAccessKey"];
    let all: Vec<_> = first.iter().chain(&done).map(|name| (*name).to_owned()).collect();
    assert!(within(Duration::from_secs(5), || names() == all), "{:?}", names());
}

#[test]
fn the_configuration_is_found_where_a_variable_says() {
    let mut server = Server::started();
    let config = server.data().join("strongroom.toml");
    server.stop();
    let server = server.with("STRONGROOM_CONFIG", config.display());
    let listed = server.run(&["principal", "list"]);
    assert!(String::from_utf8_lossy(&listed.stdout).contains(":user/administrator"), "{listed:?}");
    let server = server.with("STRONGROOM_CONFIG", "");
    let refused = server.run(&["principal", "list"]);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && said.contains("STRONGROOM_CONFIG") && said.contains("--data"), "{said}");
}

#[test]
fn verbs_that_cannot_be_done_say_why() {
    let server = Server::started();
    let refused = |arguments: &[&str], why: &str| {
        let output = server.verb(arguments);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
        assert!(said.starts_with("strongroom: ") && said.contains(why), "{arguments:?}: {said}");
    };
    let policy = server.root().join("policy.json");
    let path = policy.to_str().unwrap();
    refused(&["access-key", "create", "--principal", "nobody"], "does not exist");
    refused(&["access-key", "disable", "AKIANOBODY"], "there is no access key AKIANOBODY");
    refused(&["principal", "create", "--name", "administrator"], "already exists");
    refused(&["principal", "attach-policy", "--name", "administrator", "--policy", path], "No such file");
    fs::write(&policy, "{").unwrap();
    refused(&["principal", "attach-policy", "--name", "administrator", "--policy", path], "MalformedPolicyDocument");
    fs::write(&policy, allow("kms:ListKeys").to_string()).unwrap();
    refused(&["principal", "attach-policy", "--name", "nobody", "--policy", path], "does not exist");
    let foreign = "arn:aws:iam::111111111111:user/app";
    refused(&["principal", "create", "--name", foreign], "is not of account");
}

#[test]
fn the_wrapping_key_is_made_once() {
    let server = Server::started();
    let key = server.new_key();
    let sealed = server.done("Encrypt", &json!({"KeyId": key, "Plaintext": "eA=="}));
    let first = server.printed(&["hsm", "init"]);
    let id = first.lines().next().and_then(|line| line.strip_prefix("wrapping key was there, CKA_ID ")).expect(&first);
    assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{first}");
    assert_eq!(server.printed(&["hsm", "init"]), first);
    let opened = server.done("Decrypt", &json!({"CiphertextBlob": sealed["CiphertextBlob"]}));
    assert_eq!(opened["Plaintext"], "eA==");
}

#[test]
fn the_probe_is_a_table_and_json() {
    let server = Server::started();
    let table = server.printed(&["hsm", "probe"]);
    for row in ["AES", "GCM", "OAEP", "SoftHSM"] {
        assert!(table.contains(row), "{row}: {table}");
    }
    let profile: Value = serde_json::from_str(&server.printed(&["hsm", "probe", "--json"])).unwrap();
    assert!(profile.as_object().is_some_and(|fields| fields.len() > 3), "{profile}");
    server.new_key();
}

#[test]
fn many_verbs_at_once_do_not_hurt_the_server() {
    let server = Server::started();
    let key = server.new_key();
    std::thread::scope(|scope| {
        let verbs: Vec<_> = (0..4)
            .map(|n| {
                let server = &server;
                scope.spawn(move || server.printed(&["principal", "create", "--name", &format!("app{n}")]))
            })
            .collect();
        for n in 0..50 {
            let body = json!({"AliasName": format!("alias/{n}"), "TargetKeyId": key});
            server.done("CreateAlias", &body);
        }
        verbs.into_iter().for_each(|verb| drop(verb.join().unwrap()));
    });
    assert_eq!(server.printed(&["principal", "list"]).lines().count(), 6);
    assert_eq!(server.done("ListAliases", &json!({"Limit": 100}))["Aliases"].as_array().unwrap().len(), 50);
}

#[test]
fn the_clock_is_shown_and_confirmed() {
    let server = Server::started();
    let mut shown = String::new();
    let counted = within(SOON, || {
        shown = server.printed(&["clock", "show"]);
        shown.starts_with("it has run for 0 s since 20")
    });
    assert!(counted, "{shown}");
    assert_eq!(server.printed(&["clock", "confirm"]), "the clock was not in doubt\n");
}
