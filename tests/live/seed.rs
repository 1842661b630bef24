//! `dev --seed FILE`: what is in the file is there after the start, and left alone by the next.

use std::{fs, process::Command};

use serde_json::{Value, json};

use crate::{
    server::{ACCOUNT, Credentials, REGION, Server},
    wire::{Connection, Request},
};

/// The examples of the README, which is the format's document.
fn example(language: &str) -> String {
    let readme = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let (_, text) = readme.split_once("<!-- seed format -->").unwrap();
    let (_, text) = text.split_once(&format!("```{language}\n")).unwrap();
    text.split_once("```").unwrap().0.to_owned()
}

fn seeded(name: &str, text: &str) -> Server {
    let server = Server::new();
    let file = server.root().join(name);
    fs::write(&file, text).unwrap();
    server.with_argument("--seed").with_argument(file)
}

struct User<'a>(&'a Server, Credentials);

impl User<'_> {
    fn call(&self, operation: &str, body: &Value) -> Result<Value, String> {
        let address = self.0.address();
        let request = Request::signed(address, &self.1, operation, body);
        let answer = Connection::open(address).send(&request.bytes()).answer();
        if answer.status == 200 { Ok(answer.json()) } else { Err(answer.exception()) }
    }
}

fn user<'a>(server: &'a Server, id: &str, secret: &str) -> User<'a> {
    User(server, Credentials { id: id.to_owned(), secret: secret.to_owned() })
}

const APP_KEY: &str = "11111111-2222-4333-8444-555555555555";
const RSA_KEY: &str = "66666666-7777-4888-9999-aaaaaaaaaaaa";

#[test]
fn the_example_of_the_readme_is_planted_once() {
    let mut server = seeded("seed.toml", &example("toml"));
    let mut sealed = Value::Null;
    for start in 0..2 {
        server.start();
        let app = user(&server, "AKIAEXAMPLEAPP000001", "a-secret-that-is-in-clear-in-the-file/00");
        if start == 0 {
            let body = json!({"KeyId": "alias/orders", "Plaintext": "eA==", "EncryptionContext": {"order": "1"}});
            sealed = app.call("Encrypt", &body).unwrap()["CiphertextBlob"].clone();
            server.done("UpdateKeyDescription", &json!({"KeyId": APP_KEY, "Description": "changed"}));
        }
        let body = json!({"CiphertextBlob": sealed, "EncryptionContext": {"order": "1"}});
        let opened = app.call("Decrypt", &body).unwrap();
        assert_eq!(opened["KeyId"], format!("arn:aws:kms:{REGION}:{ACCOUNT}:key/{APP_KEY}"));
        assert_eq!(opened["Plaintext"], "eA==");
        assert_eq!(app.call("CreateKey", &json!({})), Err("AccessDeniedException".to_owned()));

        let described = server.done("DescribeKey", &json!({"KeyId": APP_KEY}))["KeyMetadata"].clone();
        // What the first start made is left alone by the second.
        assert_eq!(described["Description"], "changed");
        let tags = server.done("ListResourceTags", &json!({"KeyId": APP_KEY}));
        assert_eq!(
            tags["Tags"],
            json!([{"TagKey": "CostCentre", "TagValue": "4711"}, {"TagKey": "team", "TagValue": "Orders"}])
        );
        let aliases = server.done("ListAliases", &json!({"KeyId": APP_KEY}));
        let names: Vec<_> = aliases["Aliases"].as_array().unwrap().iter().map(|alias| &alias["AliasName"]).collect();
        assert_eq!(names, ["alias/Orders-old", "alias/orders"]);
        let policy = server.done("GetKeyPolicy", &json!({"KeyId": RSA_KEY}))["Policy"].as_str().unwrap().to_owned();
        let policy: Value = serde_json::from_str(&policy).unwrap();
        assert_eq!(policy["Statement"][0]["Sid"], "OnlyRoot");
        let rsa = server.done("DescribeKey", &json!({"KeyId": RSA_KEY}))["KeyMetadata"].clone();
        assert_eq!((&rsa["KeySpec"], &rsa["KeyUsage"]), (&json!("RSA_2048"), &json!("ENCRYPT_DECRYPT")));

        let boss = user(&server, "AKIAEXAMPLEBOSS00001", "another-secret-in-clear-in-the-file/0000");
        assert!(boss.call("CreateKey", &json!({})).is_ok());
        assert_eq!(server.done("ListKeys", &json!({}))["Keys"].as_array().unwrap().len(), 3 + start);
        assert_eq!(server.stop().code(), Some(0));
    }
    assert!(!server.stderr().contains("a-secret-that-is-in-clear"));
}

#[test]
fn json_says_the_same() {
    let mut server = seeded("seed.json", &example("json"));
    server.start();
    let app = user(&server, "AKIAEXAMPLEAPP000001", "a-secret-that-is-in-clear-in-the-file/00");
    assert!(app.call("Encrypt", &json!({"KeyId": "alias/orders", "Plaintext": "eA=="})).is_ok());
    let tags = server.done("ListResourceTags", &json!({"KeyId": APP_KEY}));
    assert_eq!(tags["Tags"], json!([{"TagKey": "CostCentre", "TagValue": "4711"}]));
}

#[test]
fn a_seed_that_is_wrong_is_refused_with_its_name() {
    for (text, why) in [
        ("nonsense = 1", "unknown field `nonsense`"),
        ("[[keys]]\nid = 'x'", "key x: "),
        ("[[keys]]\nid = '11111111-2222-4333-8444-555555555555'\nspec = 'AES_512'", "AES_512"),
        ("[[keys]]\nid = '11111111-2222-4333-8444-555555555555'\npolicy = '{}'", "MalformedPolicyDocument"),
        ("[[principals]]\nname = 'a'\naccess_key_id = 'AKIA'", "an access key needs its id and its secret"),
        ("[[principals]]\nname = 'a'\n[principals.policies]\np = '{}'", "MalformedPolicyDocument"),
        ("[[keys]]\nid = '11111111-2222-4333-8444-555555555555'\naliases = ['x']", "Alias must start with the prefix"),
        ("[[keys]]\nid = '11111111-2222-4333-8444-555555555555'\naliases = ['alias/ü']", "is not a name for an alias"),
    ] {
        let ended = seeded("seed.toml", text).try_start().unwrap_err();
        assert_eq!(ended.status.code(), Some(1), "{text}");
        assert!(ended.stderr.contains("seed.toml: ") && ended.stderr.contains(why), "{text}: {}", ended.stderr);
    }
}

/// A private key by OpenSSL, indented as a block of YAML.
fn pem(arguments: &[&str]) -> String {
    let made = Command::new("openssl").args(arguments).output().expect("openssl is installed");
    assert!(made.status.success(), "{made:?}");
    String::from_utf8(made.stdout).unwrap().lines().map(|line| format!("          {line}\n")).collect()
}

#[test]
fn a_seed_of_local_kms_is_planted_with_its_ids_and_material_and_what_is_left_is_said() {
    let text = format!(
        "Keys:\n  Symmetric:\n    Aes:\n      - Metadata:\n          KeyId: {APP_KEY}\n          Description: orders\n        NextKeyRotation: \
         \"2019-09-12T15:19:21+00:00\"\n        BackingKeys:\n          - 34743777217A25432A46294A404E635266556A586E3272357538782F413F4428\n          - 614E645267556B58703273357638792F423F4528472B4B6250655368566D5971\n      - Metadata:\n          KeyId: 5d05267f-bb87-4d0b-8594-295a4371d414\n          Origin: EXTERNAL\n  Asymmetric:\n    Rsa:\n      - Metadata:\n          KeyId: {RSA_KEY}\n          KeyUsage: ENCRYPT_DECRYPT\n        PrivateKeyPem: |\n{}    Ecc:\n      - Metadata:\n          KeyId: 800d5768-3fd7-4edd-a4b8-4c81c3e4c147\n          KeyUsage: SIGN_VERIFY\n        PrivateKeyPem: |\n{}Aliases:\n  - AliasName: alias/testing\n    TargetKeyId: {APP_KEY}\n",
        pem(&["genrsa", "-traditional", "2048"]),
        pem(&["ecparam", "-name", "prime256v1", "-genkey", "-noout"]),
    );
    let mut server = seeded("seed.yaml", &text);
    server.start();
    let described = |id: &str| server.done("DescribeKey", &json!({"KeyId": id}))["KeyMetadata"].clone();
    let sealed = server.done("Encrypt", &json!({"KeyId": "alias/testing", "Plaintext": "eA=="}));
    assert_eq!(server.done("Decrypt", &json!({"CiphertextBlob": sealed["CiphertextBlob"]}))["Plaintext"], "eA==");
    let aes = described(APP_KEY);
    assert_eq!(
        (&aes["Description"], &aes["Origin"], &aes["KeyState"]),
        (&json!("orders"), &json!("EXTERNAL"), &json!("Enabled"))
    );
    assert_eq!(described("5d05267f-bb87-4d0b-8594-295a4371d414")["KeyState"], "PendingImport");
    assert_eq!(
        (&described(RSA_KEY)["KeySpec"], &described(RSA_KEY)["KeyUsage"]),
        (&json!("RSA_2048"), &json!("ENCRYPT_DECRYPT"))
    );
    let ecc = "800d5768-3fd7-4edd-a4b8-4c81c3e4c147";
    assert_eq!(described(ecc)["KeySpec"], "ECC_NIST_P256");
    let signing = json!({"KeyId": ecc, "Message": "eA==", "SigningAlgorithm": "ECDSA_SHA_256"});
    assert!(server.done("Sign", &signing)["Signature"].is_string());
    let left = server.stderr();
    for what in ["BackingKeys before the last", "NextKeyRotation", "its Origin is EXTERNAL here"] {
        assert!(left.contains(&format!("left out: {APP_KEY}: {what}")), "{what}: {left}");
    }
    assert!(!left.contains("614E6452"));
}
