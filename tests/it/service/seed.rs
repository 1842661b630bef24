//! A seed that is wrong says which of its keys or principals is, before anything of it is made.

use strongroom::dev::read_seed;

use crate::world::World;

const ID: &str = "11111111-2222-4333-8444-555555555555";
const OTHER: &str = "66666666-7777-4888-9999-aaaaaaaaaaaa";

/// What is said of a seed with this text behind a principal and a key that are right.
async fn refusal(world: &World, wrong: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("seed.toml");
    let right = format!(
        "[[principals]]\nname = 'first'\naccess_key_id = 'AKIAFIRST'\nsecret_access_key = 's'\n[[keys]]\nid = '{OTHER}'\naliases = ['alias/first']\n"
    );
    std::fs::write(&file, format!("{right}{wrong}")).unwrap();
    match read_seed(&file) {
        Ok(seed) => world.plant_seed(seed).await.expect_err(wrong).to_string(),
        Err(failure) => failure.text,
    }
}

#[tokio::test]
async fn a_wrong_seed_names_what_is_wrong_and_makes_nothing() {
    let world = World::new().await;
    let principals = world.admin.principals().len();
    let key = |more: &str| format!("[[keys]]\nid = '{ID}'\n{more}");
    let principal = |more: &str| format!("[[principals]]\nname = 'app'\n{more}");
    let (of_key, of_principal) = (format!("key {ID}: "), "principal app: ".to_owned());
    for (wrong, words) in [
        (key(&key("")), [&*of_key, "the key id", "twice"]),
        (key("aliases = ['alias/a', 'alias/a']"), [&of_key, "the alias alias/a", "twice"]),
        (key("aliases = ['alias/first']"), [&of_key, "the alias alias/first", "twice"]),
        (key("aliases = ['x']"), [&of_key, "must start with the prefix", ""]),
        (key("aliases = ['alias/aws/x']"), [&of_key, "", ""]),
        (key("spec = 'AES_512'"), [&of_key, "`AES_512` is no key spec", "SYMMETRIC_DEFAULT, HMAC_224"]),
        (
            key("spec = 'RSA_2048'\nusage = 'SIGN'"),
            [&of_key, "`SIGN` is no key usage of RSA_2048", "ENCRYPT_DECRYPT, SIGN_VERIFY"],
        ),
        (key("usage = 'SIGN_VERIFY'"), [&of_key, "no key usage of SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT"]),
        (key("spec = 'SM2'"), [&of_key, "SM2", "not support"]),
        (key("policy = '{}'"), [&of_key, "MalformedPolicyDocument", ""]),
        (key("tags = { 'aws:x' = 'y' }"), [&of_key, "reserved", ""]),
        (key("region = 'Not a region'"), [&of_key, "Not a region", ""]),
        ("[[keys]]\nid = 'x'".to_owned(), ["key x: ", "", ""]),
        (principal(&principal("")), [&of_principal, "the principal", "twice"]),
        (principal("access_key_id = 'AKIA'"), [&of_principal, "its id and its secret", ""]),
        (
            principal("access_key_id = 'AK/IA'\nsecret_access_key = 's'"),
            [&of_principal, "`AK/IA` is no access key id", ""],
        ),
        (principal("access_key_id = 'AKIAFIRST'\nsecret_access_key = 's'"), [&of_principal, "AKIAFIRST", "twice"]),
        (principal("[principals.policies]\np = '{}'"), [&of_principal, "MalformedPolicyDocument", ""]),
        (principal("[principals.policies]\n'a b' = '{}'"), [&of_principal, "`a b` is no name for a policy", ""]),
        ("[[principals]]\nname = 'a*'".to_owned(), ["principal a*: ", "`a*` is no name", ""]),
        ("[[keys]]\nnonsense = 1".to_owned(), ["unknown field `nonsense`", "keys[1]", ""]),
    ] {
        let said = refusal(&world, &wrong).await;
        assert!(words.iter().all(|word| said.contains(word)), "{wrong}\n{said}");
        assert_eq!(world.admin.principals().len(), principals, "{wrong}");
        assert!(world.ok("ListKeys", serde_json::json!({})).await["Keys"].as_array().unwrap().is_empty(), "{wrong}");
    }
}
