//! CreateGrant: <https://docs.aws.amazon.com/kms/latest/APIReference/API_CreateGrant.html>.

use expect_test::expect;
use serde_json::{Value, json};
use strongroom::key::{
    spec::{KeySpec, KeyUsage},
    state::KeyState,
};

use super::{ALIAS, About, GRANT_TOKENS, KEY, Kind, Names, PRINCIPAL, States, Subject, may, must};
use crate::world::{World, text, with};

const STATES: States = [0, 1, 3, 3, 5, 0, 14, 0];
pub const ADA: &str = "arn:aws:iam::111122223333:user/ada";

pub const SUBJECT: Subject = Subject {
    name: "CreateGrant",
    members: &[
        must("KeyId", KEY),
        must("GranteePrincipal", PRINCIPAL),
        may("RetiringPrincipal", PRINCIPAL),
        must("Operations", Kind::Operations),
        may("Constraints", Kind::Structure),
        may("GrantTokens", GRANT_TOKENS),
        may("Name", ALIAS),
        may("DryRun", Kind::Bool),
        may("GranteeServicePrincipal", Kind::Service),
        may("RetiringServicePrincipal", Kind::Service),
    ],
    request: |things| request(&things.key, json!({})),
    about: About::Symmetric,
    key: Some(("KeyId", Names::IdOrArn)),
    states: STATES,
};

pub fn request(key: &str, members: Value) -> Value {
    with(json!({"KeyId": key, "GranteePrincipal": ADA, "Operations": ["Encrypt", "DescribeKey"]}), members)
}

/// A new grant of a key: its id and a token.
pub async fn granted(world: &World, key: &str, members: Value) -> (String, String) {
    let made = world.ok("CreateGrant", request(key, members)).await;
    (text(&made, "GrantId"), text(&made, "GrantToken"))
}

/// The ids of a key's grants.
pub async fn grants_of(world: &World, key: &str) -> Vec<String> {
    let grants = world.ok("ListGrants", json!({"KeyId": key, "Limit": 100})).await["Grants"].clone();
    grants.as_array().unwrap().iter().map(|grant| text(grant, "GrantId")).collect()
}

#[tokio::test]
async fn the_answer() {
    let world = World::new().await;
    let key = world.key().await;
    world.check("CreateGrant", request(&key, json!({})), expect![[r#"
        {
          "GrantId": "GRANT",
          "GrantToken": "TOKEN"
        }"#]]).await;
    let (id, token) = granted(&world, &key, json!({})).await;
    assert!(id.len() == 64 && id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')), "{id}");
    assert!(token.len() <= 8192);
}

#[tokio::test]
async fn the_record_shows_the_terms_and_the_grant_and_no_token() {
    let world = World::new().await;
    let key = world.key().await;
    let terms = json!({"Name": "n", "Constraints": {"EncryptionContextSubset": {"tenant": "7"}}});
    let answer = world.call("CreateGrant", request(&key, terms)).await;
    let record = &answer.records[0];
    let shown = &record["requestParameters"];
    assert_eq!(shown["granteePrincipal"], ADA);
    assert_eq!(shown["operations"], json!(["Encrypt", "DescribeKey"]));
    assert_eq!((&shown["name"], &shown["constraints"]["EncryptionContextSubset"]["tenant"]), (&json!("n"), &json!("7")));
    assert_eq!(record["additionalEventData"]["grantId"], answer.json()["GrantId"]);
    let token = text(&answer.json(), "GrantToken");
    world.ok("Encrypt", json!({"KeyId": key, "Plaintext": "eA==", "GrantTokens": [token]})).await;
    assert!(!world.audit().iter().any(|record| record.to_string().contains(&token)));
}

#[tokio::test]
async fn a_principal_is_named_by_its_arn() {
    let world = World::new().await;
    let key = world.key().await;
    for good in [
        "arn:aws:iam::111122223333:root",
        "arn:aws:iam::444455556666:root",
        "arn:aws:iam::111122223333:user/path/ada",
        "arn:aws:iam::111122223333:role/path/Ops",
        "arn:aws:sts::111122223333:assumed-role/Ops/monday",
        "arn:aws:sts::111122223333:federated-user/ada",
    ] {
        for member in ["GranteePrincipal", "RetiringPrincipal"] {
            world.ok("CreateGrant", request(&key, json!({member: good}))).await;
        }
    }
    for bad in [
        "ada",
        "111122223333",
        "logs.amazonaws.com",
        "arn:aws:iam::111122223333:group/all",
        "arn:aws:iam::1111:root",
        "arn:aws:kms:eu-test-1:111122223333:key/k",
    ] {
        for member in ["GranteePrincipal", "RetiringPrincipal"] {
            let message = format!("ARN does not refer to a valid principal: {bad}");
            world.refuse("CreateGrant", request(&key, json!({member: bad})), "InvalidArnException", &message).await;
        }
    }
}

#[tokio::test]
async fn a_service_principal_goes_with_a_source_and_somebody_who_retires() {
    let world = World::new().await;
    let key = world.key().await;
    let arn = "arn:aws:s3:eu-test-1:111122223333:bucket";
    let source = json!({"SourceArn": arn});
    let service = |members: Value| {
        with(request(&key, json!({"GranteePrincipal": null, "GranteeServicePrincipal": "logs.eu.amazonaws.com"})), members)
    };
    for incomplete in [
        json!({}),
        json!({"Constraints": source}),
        json!({"RetiringPrincipal": ADA}),
        json!({"Constraints": source, "RetiringPrincipal": ADA, "GranteePrincipal": ADA}),
        json!({"Constraints": source, "RetiringPrincipal": ADA, "RetiringServicePrincipal": "logs.eu.amazonaws.com"}),
    ] {
        assert_eq!(world.call("CreateGrant", service(incomplete)).await.code(), "ValidationException");
    }
    world.ok("CreateGrant", service(json!({"Constraints": source, "RetiringPrincipal": ADA}))).await;
    world.check("ListGrants", json!({"KeyId": key}), expect![[r#"
        {
          "Grants": [
            {
              "Constraints": {
                "SourceArn": "arn:aws:s3:eu-test-1:111122223333:bucket"
              },
              "CreationDate": 1767225600.0,
              "GrantId": "GRANT",
              "GranteeServicePrincipal": "logs.eu.amazonaws.com",
              "IssuingAccount": "arn:aws:iam::111122223333:root",
              "KeyId": "arn:aws:kms:eu-test-1:111122223333:key/KEY1",
              "Operations": [
                "Encrypt",
                "DescribeKey"
              ],
              "RetiringPrincipal": "arn:aws:iam::111122223333:user/ada"
            }
          ],
          "Truncated": false
        }"#]]).await;
}

#[tokio::test]
async fn a_source_is_an_arn_of_an_account() {
    let world = World::new().await;
    let key = world.key().await;
    let constraints = |arn: &str| request(&key, json!({"Constraints": {"SourceArn": arn}}));
    for good in ["arn:aws:s3::111122223333:b", "arn:aws-cn:ec2:eu-test-1:111122223333:volume/v:x"] {
        world.ok("CreateGrant", constraints(good)).await;
    }
    let at = "at 'constraints.sourceArn' failed to satisfy constraint: Member must";
    let pattern = "satisfy regular expression pattern: ^arn:aws[a-z0-9-]*:[a-z0-9-]+:[a-z0-9-]*:[0-9]{12}:.+$";
    let short = "arn:aws:s3:::b";
    let message = format!(
        "2 validation errors detected: Value '{short}' {at} have length greater than or equal to 20; Value '{short}' {at} \
         {pattern}"
    );
    world.refuse("CreateGrant", constraints(short), "ValidationException", &message).await;
    for bad in
        ["arn:aws:s3:::a-bucket-of-somebody", "arn:other:s3::111122223333:b", "arn:aws:S3::111122223333:bb"]
    {
        let message = format!("1 validation error detected: Value '{bad}' {at} {pattern}");
        world.refuse("CreateGrant", constraints(bad), "ValidationException", &message).await;
    }
}

#[tokio::test]
async fn operations_are_words_and_more_than_create_grant() {
    let world = World::new().await;
    let key = world.key().await;
    let only = "Grants must not contain only the CreateGrant operation.";
    for operations in [json!(["CreateGrant"]), json!(["CreateGrant", "CreateGrant"])] {
        world.refuse("CreateGrant", request(&key, json!({"Operations": operations})), "ValidationException", only).await;
    }
    world.ok("CreateGrant", request(&key, json!({"Operations": ["CreateGrant", "DescribeKey"]}))).await;
    let unknown = "1 validation error detected: Value '[Encrypt, encrypt]' at 'operations' failed to satisfy constraint: \
                   Member must satisfy constraint: [Member must satisfy enum value set: [Decrypt, Encrypt, \
                   GenerateDataKey, GenerateDataKeyWithoutPlaintext, ReEncryptFrom, ReEncryptTo, Sign, Verify, \
                   GetPublicKey, CreateGrant, RetireGrant, DescribeKey, GenerateDataKeyPair, \
                   GenerateDataKeyPairWithoutPlaintext, GenerateMac, VerifyMac, DeriveSharedSecret, Encapsulate, \
                   Decapsulate]]";
    let request = request(&key, json!({"Operations": ["Encrypt", "encrypt"]}));
    world.refuse("CreateGrant", request, "ValidationException", unknown).await;
}

#[tokio::test]
async fn operations_fit_the_key() {
    let world = World::new().await;
    for (spec, usage, fit, unfit) in [
        (KeySpec::SymmetricDefault, KeyUsage::EncryptDecrypt, "GenerateDataKeyPair", "Sign"),
        (KeySpec::Rsa2048, KeyUsage::EncryptDecrypt, "ReEncryptFrom", "GenerateDataKey"),
        (KeySpec::EccNistP256, KeyUsage::SignVerify, "GetPublicKey", "Encrypt"),
        (KeySpec::EccNistP256, KeyUsage::KeyAgreement, "DeriveSharedSecret", "Verify"),
        (KeySpec::Hmac256, KeyUsage::GenerateVerifyMac, "VerifyMac", "GetPublicKey"),
    ] {
        let key = world.plant(spec, usage).await;
        let of = |operation: &str| request(&key, json!({"Operations": [operation, "DescribeKey", "RetireGrant"]}));
        world.ok("CreateGrant", of(fit)).await;
        let message = format!("The operation {unfit} is not valid for a key of KeySpec {spec} and KeyUsage {usage}.");
        world.refuse("CreateGrant", of(unfit), "ValidationException", &message).await;
        // The state comes first.
        world.set_state(&key, KeyState::Disabled).await;
        assert_eq!(world.call("CreateGrant", of(unfit)).await.code(), "DisabledException");
    }
}

#[tokio::test]
async fn only_one_constraint_on_the_context_and_of_a_symmetric_key() {
    let world = World::new().await;
    let key = world.key().await;
    let constraints = |constraints: Value| request(&key, json!({"Constraints": constraints}));
    for both in [
        json!({"EncryptionContextEquals": {"a": "1"}, "EncryptionContextSubset": {"a": "1"}}),
        json!({"EncryptionContextEquals": {}, "EncryptionContextSubset": {"a": "1"}}),
    ] {
        let message = "More than one constraint supplied";
        world.refuse("CreateGrant", constraints(both), "ValidationException", message).await;
    }
    for one in [json!({}), json!({"EncryptionContextEquals": {}, "EncryptionContextSubset": null})] {
        world.ok("CreateGrant", constraints(one)).await;
    }
    let rsa = world.rsa().await;
    let message = "EncryptionContext is supported only when creating a grant for a symmetric encryption KMS key.";
    let constrained = request(&rsa, json!({"Constraints": {"EncryptionContextEquals": {}}, "Operations": ["Sign"]}));
    world.refuse("CreateGrant", constrained, "ValidationException", message).await;
}

#[tokio::test]
async fn a_constraint_has_bounds() {
    let world = World::new().await;
    let key = world.key().await;
    let pairs = |n: usize, length: usize| {
        let pairs = (0..n).map(|i| (i.to_string(), Value::from("é".repeat(length)))).collect::<serde_json::Map<_, _>>();
        request(&key, json!({"Constraints": {"EncryptionContextSubset": pairs}}))
    };
    world.ok("CreateGrant", pairs(8, 384)).await;
    for (request, message) in [
        (pairs(9, 1), "Each grant constraint can include up to 8 encryption context pairs."),
        (pairs(1, 385), "The encryption context value in each grant constraint cannot exceed 384 characters."),
    ] {
        world.refuse("CreateGrant", request, "ValidationException", message).await;
    }
    let number = request(&key, json!({"Constraints": {"EncryptionContextEquals": {"a": 1}}}));
    world.refuse("CreateGrant", number, "SerializationException", "NUMBER_VALUE can not be converted to a String").await;
}

#[tokio::test]
async fn the_same_once_more_is_the_same_grant_with_another_token() {
    let world = World::new().await;
    let (key, other) = (world.key().await, world.key().await);
    let named = json!({"Name": "n"});
    let first = granted(&world, &key, named.clone()).await;
    let again = granted(&world, &key, json!({"Name": "n", "Operations": ["DescribeKey", "Encrypt", "Encrypt"]})).await;
    assert!(first.0 == again.0 && first.1 != again.1);
    for different in [
        json!({"Name": "m"}),
        json!({"Name": "n", "Operations": ["Encrypt"]}),
        json!({"Name": "n", "RetiringPrincipal": ADA}),
        json!({"Name": "n", "GranteePrincipal": "arn:aws:iam::111122223333:user/eve"}),
        json!({"Name": "n", "Constraints": {"EncryptionContextEquals": {}}}),
        json!({}),
        json!({}),
    ] {
        assert_ne!(granted(&world, &key, different).await.0, first.0);
    }
    assert_ne!(granted(&world, &other, named.clone()).await.0, first.0, "another key");
    assert_eq!(grants_of(&world, &key).await.len(), 8);
    world.ok("RevokeGrant", json!({"KeyId": key, "GrantId": first.0})).await;
    assert_ne!(granted(&world, &key, named).await.0, first.0, "that one is gone");
}

#[tokio::test]
async fn a_dry_run_makes_nothing() {
    let world = World::new().await;
    let key = world.key().await;
    assert_eq!(world.call("CreateGrant", request(&key, json!({"DryRun": true}))).await.code(), "DryRunOperationException");
    assert!(grants_of(&world, &key).await.is_empty());
}

#[tokio::test]
async fn a_key_has_fifty_thousand_grants_at_most() {
    let world = World::new().await;
    let key = world.key().await;
    let (id, _) = granted(&world, &key, json!({"Name": "n"})).await;
    crate::service::grants::multiply(&world, &key, 49_998).await;
    granted(&world, &key, json!({})).await;
    let answer = world.call("CreateGrant", request(&key, json!({}))).await;
    assert_eq!(answer.code(), "LimitExceededException");
    assert_eq!(granted(&world, &key, json!({"Name": "n"})).await.0, id, "nothing is added");
    granted(&world, &world.key().await, json!({})).await;
    world.ok("RevokeGrant", json!({"KeyId": key, "GrantId": id})).await;
    granted(&world, &key, json!({})).await;
}
