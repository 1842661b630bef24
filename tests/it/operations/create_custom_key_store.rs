//! CreateCustomKeyStore: <https://docs.aws.amazon.com/kms/latest/APIReference/API_CreateCustomKeyStore.html>.

use cryptoki::{context::Pkcs11, slot::Slot, types::AuthPin};
use expect_test::expect;
use serde_json::{Value, json};
use strongroom::{
    hsm::{Settings, TokenSelector},
    key::custom_store::ConnectionState,
};

use super::{ANY_STATE, About, Kind, Subject, may, must};
use crate::{
    skip::skip,
    tokens::{SO_PIN, bare_token, module},
    world::{CLUSTER, World, cluster_on, hsm, looked_at, text, trust_anchor, wanted_key_store, with},
};

pub const SUBJECT: Subject = Subject {
    name: "CreateCustomKeyStore",
    members: &[
        must("CustomKeyStoreName", Kind::Text(1, 256)),
        may("CloudHsmClusterId", Kind::Cluster),
        may("TrustAnchorCertificate", Kind::Text(1, 5000)),
        may("KeyStorePassword", Kind::Password),
        may("CustomKeyStoreType", Kind::Word(&["AWS_CLOUDHSM", "EXTERNAL_KEY_STORE"])),
        may("XksProxyUriEndpoint", Kind::External("https://xks.example.com")),
        may("XksProxyUriPath", Kind::External("/kms/xks/v1")),
        may("XksProxyVpcEndpointServiceName", Kind::External("com.amazonaws.vpce.us-east-1.vpce-svc-0")),
        may("XksProxyVpcEndpointServiceOwner", Kind::External("111122223333")),
        may("XksProxyAuthenticationCredential", Kind::Structure),
        may("XksProxyConnectivity", Kind::Word(&["PUBLIC_ENDPOINT", "VPC_ENDPOINT_SERVICE"])),
    ],
    request: |_| wanted_key_store(),
    about: About::Nothing,
    key: None,
    states: ANY_STATE,
};

const OTHER: &str = "cluster-3otherother";

#[tokio::test]
async fn it_is_named_and_not_connected() {
    let world = World::new().await;
    world.check("CreateCustomKeyStore", wanted_key_store(), expect![[r#"
        {
          "CustomKeyStoreId": "KEYSTORE"
        }"#]]).await;
    let described = world.ok("DescribeCustomKeyStores", json!({})).await;
    assert_eq!(described["CustomKeyStores"][0]["ConnectionState"], "DISCONNECTED");
}

#[tokio::test]
async fn a_cluster_needs_all_that_is_said_of_it() {
    let world = World::new().await;
    for (member, value) in [
        ("CloudHsmClusterId", "Value null at 'cloudHsmClusterId'"),
        ("TrustAnchorCertificate", "Value null at 'trustAnchorCertificate'"),
        ("KeyStorePassword", "Value at 'keyStorePassword'"),
    ] {
        let mut request = wanted_key_store();
        request.as_object_mut().unwrap().remove(member);
        let message = format!("1 validation error detected: {value} failed to satisfy constraint: Member must not be null");
        world.refuse("CreateCustomKeyStore", request, "ValidationException", &message).await;
    }
}

#[tokio::test]
async fn names_and_clusters_are_in_use_once() {
    let world = World::new().await;
    world.ok("CreateCustomKeyStore", wanted_key_store()).await;
    let taken = "There is a custom key store named ours already.";
    world.refuse("CreateCustomKeyStore", wanted_key_store(), "CustomKeyStoreNameInUseException", taken).await;
    let renamed = with(wanted_key_store(), json!({"CustomKeyStoreName": "others"}));
    let in_use = format!("{CLUSTER} is the cluster of another custom key store.");
    world.refuse("CreateCustomKeyStore", renamed, "CloudHsmClusterInUseException", &in_use).await;
    let elsewhere = world.in_region("eu-other-1");
    elsewhere.refuse("CreateCustomKeyStore", wanted_key_store(), "CloudHsmClusterInUseException", &in_use).await;
}

#[tokio::test]
async fn there_are_ten_at_most() {
    let world = World::build().clusters(vec![looked_at(OTHER)]).open().await;
    for _ in 0..10 {
        world.plant_key_store(ConnectionState::Disconnected).await;
    }
    let wanted = with(wanted_key_store(), json!({"CloudHsmClusterId": OTHER}));
    let message = "There are 10 custom key stores, which is as many as there can be.";
    world.refuse("CreateCustomKeyStore", wanted.clone(), "LimitExceededException", message).await;
    world.in_region("eu-other-1").ok("CreateCustomKeyStore", wanted).await;
}

#[tokio::test]
async fn the_cluster_must_be_known_and_there() {
    let away = Settings { token: TokenSelector::labelled("not there"), ..looked_at(OTHER).settings };
    let world = World::build().clusters(vec![cluster_on(OTHER, away)]).open().await;
    let unknown = format!("There is no cluster {CLUSTER}.");
    world.refuse("CreateCustomKeyStore", wanted_key_store(), "CloudHsmClusterNotFoundException", &unknown).await;
    let wanted = with(wanted_key_store(), json!({"CloudHsmClusterId": OTHER}));
    let message = format!("{OTHER} is not active.");
    world.refuse("CreateCustomKeyStore", wanted, "CloudHsmClusterNotActiveException", &message).await;
}

#[tokio::test]
async fn the_cluster_must_have_a_user() {
    // Whoever opens an HSM first initialises the module.
    hsm();
    let token = bare_token();
    let pkcs11 = Pkcs11::new(module()).unwrap();
    let label = token.token.label.as_deref().unwrap();
    let find = || {
        let is_ours = |slot: &Slot| pkcs11.get_token_info(*slot).unwrap().label().trim_end() == label;
        pkcs11.get_slots_with_initialized_token().unwrap().into_iter().find(is_ours)
    };
    // Made anew, a token has forgotten its user.
    let made = pkcs11.init_token(find().unwrap(), &AuthPin::from(SO_PIN.to_owned()), label);
    if made.is_err() || find().is_none() {
        return skip("this HSM does not make its tokens anew");
    }
    let world = World::build().clusters(vec![cluster_on(CLUSTER, token)]).open().await;
    let message = format!("{CLUSTER} has no user that can log in, or does not do AES-GCM.");
    let code = "CloudHsmClusterInvalidConfigurationException";
    world.refuse("CreateCustomKeyStore", wanted_key_store(), code, &message).await;
}

#[tokio::test]
async fn the_trust_anchor_must_be_a_certificate() {
    let world = World::new().await;
    let pem = trust_anchor();
    let cut: String = pem.lines().enumerate().filter(|(n, _)| *n != 3).map(|(_, line)| format!("{line}\n")).collect();
    let key = pem.replace("CERTIFICATE", "PUBLIC KEY");
    for wrong in ["x".to_owned(), cut, key, format!("{pem}{pem}"), pem.replace('-', "")] {
        let wanted = with(wanted_key_store(), json!({"TrustAnchorCertificate": wrong}));
        let message = "The trust anchor certificate is not one certificate in PEM.";
        world.refuse("CreateCustomKeyStore", wanted, "IncorrectTrustAnchorException", message).await;
    }
    let described = |answer: Value| answer["CustomKeyStores"][0]["TrustAnchorCertificate"].clone();
    world.ok("CreateCustomKeyStore", wanted_key_store()).await;
    assert_eq!(described(world.ok("DescribeCustomKeyStores", json!({})).await), pem);
}

#[tokio::test]
async fn external_key_stores_are_not_offered() {
    let world = World::new().await;
    let wanted = json!({
        "CustomKeyStoreName": "theirs",
        "CustomKeyStoreType": "EXTERNAL_KEY_STORE",
        "XksProxyUriEndpoint": "https://xks.example.com",
        "XksProxyUriPath": "/kms/xks/v1",
        "XksProxyConnectivity": "PUBLIC_ENDPOINT",
        "XksProxyAuthenticationCredential": {"AccessKeyId": "A".repeat(20), "RawSecretAccessKey": "b".repeat(43)},
    });
    let message = "Custom key stores of type EXTERNAL_KEY_STORE are not supported.";
    world.refuse("CreateCustomKeyStore", wanted.clone(), "ValidationException", message).await;
    let message = "XksProxy members are not valid for a custom key store of type AWS_CLOUDHSM.";
    for member in wanted.as_object().unwrap().keys().filter(|member| member.starts_with("Xks")) {
        let mixed = with(wanted_key_store(), json!({member: wanted[member]}));
        world.refuse("CreateCustomKeyStore", mixed, "ValidationException", message).await;
    }
}

#[tokio::test]
async fn a_credential_has_two_texts_that_are_not_repeated() {
    let world = World::new().await;
    let with_credential = |credential: Value| {
        with(wanted_key_store(), json!({"XksProxyAuthenticationCredential": credential}))
    };
    let message = "1 validation error detected: Value at 'xksProxyAuthenticationCredential.rawSecretAccessKey' \
                   failed to satisfy constraint: Member must not be null";
    let half = with_credential(json!({"AccessKeyId": "A".repeat(20)}));
    world.refuse("CreateCustomKeyStore", half, "ValidationException", message).await;
    let number = with_credential(json!({"AccessKeyId": "A", "RawSecretAccessKey": 7}));
    let message = "NUMBER_VALUE can not be converted to a String";
    world.refuse("CreateCustomKeyStore", number, "SerializationException", message).await;
}

const XKS_PATTERNS: [(&str, &str); 6] = [
    ("xksProxyUriEndpoint", "^https://[a-zA-Z0-9.-]+$"),
    ("xksProxyUriPath", "^(/[a-zA-Z0-9\\/_-]+/kms/xks/v\\d{1,2})$|^(/kms/xks/v\\d{1,2})$"),
    (
        "xksProxyVpcEndpointServiceName",
        "^(com|eu)\\.amazonaws\\.vpce\\.([a-z]+-){2,3}\\d+\\.vpce-svc-[0-9a-z]+$",
    ),
    ("xksProxyVpcEndpointServiceOwner", "[0-9]{12}"),
    ("xksProxyAuthenticationCredential.accessKeyId", "^[A-Z2-7]+$"),
    ("xksProxyAuthenticationCredential.rawSecretAccessKey", "^[a-zA-Z0-9\\/+=]+$"),
];

/// A request with one text of an external key store.
fn with_xks(at: &str, text: &str) -> Value {
    let member = format!("X{}", &at[1..]);
    let credential = |id: &str, secret: &str| {
        json!({"XksProxyAuthenticationCredential": {"AccessKeyId": id, "RawSecretAccessKey": secret}})
    };
    match at.split_once('.') {
        Some((_, "accessKeyId")) => credential(text, &"b".repeat(43)),
        Some(_) => credential(&"A".repeat(20), text),
        None => json!({member: text}),
    }
}

#[tokio::test]
async fn texts_of_external_key_stores_have_lengths_and_patterns() {
    let world = World::new().await;
    let (least, most) = (Some("greater than or equal to"), Some("less than or equal to"));
    let service = "com.amazonaws.vpce.us-east-1.vpce-svc-";
    let x = |n: usize| "x".repeat(n);
    for (n, text, length, fits) in [
        (0, "https://a".to_owned(), least.zip(Some(10)), true),
        (0, format!("https://{}", x(121)), most.zip(Some(128)), true),
        (0, "http://example.com".to_owned(), None, false),
        (0, "https://example.com:443".to_owned(), None, false),
        (0, "https://example.com/".to_owned(), None, false),
        (1, "/kms/xks".to_owned(), least.zip(Some(10)), false),
        (1, format!("/{}/kms/xks/v1", x(118)), most.zip(Some(128)), true),
        (1, "/kms/xks/v123".to_owned(), None, false),
        (1, "kms/xks/v1/more".to_owned(), None, false),
        (1, "/a.b/kms/xks/v1".to_owned(), None, false),
        (1, "//kms/xks/v".to_owned(), None, false),
        (2, "com.amazonaws.vpce.".to_owned(), least.zip(Some(20)), false),
        (2, service.to_owned() + &x(27), most.zip(Some(64)), true),
        (2, "com.amazonaws.vpce.us-east.vpce-svc-0123".to_owned(), None, false),
        (2, "org.amazonaws.vpce.us-east-1.vpce-svc-0123".to_owned(), None, false),
        (2, service.to_owned() + "0A", None, false),
        (3, "1".repeat(11), least.zip(Some(12)), false),
        (3, "1".repeat(13), most.zip(Some(12)), false),
        (3, "11112222333x".to_owned(), None, false),
        (4, "A".repeat(19), least.zip(Some(20)), true),
        (4, "A".repeat(31), most.zip(Some(30)), true),
        (4, "a".repeat(20), None, false),
        (4, "1".repeat(20), None, false),
        (5, x(42), least.zip(Some(43)), true),
        (5, x(65), most.zip(Some(64)), true),
        (5, "-".repeat(43), None, false),
    ] {
        let (at, pattern) = XKS_PATTERNS[n];
        let shown = if n < 4 { format!(" '{text}'") } else { String::new() };
        let length = length.map(|(than, bound)| format!("have length {than} {bound}"));
        let pattern = (!fits).then(|| format!("satisfy regular expression pattern: {pattern}"));
        let faults: Vec<_> = length
            .into_iter()
            .chain(pattern)
            .map(|rule| format!("Value{shown} at '{at}' failed to satisfy constraint: Member must {rule}"))
            .collect();
        let plural = if faults.len() == 1 { "" } else { "s" };
        let message = format!("{} validation error{plural} detected: {}", faults.len(), faults.join("; "));
        let creation = with(wanted_key_store(), with_xks(at, &text));
        world.refuse("CreateCustomKeyStore", creation, "ValidationException", &message).await;
        let update = with(json!({"CustomKeyStoreId": "cks-1"}), with_xks(at, &text));
        world.refuse("UpdateCustomKeyStore", update, "ValidationException", &message).await;
    }
}

#[tokio::test]
async fn texts_of_external_key_stores_that_fit_are_read() {
    let world = World::new().await;
    for (n, text) in [
        (0, "https://a-b.example.com"),
        (1, "/kms/xks/v1"),
        (1, "/prefix/of_a-path/kms/xks/v99"),
        (2, "com.amazonaws.vpce.us-gov-east-1.vpce-svc-09af"),
        (2, "eu.amazonaws.vpce.eusc-de-1.vpce-svc-09af"),
        (3, "111122223333"),
        (4, "ABCDEFGHIJKLMNOPQRSTUVWXYZ2347"),
        (5, "aZ09/+=aZ09/+=aZ09/+=aZ09/+=aZ09/+=aZ09/+=aZ09"),
    ] {
        let wanted = with(wanted_key_store(), with_xks(XKS_PATTERNS[n].0, text));
        let message = "XksProxy members are not valid for a custom key store of type AWS_CLOUDHSM.";
        world.refuse("CreateCustomKeyStore", wanted, "ValidationException", message).await;
    }
}

#[tokio::test]
async fn each_has_an_id_of_its_own() {
    let world = World::new().await;
    let first = text(&world.ok("CreateCustomKeyStore", wanted_key_store()).await, "CustomKeyStoreId");
    world.ok("DeleteCustomKeyStore", json!({"CustomKeyStoreId": first})).await;
    assert_ne!(text(&world.ok("CreateCustomKeyStore", wanted_key_store()).await, "CustomKeyStoreId"), first);
}
