//! One principal asks for more than the HSM can do. Another, who asks for little, hardly notices.

use std::{
    fs,
    time::{Duration, Instant},
};

use serde_json::json;

use crate::{
    server::{Server, credentials, exports, within},
    wire::{Connection, Request},
};

const CONNECTIONS: usize = 100;
const CALLS_EACH: usize = 15;

#[test]
fn one_principal_that_floods_does_not_make_another_wait() {
    let mut server = Server::new().with("STRONGROOM__HSM__SESSIONS", 1);
    server.start();
    server.printed(&["principal", "create", "--name", "quiet"]);
    let policy = server.root().join("random.json");
    let allow = json!({"Effect": "Allow", "Action": "kms:GenerateRandom", "Resource": "*"});
    fs::write(&policy, json!({"Version": "2012-10-17", "Statement": [allow]}).to_string()).unwrap();
    server.printed(&["principal", "attach-policy", "--name", "quiet", "--policy", policy.to_str().unwrap()]);
    let quiet = credentials(&exports(&server.printed(&["access-key", "create", "--principal", "quiet"])));
    let random = Request::signed(server.address(), &quiet, "GenerateRandom", &json!({"NumberOfBytes": 8})).bytes();
    let mut connection = Connection::open(server.address());
    assert!(within(Duration::from_secs(5), || connection.send(&random).answer().status == 200));

    let rsa = json!({"KeySpec": "RSA_3072", "KeyUsage": "ENCRYPT_DECRYPT"});
    let key = server.done("CreateKey", &rsa)["KeyMetadata"]["KeyId"].clone();
    let (algorithm, text) = ("RSAES_OAEP_SHA_1", "eA==");
    let sealed = server.done("Encrypt", &json!({"KeyId": key, "Plaintext": text, "EncryptionAlgorithm": algorithm}));
    let open = json!({"KeyId": key, "CiphertextBlob": sealed["CiphertextBlob"], "EncryptionAlgorithm": algorithm});
    let alone = || {
        let began = Instant::now();
        server.done("Decrypt", &open);
        began.elapsed()
    };
    let alone = [(); 5].map(|()| alone()).into_iter().min().unwrap();

    let open = server.request("Decrypt", &open).bytes().repeat(CALLS_EACH);
    let mut flood: Vec<_> = (0..CONNECTIONS).map(|_| Connection::open(server.address())).collect();
    for connection in &mut flood {
        connection.send(&open);
    }
    // Each of the flood's calls is answered behind all others: then it is at its height.
    assert_eq!(flood[0].answer().status, 200);
    let mut waits: Vec<_> = (0..20)
        .map(|_| {
            let began = Instant::now();
            assert_eq!(connection.send(&random).answer().status, 200);
            began.elapsed()
        })
        .collect();
    waits.sort();
    println!(
        "a decryption takes {alone:?}; beside {CONNECTIONS} at once, {:?} (median) and {:?} at most",
        waits[10], waits[19]
    );
    assert!(flood.iter_mut().skip(1).all(|connection| connection.answer().status == 200));
    // In one line with all of the flood it would be a hundred.
    assert!(waits[10] < 20 * alone, "{waits:?}");
}
