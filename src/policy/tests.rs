//! Tables: who may do what under which policies, and which documents are none.

use std::sync::{Arc, LazyLock};

use proptest::prelude::*;

use super::*;
use crate::{client::Client, clock::Timestamp, error::Code};

const ACCOUNT: &str = "111122223333";
const KEY: &str = "arn:aws:kms:eu-central-1:111122223333:key/0d990263-018e-4e65-a703-eff731de951e";
const ALIAS: &str = "arn:aws:kms:eu-central-1:111122223333:alias/orders";

const ADA: &str = "arn:aws:iam::111122223333:user/ada";
const BOB: &str = "arn:aws:iam::111122223333:user/bob";
const ROOT: &str = "arn:aws:iam::111122223333:root";
const ROLE: &str = "arn:aws:iam::111122223333:role/path/Ops";
const SESSION: &str = "arn:aws:sts::111122223333:assumed-role/Ops/monday";
const EVE: &str = "arn:aws:iam::444455556666:user/eve";
const FOREIGN_ROOT: &str = "arn:aws:iam::444455556666:root";

const OK: Decision = Decision::Allowed;
const KEY_DENIES: Decision = Decision::Denied(Reason::ExplicitDenyInKeyPolicy);
const OWN_DENIES: Decision = Decision::Denied(Reason::ExplicitDenyInIdentityPolicy);
const NO_OWN: Decision = Decision::Denied(Reason::NoIdentityPolicyAllows);
const NO_KEY: Decision = Decision::Denied(Reason::NoKeyPolicyAllows);
const CROSS: Decision = Decision::Denied(Reason::CrossAccount);

fn account() -> AccountId {
    AccountId::try_from(ACCOUNT.to_owned()).expect("12 digits")
}

fn principal(arn: &str) -> Principal {
    Principal::try_from(arn.to_owned()).expect("a principal")
}

/// A document of statements that are written without their braces.
fn document(statements: &[&str]) -> String {
    format!(r#"{{"Version":"2012-10-17","Statement":[{{{}}}]}}"#, statements.join("},{"))
}

/// A statement of a key policy: effect, AWS principal, action.
fn statement(effect: &str, principal: &str, action: &str) -> String {
    format!(r#""Effect":"{effect}","Principal":{{"AWS":"{principal}"}},"Action":"{action}","Resource":"*""#)
}

fn key_policy(statements: &[&str]) -> Document {
    Document::key_policy(&document(statements)).expect("a key policy")
}

fn identity(statements: &[&str]) -> Vec<Arc<Document>> {
    statements.iter().map(|one| Arc::new(Document::identity_policy(&document(&[one])).expect(one))).collect()
}

/// Of a request that says nothing more.
fn bare() -> Facts<'static> {
    static REQUEST: LazyLock<RequestFacts> = LazyLock::new(RequestFacts::default);
    static CLIENT: LazyLock<Client> = LazyLock::new(Client::default);
    Facts { request: &REQUEST, alias: None, key: None, client: &CLIENT, time: Timestamp::from_ms(0) }
}

fn on_key(caller: &str, action: Action, policy: &Document, identity: &[Arc<Document>]) -> Decision {
    let (caller, owner) = (principal(caller), account());
    let request =
        Request { principal: &caller, action, resource: Resource::Key { arn: KEY, owner: &owner }, facts: bare() };
    decide(&request, Some(policy), identity)
}

#[test]
fn a_key_policy_alone() {
    use Action::*;
    let allow = |who: &str| statement("Allow", who, "kms:*");
    let deny = |who: &str| statement("Deny", who, "kms:*");
    let (everyone, delegation) = (allow("*"), allow(ROOT));
    let table: &[(&str, &[&str], &str, Action, Decision)] = &[
        ("the user named", &[&allow(ADA)], ADA, Encrypt, OK),
        ("another user", &[&allow(ADA)], BOB, Encrypt, NO_KEY),
        ("the root user has nothing by owning the key", &[&allow(ADA)], ROOT, PutKeyPolicy, NO_KEY),
        ("a role", &[&allow(ROLE)], ROLE, Decrypt, OK),
        ("a session of the role named", &[&allow(ROLE)], SESSION, Decrypt, OK),
        ("the session named", &[&allow(SESSION)], SESSION, Decrypt, OK),
        ("the role of the session named", &[&allow(SESSION)], ROLE, Decrypt, NO_KEY),
        ("everyone", &[&everyone], ADA, Encrypt, OK),
        ("the account means its root user", &[&delegation], ROOT, Encrypt, OK),
        ("the account's digits, too", &[&allow(ACCOUNT)], ROOT, Encrypt, OK),
        ("the account leaves it to identity policies", &[&delegation], ADA, Encrypt, NO_OWN),
        ("another account", &[&allow("444455556666")], ADA, Encrypt, NO_KEY),
        ("another action", &[&statement("Allow", ADA, "kms:Decrypt")], ADA, Encrypt, NO_KEY),
        ("a wildcard in the action", &[&statement("Allow", ADA, "KMS:en*")], ADA, Encrypt, OK),
        ("a deny before an allow", &[&deny(ADA), &allow(ADA)], ADA, Encrypt, KEY_DENIES),
        ("a deny after an allow", &[&allow(ADA), &deny(ADA)], ADA, Encrypt, KEY_DENIES),
        ("a deny of the account is one of all in it", &[&allow(ADA), &deny(ROOT)], ADA, Encrypt, KEY_DENIES),
        ("a deny of the role is one of its sessions", &[&everyone, &deny(ROLE)], SESSION, Encrypt, KEY_DENIES),
        ("a deny of another", &[&everyone, &deny(BOB)], ADA, Encrypt, OK),
        ("a deny of another action", &[&everyone, &statement("Deny", ADA, "kms:Decrypt")], ADA, Encrypt, OK),
        (
            "a service is no caller",
            &[r#""Effect":"Allow","Principal":{"Service":"logs.amazonaws.com"},"Action":"*","Resource":"*""#],
            ADA,
            Encrypt,
            NO_KEY,
        ),
        ("no action: void", &[r#""Effect":"Allow","Principal":"*","Resource":"*""#], ADA, Encrypt, NO_KEY),
        ("no resource: void", &[r#""Effect":"Allow","Principal":"*","Action":"*""#], ADA, Encrypt, NO_KEY),
    ];
    for (what, statements, caller, action, expected) in table {
        assert_eq!(on_key(caller, *action, &key_policy(statements), &[]), *expected, "{what}");
    }
}

#[test]
fn elements_that_say_not() {
    use Action::*;
    let but = |effect: &str, who: &str| {
        format!(r#""Effect":"{effect}","NotPrincipal":{{"AWS":{who}}},"Action":"*","Resource":"*""#)
    };
    let all = statement("Allow", "*", "*");
    let (ada, root) = (format!(r#""{ADA}""#), format!(r#""{ROOT}""#));
    let ada_and_account = format!(r#"["{ADA}","{ROOT}"]"#);
    let not_encrypt = r#""Effect":"Allow","Principal":"*","NotAction":"kms:Encrypt","Resource":"*""#;
    let not_this = format!(r#""Effect":"Allow","Principal":"*","Action":"*","NotResource":"{KEY}""#);
    let not_that = r#""Effect":"Allow","Principal":"*","Action":"*","NotResource":"arn:aws:kms:*:*:alias/*""#;
    let table: &[(&str, &[&str], &str, Action, Decision)] = &[
        ("all but one", &[&but("Allow", &ada)], BOB, Encrypt, OK),
        ("the one", &[&but("Allow", &ada)], ADA, Encrypt, NO_KEY),
        ("all but an account", &[&but("Allow", &root)], ADA, Encrypt, NO_KEY),
        ("a deny of all but one", &[&all, &but("Deny", &ada)], BOB, Encrypt, KEY_DENIES),
        ("the one is not denied", &[&all, &but("Deny", &ada)], ADA, Encrypt, OK),
        ("with its account beside it", &[&all, &but("Deny", &ada_and_account)], ADA, Encrypt, OK),
        ("which excepts nobody else of it", &[&all, &but("Deny", &ada_and_account)], BOB, Encrypt, KEY_DENIES),
        ("but its root user", &[&all, &but("Deny", &ada_and_account)], ROOT, Encrypt, OK),
        ("another action", &[not_encrypt], ADA, Decrypt, OK),
        ("the action", &[not_encrypt], ADA, Encrypt, NO_KEY),
        ("this key", &[&not_this], ADA, Encrypt, NO_KEY),
        ("another resource", &[not_that], ADA, Encrypt, OK),
    ];
    for (what, statements, caller, action, expected) in table {
        assert_eq!(on_key(caller, *action, &key_policy(statements), &[]), *expected, "{what}");
    }
}

#[test]
fn the_resource_of_a_key_policy_is_this_key() {
    for (resource, expected) in [
        (r#""*""#, OK),
        (&format!(r#""{KEY}""#), OK),
        (r#"["arn:aws:kms:x:1:key/2","arn:aws:kms:*:111122223333:key/*"]"#, OK),
        (r#""arn:aws:kms:eu-central-1:111122223333:key/other""#, NO_KEY),
        (r#""arn:aws:KMS:*""#, NO_KEY),
    ] {
        let statement = format!(r#""Effect":"Allow","Principal":"*","Action":"*","Resource":{resource}"#);
        assert_eq!(on_key(ADA, Action::Encrypt, &key_policy(&[&statement]), &[]), expected, "{resource}");
    }
}

#[test]
fn a_key_policy_with_identity_policies() {
    use Action::*;
    let (delegates, silent) = (statement("Allow", ROOT, "kms:*"), statement("Allow", BOB, "kms:*"));
    let direct = statement("Allow", ADA, "kms:*");
    let denies = statement("Deny", ADA, "kms:*");
    let own_all = r#""Effect":"Allow","Action":"kms:*","Resource":"*""#;
    let own_key = format!(r#""Effect":"Allow","Action":["kms:Encrypt"],"Resource":["{KEY}"]"#);
    let own_alias = format!(r#""Effect":"Allow","Action":"*","Resource":"{ALIAS}""#);
    let own_no = r#""Effect":"Deny","Action":"kms:Encrypt","Resource":"*""#;
    let table: &[(&str, &str, &[&str], &str, Decision)] = &[
        ("delegated", &delegates, &[own_all], ADA, OK),
        ("delegated for this key", &delegates, &[&own_key], ADA, OK),
        ("an alias is no key", &delegates, &[&own_alias], ADA, NO_OWN),
        ("identity policies alone", &silent, &[own_all], ADA, NO_KEY),
        ("the key policy alone", &direct, &[], ADA, OK),
        ("a deny of one's own", &direct, &[own_no, own_all], ADA, OWN_DENIES),
        ("a deny of the key's", &denies, &[own_all], ADA, KEY_DENIES),
        ("a deny of one's own binds the root user", &delegates, &[own_no], ROOT, OWN_DENIES),
        ("one of several policies", &delegates, &[&own_alias, &own_key], ADA, OK),
    ];
    for (what, policy, own, caller, expected) in table {
        assert_eq!(on_key(caller, Encrypt, &key_policy(&[policy]), &identity(own)), *expected, "{what}");
    }
}

#[test]
fn a_key_of_another_account() {
    use Action::*;
    let (user, whole, all) =
        (statement("Allow", EVE, "*"), statement("Allow", FOREIGN_ROOT, "*"), statement("Allow", "*", "*"));
    let silent = statement("Allow", ROOT, "*");
    let denies = statement("Deny", EVE, "*");
    let own = r#""Effect":"Allow","Action":"kms:*","Resource":"*""#;
    let own_no = r#""Effect":"Deny","Action":"kms:*","Resource":"*""#;
    type Row<'a> = (&'a str, &'a [&'a str], &'a [&'a str], &'a str, Action, Decision);
    let table: &[Row<'_>] = &[
        ("both allow: the user", &[&user], &[own], EVE, Decrypt, OK),
        ("both allow: the account", &[&whole], &[own], EVE, Decrypt, OK),
        ("both allow: everyone", &[&all], &[own], EVE, Decrypt, OK),
        ("the key policy alone", &[&user], &[], EVE, Decrypt, NO_OWN),
        ("identity policies alone", &[&silent], &[own], EVE, Decrypt, CROSS),
        ("an action that does not cross", &[&user], &[own], EVE, PutKeyPolicy, CROSS),
        ("the other root user", &[&whole], &[], FOREIGN_ROOT, Decrypt, OK),
        ("a deny of the key's", &[&all, &denies], &[own], EVE, Decrypt, KEY_DENIES),
        ("a deny of one's own", &[&all, &denies], &[own, own_no], EVE, Decrypt, OWN_DENIES),
    ];
    for (what, policy, own, caller, action, expected) in table {
        assert_eq!(on_key(caller, *action, &key_policy(policy), &identity(own)), *expected, "{what}");
    }
}

#[test]
fn operations_without_a_key_and_aliases_are_decided_by_identity_policies() {
    use Action::*;
    let all = r#""Effect":"Allow","Action":"kms:*","Resource":"*""#;
    let keys = r#""Effect":"Allow","Action":"kms:*","Resource":"arn:aws:kms:*:111122223333:*""#;
    let aliases = r#""Effect":"Allow","Action":"kms:*","Resource":"arn:aws:kms:*:*:alias/ord*""#;
    let no = r#""Effect":"Deny","Action":"kms:Create*","Resource":"*""#;
    let not_keys = r#""Effect":"Allow","Action":"*","NotResource":"arn:aws:kms:*:*:key/*""#;
    let owner = account();
    let alias = Resource::Alias { arn: ALIAS, owner: &owner };
    let table: &[(Resource<'_>, &[&str], &str, Action, Decision)] = &[
        (Resource::Any, &[all], ADA, CreateKey, OK),
        (Resource::Any, &[], ADA, CreateKey, NO_OWN),
        (Resource::Any, &[keys], ADA, CreateKey, NO_OWN),
        (Resource::Any, &[not_keys], ADA, CreateKey, OK),
        (Resource::Any, &[all, no], ADA, CreateKey, OWN_DENIES),
        (Resource::Any, &[], ROOT, CreateKey, OK),
        (Resource::Any, &[no], ROOT, CreateKey, OWN_DENIES),
        (Resource::Any, &[all], EVE, ListKeys, OK),
        (alias, &[aliases], ADA, CreateAlias, OK),
        (alias, &[], ADA, CreateAlias, NO_OWN),
        (alias, &[], ROOT, CreateAlias, OK),
        (alias, &[all], EVE, CreateAlias, CROSS),
    ];
    // The key policy has no say, whatever it says.
    let everything = key_policy(&[&statement("Allow", "*", "*")]);
    for (resource, own, caller, action, expected) in table {
        let caller = principal(caller);
        let request = Request { principal: &caller, action: *action, resource: *resource, facts: bare() };
        assert_eq!(decide(&request, Some(&everything), &identity(own)), *expected, "{own:?} {action}");
    }
}

#[test]
fn what_a_caller_is_told() {
    let (ada, eve, owner) = (principal(ADA), principal(EVE), account());
    let request = |principal| Request {
        principal,
        action: Action::Decrypt,
        resource: Resource::Key { arn: KEY, owner: &owner },
        facts: bare(),
    };
    let told = |who: &str| format!("User: {who} is not authorized to perform: kms:Decrypt on resource: {KEY} ");
    for (reason, because) in [
        (Reason::ExplicitDenyInKeyPolicy, "with an explicit deny in a resource-based policy"),
        (Reason::ExplicitDenyInIdentityPolicy, "with an explicit deny in an identity-based policy"),
        (Reason::NoIdentityPolicyAllows, "because no identity-based policy allows the kms:Decrypt action"),
        (Reason::NoKeyPolicyAllows, "because no resource-based policy allows the kms:Decrypt action"),
        (Reason::CrossAccount, UNTOLD),
    ] {
        assert_eq!(reason.message(&request(&ada)), told(ADA) + because);
        // A stranger cannot tell a key that denies from one that is not there.
        let untold = if reason == Reason::ExplicitDenyInIdentityPolicy { because } else { UNTOLD };
        assert_eq!(reason.message(&request(&eve)), told(EVE) + untold);
        assert_eq!(reason.is_explicit(), because.contains("explicit deny in"));
    }
    let keyless = Request { principal: &ada, action: Action::CreateKey, resource: Resource::Any, facts: bare() };
    assert_eq!(
        Reason::NoIdentityPolicyAllows.message(&keyless),
        "User: arn:aws:iam::111122223333:user/ada is not authorized to perform: kms:CreateKey on resource: * because no \
         identity-based policy allows the kms:CreateKey action"
    );
}

#[test]
fn the_default_policy_is_pretty_and_leaves_all_to_the_account() {
    let text = default_key_policy("aws", &account());
    assert_eq!(pretty(&text).as_deref(), Some(text.as_str()));
    let policy = Document::key_policy(&text).expect("a key policy");
    let own = identity(&[r#""Effect":"Allow","Action":"kms:Encrypt","Resource":"*""#]);
    assert_eq!(on_key(ROOT, Action::PutKeyPolicy, &policy, &[]), OK);
    assert_eq!(on_key(ADA, Action::Encrypt, &policy, &own), OK);
    assert_eq!(on_key(ADA, Action::Decrypt, &policy, &own), NO_OWN);
}

#[test]
fn the_lockout_check() {
    let own = r#""Effect":"Allow","Action":"kms:PutKeyPolicy","Resource":"*""#;
    let put = statement("Allow", ADA, "kms:Put*");
    for (statements, own, caller, expected) in [
        (vec![put.clone()], vec![], ADA, true),
        (vec![put.clone()], vec![own], BOB, false),
        (vec![statement("Allow", ADA, "kms:Encrypt")], vec![own], ADA, false),
        (vec![statement("Allow", ROOT, "kms:*")], vec![], ADA, false),
        (vec![statement("Allow", ROOT, "kms:*")], vec![own], ADA, true),
        (vec![statement("Allow", ROOT, "kms:*")], vec![], ROOT, true),
        (vec![put, statement("Deny", "*", "kms:PutKeyPolicy")], vec![own], ADA, false),
    ] {
        let policy = key_policy(&statements.iter().map(String::as_str).collect::<Vec<_>>());
        let (caller, owner) = (principal(caller), account());
        let resource = Resource::Key { arn: KEY, owner: &owner };
        let again = Request { principal: &caller, action: Action::PutKeyPolicy, resource, facts: bare() };
        let kept = keeps_control(&policy, &again, &identity(&own));
        assert_eq!(kept, expected, "{statements:?} {caller}");
    }
    assert_eq!(locked_out().code, Code::MalformedPolicyDocumentException);
}

/// Why `text` is no key policy.
fn refused(result: Result<Document, crate::error::KmsError>, text: &str) -> (Code, String) {
    let error = result.expect_err(text);
    (error.code, error.message.unwrap_or_default())
}

#[test]
fn what_is_no_key_policy() {
    let good = r#""Effect":"Allow","Principal":"*","Action":"*","Resource":"*""#;
    let with = |member: &str| document(&[&format!("{good},{member}")]);
    let principal = |value: &str| document(&[&format!(r#""Effect":"Allow","Principal":{value},"Action":"*""#)]);
    let invalid = "Policy contains a statement with one or more invalid principals.";
    let nested = format!(r#"{{"Statement":{}"#, "[".repeat(10_000));
    for (text, expected) in [
        (String::new(), "EOF"),
        ("null".into(), "invalid type: null"),
        ("[]".into(), "invalid type: sequence"),
        (r#"["2012-10-17","id",[]]"#.into(), "invalid type: sequence"),
        ("{}".into(), "missing field `Statement`"),
        (r#"{"Statement":[]}"#.into(), "invalid length 0, expected one value or an array of at least one"),
        (r#"{"Statement":null}"#.into(), "invalid type: null"),
        (r#"{"Statement":"x"}"#.into(), "expected a statement"),
        (r#"{"Statement":[["x","Allow"]]}"#.into(), "invalid type: sequence, expected a string or an object"),
        (nested, "invalid type: sequence"),
        (document(&[good]) + "x", "trailing characters"),
        (document(&[good]).replace("2012-10-17", "2012-10-18"), "there is no version `2012-10-18`"),
        (document(&[good]).replace(r#""2012-10-17""#, "null"), "invalid type: null"),
        (document(&[&good.replace(r#""Allow""#, r#"{"Allow":null}"#)]), "invalid type: map"),
        (document(&[good]).replace("Version", "version"), "unknown field `version`"),
        (document(&[good]).replacen('{', r#"{"Statement":{},"#, 1), "missing field `Effect`"),
        (document(&[good]).replacen('{', r#"{"Version":"2012-10-17","#, 1), "duplicate field `Version`"),
        (document(&[good]).replacen('{', r#"{"Id":1,"#, 1), "invalid type: integer `1`"),
        (document(&[&good.replace("Allow", "allow")]), "the effect `allow`"),
        (with(r#""Effect":"Deny""#), "duplicate field `Effect`"),
        (with(r#""\u0041ction":"kms:Sign""#), "duplicate field `Action`"),
        (with(r#""Condition":{}"#), "conditions are not supported yet"),
        (with(r#""Condition":null"#), "conditions are not supported yet"),
        (with(r#""Condition":{"Bool":{"aws:SecureTransport":"true"}}"#), "conditions are not supported yet"),
        (with(r#""Comment":"x""#), "unknown field `Comment`"),
        (with(r#""Sid":null"#), "invalid type: null"),
        (with(r#""NotAction":"*""#), "both `Action` and `NotAction`"),
        (with(r#""NotResource":"*""#), "both `Resource` and `NotResource`"),
        (with(r#""NotPrincipal":"*""#), "both `Principal` and `NotPrincipal`"),
        (document(&[r#""Effect":"Allow","Action":"*","Resource":"*""#]), "lacks `Principal`"),
        (document(&[r#""Effect":"Allow","Principal":"*","Action":[]"#]), "invalid length 0"),
        (document(&[r#""Effect":"Allow","Principal":"*","Action":1"#]), "invalid type: integer"),
        (document(&[r#""Effect":"Allow","Principal":"*","Action":[["*"]]"#]), "invalid type: sequence"),
        (document(&[r#""Effect":"Allow","Principal":"*","Action":{}"#]), "invalid type: map"),
        (document(&[r#""Effect":"Allow","Principal":"*","Action":"Encrypt""#]), "the action `Encrypt`"),
        (document(&[r#""Effect":"Allow","Principal":"*","Resource":"key/1""#]), "the resource `key/1`"),
        (document(&[r#""Effect":"Allow","Principal":"*","Resource":"arn:${aws:username}""#]), "policy variables"),
        (document(&[&good.replace('*', "\u{100}")]), r"the character \u{100}"),
        (document(&[&good.replace('*', "\u{7}")]), r"the character \u{7}"),
        (document(&[good; 501]), "more than 500 statements"),
        (principal("null"), "invalid type: null"),
        (principal(r#""arn:aws:iam::111122223333:root""#), "expected `*`"),
        (principal(r#"["*"]"#), "invalid type: sequence"),
        (principal(r#"{"Aws":"*"}"#), "unknown field `Aws`"),
        (principal(r#"{"AWS":"*","AWS":"*"}"#), "duplicate field `AWS`"),
        (principal(r#"{"AWS":[]}"#), "invalid length 0"),
        (principal("{}"), invalid),
        (principal(r#"{"AWS":""}"#), invalid),
        (principal(r#"{"AWS":["*","ada"]}"#), invalid),
        (principal(r#"{"AWS":"arn:aws:iam::111122223333:group/g"}"#), invalid),
        (principal(r#"{"AWS":"AIDACKCEVSQ6C2EXAMPLE"}"#), invalid),
        (principal(r#"{"Service":"*"}"#), invalid),
    ] {
        let (code, message) = refused(Document::key_policy(&text), &text);
        assert_eq!(code, Code::MalformedPolicyDocumentException, "{text}");
        assert!(message.contains(expected) && message.len() < 400, "{text}: {message}");
    }
    let (code, _) = refused(Document::key_policy(&" ".repeat(32_769)), "too long");
    assert_eq!(code, Code::LimitExceededException);
}

#[test]
fn no_text_of_a_policy_has_a_control_character() {
    let whole = r#"{"Version":"2012-10-17","Id":"ID","Statement":[{"Sid":"SID","Effect":"Allow","Principal":{
        "AWS":"arn:aws:iam::111122223333:user/USER","Service":"logs.SERVICE.com","Federated":"FEDERATED",
        "CanonicalUser":"CANONICAL"},"Action":"kms:ACTION","Resource":"arn:RESOURCE"}]}"#;
    assert!(Document::key_policy(whole).is_ok());
    let places =
        ["2012-10-17", "ID", "SID", "Allow", "USER", "SERVICE", "FEDERATED", "CANONICAL", "ACTION", "RESOURCE"];
    for place in places {
        for escape in [r"\u0000", r"\n", r"\u001b", r"\u007f", r"\u0085"] {
            let text = whole.replacen(place, &format!("{place}{escape}"), 1);
            let (code, _) = refused(Document::key_policy(&text), &text);
            assert_eq!(code, Code::MalformedPolicyDocumentException, "{text}");
        }
    }
}

#[test]
fn what_is_no_identity_policy() {
    for (statement, expected) in [
        (r#""Effect":"Allow","Principal":"*","Action":"*","Resource":"*""#, "has no `Principal`"),
        (r#""Effect":"Allow","NotPrincipal":"*","Action":"*","Resource":"*""#, "has no `Principal`"),
        (r#""Effect":"Allow","Resource":"*""#, "lacks `Action`"),
        (r#""Effect":"Allow","Action":"*""#, "lacks `Resource`"),
        (r#""Effect":"Allow","Action":"*","Resource":"*","Condition":{}"#, "conditions are not supported yet"),
    ] {
        let (code, message) = refused(Document::identity_policy(&document(&[statement])), statement);
        assert_eq!(code, Code::MalformedPolicyDocumentException, "{statement}");
        assert!(message.contains(expected), "{statement}: {message}");
    }
}

#[test]
fn what_is_a_policy() {
    let full = r#"{"Id":"x","Statement":{"Sid":"may have spaces","Effect":"Allow","NotPrincipal":{"AWS":["111122223333"],
        "Service":"a.b","Federated":"cognito-identity.amazonaws.com","CanonicalUser":["0a"]},"NotAction":["kms:*"],
        "NotResource":["*"]},"Version":"2008-10-17"}"#;
    assert!(Document::key_policy(full).is_ok());
    let latin = document(&[r#""Sid":"café ÿ","Effect":"Deny","Principal":"*""#]);
    assert!(Document::key_policy(&latin).is_ok());
}

#[test]
fn an_identity_allows_by_its_own_policies_and_a_root_user_without() {
    let (allow, deny) =
        (r#""Effect":"Allow","Action":"kms:*","Resource":"*""#, r#""Effect":"Deny","Action":"*","Resource":"*""#);
    for (caller, policies, allowed) in [
        (ADA, &[][..], false),
        (ADA, &[allow][..], true),
        (ADA, &[allow, deny][..], false),
        (ROOT, &[][..], true),
        (ROOT, &[deny][..], false),
    ] {
        let caller = principal(caller);
        let request = Request { principal: &caller, action: Action::Decrypt, resource: Resource::Any, facts: bare() };
        assert_eq!(identity_allows(&request, &identity(policies)), allowed, "{} {policies:?}", caller.arn());
    }
}

#[test]
fn who_may_retire_is_told_within_the_account() {
    let allow = identity(&[r#""Effect":"Allow","Action":"kms:*","Resource":"*""#]);
    for (about, expected) in [(BOB, OK), (EVE, CROSS)] {
        let (caller, about) = (principal(ADA), principal(about));
        let resource = Resource::Principal(&about);
        let request = Request { principal: &caller, action: Action::ListRetirableGrants, resource, facts: bare() };
        assert_eq!(decide(&request, None, &allow), expected, "{}", about.arn());
    }
}

#[test]
fn the_bounds_of_a_policy_are_within_it() {
    let most = vec![statement("Allow", ADA, "*"); 500];
    let mut most: Vec<_> = most.iter().map(String::as_str).collect();
    let longest = format!("{:32768}", document(&most[..1]));
    assert!(Document::key_policy(&longest).is_ok());
    let (code, _) = refused(Document::key_policy(&(longest + " ")), "32,769 bytes");
    assert_eq!(code, Code::LimitExceededException);
    let short = r#""Effect":"Deny""#;
    most.fill(short);
    let text = document(&most);
    assert!(!text.contains("Principal") && text.len() < 32_768);
    let missing = |count: usize| refused(Document::key_policy(&document(&vec![short; count])), "statements").1;
    assert!(!missing(500).contains("500 statements"), "{}", missing(500));
    assert!(missing(501).contains("500 statements"));
}

/// A statement of any kind about few principals and actions, so that they often meet.
fn any_statement(effect: &'static str) -> impl Strategy<Value = String> {
    let who = prop::sample::select(vec![ADA, BOB, ROOT, ROLE, SESSION, EVE, FOREIGN_ROOT, "*", ACCOUNT]);
    let action = prop::sample::select(vec!["*", "kms:*", "kms:Encrypt", "kms:*crypt", "kms:PutKeyPolicy", "s3:*"]);
    let resource = prop::sample::select(vec!["*", KEY, "arn:aws:kms:*", "arn:aws:kms:x:1:key/2"]);
    (who, action, resource, any::<[bool; 3]>()).prop_map(move |(who, action, resource, not)| {
        let not = not.map(|not| if not { "Not" } else { "" });
        format!(
            r#""Effect":"{effect}","{}Principal":{{"AWS":"{who}"}},"{}Action":"{action}","{}Resource":"{resource}""#,
            not[0], not[1], not[2]
        )
    })
}

fn own(statement: &str) -> String {
    let (effect, rest) = statement.split_once(',').expect("an effect");
    let (_, rest) = rest.split_once("},").expect("a principal");
    format!("{effect},{rest}")
}

proptest! {
    /// A Deny more never allows, in whatever policy; an Allow more never refuses; order has no influence.
    #[test]
    fn denies_only_refuse_and_allows_only_allow(
        before in prop::collection::vec(prop_oneof![any_statement("Allow"), any_statement("Deny")], 1..5),
        allow in any_statement("Allow"),
        deny in any_statement("Deny"),
        caller in prop::sample::select(vec![ADA, BOB, ROOT, ROLE, SESSION, EVE, FOREIGN_ROOT]),
        action in prop::sample::select(vec![Action::Encrypt, Action::Decrypt, Action::PutKeyPolicy]),
    ) {
        let split = before.len() / 2;
        let decision = |more: Option<&String>, more_own: Option<&String>, reverse: bool| {
            let mut statements: Vec<&str> = before.iter().chain(more).map(String::as_str).collect();
            if reverse {
                statements.reverse();
            }
            let own: Vec<String> = before[..split].iter().chain(more_own).map(|statement| own(statement)).collect();
            let own = identity(&own.iter().map(String::as_str).collect::<Vec<_>>());
            on_key(caller, action, &key_policy(&statements), &own)
        };
        let base = decision(None, None, false);
        for denied in [decision(Some(&deny), None, false), decision(None, Some(&deny), false)] {
            prop_assert!(denied != OK || base == OK, "{} allowed", deny);
        }
        for allowed in [decision(Some(&allow), None, false), decision(None, Some(&allow), false)] {
            prop_assert!(allowed == OK || base != OK, "{} refused", allow);
        }
        prop_assert_eq!(decision(None, None, true), base);
    }

    #[test]
    fn no_text_makes_it_fail_otherwise_than_by_an_error(text in r#"[\[\]{}",:a-zA-Z*\\ \n]{0,60}"#) {
        let _ = Document::key_policy(&text);
        let _ = Document::identity_policy(&text);
        if let Some(pretty_text) = pretty(&text) {
            prop_assert_eq!(pretty(&pretty_text), Some(pretty_text));
        }
    }
}
