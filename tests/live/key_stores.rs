//! A custom key store in the real program: its HSM has a worker process of its own, which is watched, and opened again after
//! whatever happened to the server.

use std::{fs, time::Duration};

use serde_json::{Value, json};

use crate::{
    exposed::exposures,
    join::make_token,
    server::{Server, within},
};

/// By when an HSM is open whose capabilities are tried.
const OPEN: Duration = Duration::from_secs(30);
const CLUSTER: &str = "cluster-2abcdefghij";
const PASSWORD: &str = "user-pin";

/// A development server with a cluster in its configuration, and the id of a custom key store of it.
fn set_up() -> (Server, String) {
    let mut server = Server::started();
    server.stop();
    let rack = server.root().join("rack");
    make_token(&rack);
    let config = server.data().join("strongroom.toml");
    let cluster = format!(
        "\n[[clusters]]\nid = \"{CLUSTER}\"\ntoken = \"pkcs11:token=rack\"\n\
         environment = {{ SOFTHSM2_CONF = \"{}\" }}\n",
        rack.join("softhsm2.conf").display()
    );
    fs::write(&config, fs::read_to_string(&config).unwrap() + &cluster).unwrap();
    server.start();
    let wanted = json!({
        "CustomKeyStoreName": "theirs",
        "CloudHsmClusterId": CLUSTER,
        "KeyStorePassword": PASSWORD,
        "TrustAnchorCertificate": rcgen::generate_simple_self_signed(vec![]).unwrap().cert.pem(),
    });
    let made = server.done("CreateCustomKeyStore", &wanted);
    (server, made["CustomKeyStoreId"].as_str().unwrap().to_owned())
}

fn connection(server: &Server, id: &str) -> Value {
    let described = server.done("DescribeCustomKeyStores", &json!({"CustomKeyStoreId": id}));
    described["CustomKeyStores"][0]["ConnectionState"].clone()
}

fn comes_to(server: &Server, id: &str, state: &str) {
    assert!(within(OPEN, || connection(server, id) == state), "{} after {OPEN:?}", connection(server, id));
}

/// Everything that is in the files of the data directory, as far as it is text.
fn written(server: &Server) -> String {
    let files = fs::read_dir(server.data()).unwrap().flatten().map(|entry| entry.path());
    let texts = files.filter(|path| path.is_file()).map(|path| fs::read(path).unwrap());
    texts.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).collect()
}

/// Neither the server nor a worker has the password where others may read it.
fn is_told_by_no_process(server: &Server) {
    assert!(within(OPEN, || server.workers().len() == 2));
    for pid in server.workers().into_iter().chain([server.pid()]) {
        assert_eq!(exposures(pid, PASSWORD), Vec::<String>::new());
    }
}

#[test]
fn its_hsm_comes_back_after_a_killed_worker_a_killed_server_and_an_orderly_stop() {
    let (mut server, id) = set_up();
    assert_eq!(server.workers().len(), 1, "before it is connected, nobody is in its HSM");
    server.done("ConnectCustomKeyStore", &json!({"CustomKeyStoreId": id}));
    comes_to(&server, &id, "CONNECTED");
    assert_eq!(server.workers().len(), 2);

    let made = server.done("CreateKey", &json!({"Origin": "AWS_CLOUDHSM", "CustomKeyStoreId": id}));
    let key = made["KeyMetadata"]["KeyId"].clone();
    let sealed = server.done("Encrypt", &json!({"KeyId": key, "Plaintext": "eA=="}));
    let opens = |server: &Server| {
        let answer = server.call("Decrypt", &json!({"CiphertextBlob": sealed["CiphertextBlob"]}));
        answer.status == 200 && answer.json()["Plaintext"] == "eA=="
    };
    assert!(opens(&server));
    is_told_by_no_process(&server);
    server.kill_worker();
    assert!(within(OPEN, || opens(&server)), "after its worker was killed");
    is_told_by_no_process(&server);
    server.kill();
    server.start();
    assert!(within(OPEN, || opens(&server)), "after the server was killed");
    assert_eq!(server.stop().code(), Some(0));
    server.start();
    assert!(within(OPEN, || opens(&server)), "after a stop");

    server.done("DisconnectCustomKeyStore", &json!({"CustomKeyStoreId": id}));
    assert_eq!(server.call("Decrypt", &json!({"CiphertextBlob": sealed["CiphertextBlob"]})).status, 400);
    comes_to(&server, &id, "DISCONNECTED");
    assert!(within(OPEN, || server.workers().len() == 1), "nobody is in its HSM any more");
    assert!(!written(&server).contains(PASSWORD) && !server.stderr().contains(PASSWORD));
}

#[test]
fn a_refused_password_is_tried_again_when_the_operator_says_so() {
    let (mut server, id) = set_up();
    let password = |password: &str| {
        server.done("UpdateCustomKeyStore", &json!({"CustomKeyStoreId": id, "KeyStorePassword": password}));
        server.done("ConnectCustomKeyStore", &json!({"CustomKeyStoreId": id}));
    };
    password("another-pin");
    comes_to(&server, &id, "FAILED");
    let told = server.printed(&["hsm", "retry-pin", "--member", CLUSTER]);
    assert_eq!(told, format!("`{CLUSTER}`: the refused PIN is forgotten, and will be tried once more\n"));
    server.done("DisconnectCustomKeyStore", &json!({"CustomKeyStoreId": id}));
    comes_to(&server, &id, "DISCONNECTED");
    password(PASSWORD);
    comes_to(&server, &id, "CONNECTED");
    assert_eq!(server.stop().code(), Some(0));
}
