//! The AWS SDK for Rust as the client, with nothing set but what a user sets.

use std::{collections::HashMap, fmt::Debug};

use aws_sdk_kms::{
    Client,
    config::{BehaviorVersion, Credentials, Region, retry::RetryConfig},
    error::{ProvideErrorMetadata, SdkError},
    operation::RequestId,
    primitives::Blob,
    types::{AliasListEntry, DataKeySpec, EncryptionAlgorithmSpec, KeyMetadata, KeySpec, KeyState, KeyUsageType, Tag},
};

use crate::server::{ACCOUNT, REGION, Server};

/// An SDK client of a server.
pub fn client(server: &Server) -> Client {
    let access_key = server.administrator();
    let credentials = Credentials::new(access_key.id, access_key.secret, None, None, "live");
    let config = aws_sdk_kms::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .endpoint_url(server.endpoint())
        .region(Region::new(REGION))
        .credentials_provider(credentials)
        .retry_config(RetryConfig::disabled())
        .http_client(aws_smithy_http_client::Builder::new().build_http());
    Client::from_conf(config.build())
}

/// The service's own error of a call that failed.
fn refused<T: Debug, E: Debug>(result: Result<T, SdkError<E>>) -> E {
    match result.expect_err("it is refused") {
        SdkError::ServiceError(error) => error.into_err(),
        other => panic!("not the service's error: {other:?}"),
    }
}

async fn new_key(kms: &Client) -> KeyMetadata {
    kms.create_key().send().await.unwrap().key_metadata.unwrap()
}

async fn new_rsa_key(kms: &Client) -> KeyMetadata {
    let create = kms.create_key().key_spec(KeySpec::Rsa2048).key_usage(KeyUsageType::EncryptDecrypt);
    create.send().await.unwrap().key_metadata.unwrap()
}

#[tokio::test]
async fn a_key_is_created_and_described() {
    let server = Server::shared();
    let kms = client(&server);
    let tag = Tag::builder().tag_key("team").tag_value("red").build().unwrap();
    let created = kms.create_key().description("a key").tags(tag.clone()).send().await.unwrap();
    assert!(created.request_id().is_some_and(|id| id.len() == 36));
    let key = created.key_metadata.unwrap();
    assert_eq!(key.arn(), Some(&*format!("arn:aws:kms:{REGION}:{ACCOUNT}:key/{}", key.key_id)));
    assert_eq!(key.description(), Some("a key"));
    assert_eq!(key.key_state(), Some(&KeyState::Enabled));
    assert_eq!(key.key_spec(), Some(&KeySpec::SymmetricDefault));
    assert_eq!(key.encryption_algorithms(), [EncryptionAlgorithmSpec::SymmetricDefault]);
    assert!(key.enabled);
    for name in [key.key_id.as_str(), key.arn().unwrap()] {
        let described = kms.describe_key().key_id(name).send().await.unwrap();
        assert_eq!(described.key_metadata.as_ref(), Some(&key));
    }
    let tags = kms.list_resource_tags().key_id(&key.key_id).send().await.unwrap();
    assert_eq!(tags.tags(), [tag]);
}

#[tokio::test]
async fn what_a_symmetric_key_encrypts_it_decrypts_in_its_context_only() {
    let server = Server::shared();
    let kms = client(&server);
    let key = new_key(&kms).await;
    let context = HashMap::from([("tenant".to_owned(), "blue".to_owned()), ("ü".to_owned(), "ß".to_owned())]);
    let sealed = kms
        .encrypt()
        .key_id(&key.key_id)
        .plaintext(Blob::new("attack at dawn"))
        .set_encryption_context(Some(context.clone()))
        .send()
        .await
        .unwrap();
    assert_eq!(sealed.key_id(), key.arn());
    assert_eq!(sealed.encryption_algorithm(), Some(&EncryptionAlgorithmSpec::SymmetricDefault));
    let blob = sealed.ciphertext_blob.unwrap();

    let opened =
        kms.decrypt().ciphertext_blob(blob.clone()).set_encryption_context(Some(context)).send().await.unwrap();
    assert_eq!(opened.plaintext, Some(Blob::new("attack at dawn")));
    assert_eq!(opened.key_id(), key.arn());

    assert!(refused(kms.decrypt().ciphertext_blob(blob.clone()).send().await).is_invalid_ciphertext_exception());
    let other = kms.decrypt().ciphertext_blob(blob).encryption_context("tenant", "red");
    assert!(refused(other.send().await).is_invalid_ciphertext_exception());
}

#[tokio::test]
async fn an_rsa_key_decrypts_oaep_of_both_hashes() {
    let server = Server::shared();
    let kms = client(&server);
    let key = new_rsa_key(&kms).await;
    let limits = [(EncryptionAlgorithmSpec::RsaesOaepSha1, 214), (EncryptionAlgorithmSpec::RsaesOaepSha256, 190)];
    for (algorithm, most) in limits {
        for length in [1, most] {
            let plaintext = Blob::new(vec![7; length]);
            let encrypt = kms.encrypt().key_id(&key.key_id).plaintext(plaintext.clone());
            let sealed = encrypt.encryption_algorithm(algorithm.clone()).send().await.unwrap();
            let blob = sealed.ciphertext_blob.unwrap();
            assert_eq!(blob.as_ref().len(), 256);
            let decrypt = kms.decrypt().key_id(&key.key_id).ciphertext_blob(blob);
            let opened = decrypt.encryption_algorithm(algorithm.clone()).send().await.unwrap();
            assert_eq!(opened.plaintext, Some(plaintext));
        }
        let encrypt = kms.encrypt().key_id(&key.key_id).plaintext(Blob::new(vec![7; most + 1]));
        let error = refused(encrypt.encryption_algorithm(algorithm.clone()).send().await);
        assert_eq!(error.code(), Some("ValidationException"));
        let text = format!("Algorithm {algorithm} and key spec RSA_2048 cannot encrypt data larger than {most} bytes.");
        assert_eq!(error.message(), Some(&*text));
    }
    let public = kms.get_public_key().key_id(&key.key_id).send().await.unwrap();
    assert_eq!(public.key_spec(), Some(&KeySpec::Rsa2048));
    assert_eq!(public.public_key.unwrap().as_ref().len(), 294);
}

#[tokio::test]
async fn data_keys_come_in_clear_and_sealed() {
    let server = Server::shared();
    let kms = client(&server);
    let key = new_key(&kms).await;
    let made = kms.generate_data_key().key_id(&key.key_id).key_spec(DataKeySpec::Aes256).send().await.unwrap();
    assert_eq!(made.plaintext().unwrap().as_ref().len(), 32);
    let opened = kms.decrypt().ciphertext_blob(made.ciphertext_blob.unwrap()).send().await.unwrap();
    assert_eq!(opened.plaintext, made.plaintext);

    let sealed = kms.generate_data_key_without_plaintext().key_id(&key.key_id).number_of_bytes(17);
    let sealed = sealed.encryption_context("a", "b").send().await.unwrap();
    let open = kms.decrypt().ciphertext_blob(sealed.ciphertext_blob.unwrap()).encryption_context("a", "b");
    assert_eq!(open.send().await.unwrap().plaintext.unwrap().as_ref().len(), 17);
}

#[tokio::test]
async fn a_ciphertext_moves_to_another_key() {
    let server = Server::shared();
    let kms = client(&server);
    let (first, second) = (new_key(&kms).await, new_key(&kms).await);
    let sealed = kms.encrypt().key_id(&first.key_id).plaintext(Blob::new("x")).encryption_context("a", "b");
    let blob = sealed.send().await.unwrap().ciphertext_blob.unwrap();
    let moved = kms
        .re_encrypt()
        .ciphertext_blob(blob)
        .source_encryption_context("a", "b")
        .destination_key_id(&second.key_id)
        .destination_encryption_context("c", "d")
        .send()
        .await
        .unwrap();
    assert_eq!((moved.source_key_id(), moved.key_id()), (first.arn(), second.arn()));
    let open = kms.decrypt().ciphertext_blob(moved.ciphertext_blob.unwrap()).encryption_context("c", "d");
    let opened = open.send().await.unwrap();
    assert_eq!((opened.plaintext(), opened.key_id()), (Some(&Blob::new("x")), second.arn()));
}

#[tokio::test]
async fn random_bytes_are_as_many_as_asked_for_and_differ() {
    let server = Server::shared();
    let kms = client(&server);
    let mut seen = Vec::new();
    for bytes in [1024, 1024] {
        let made = kms.generate_random().number_of_bytes(bytes).send().await.unwrap().plaintext.unwrap();
        assert_eq!(made.as_ref().len(), 1024);
        seen.push(made);
    }
    assert_ne!(seen[0], seen[1]);
}

#[tokio::test]
async fn an_alias_names_a_key_and_then_another() {
    let server = Server::shared();
    let kms = client(&server);
    let (first, second) = (new_key(&kms).await, new_key(&kms).await);
    let name = format!("alias/{}", first.key_id);
    kms.create_alias().alias_name(&name).target_key_id(&first.key_id).send().await.unwrap();
    let again = kms.create_alias().alias_name(&name).target_key_id(&second.key_id).send().await;
    assert!(refused(again).is_already_exists_exception());

    let arn = format!("arn:aws:kms:{REGION}:{ACCOUNT}:{name}");
    for key in [&first, &second] {
        kms.update_alias().alias_name(&name).target_key_id(&key.key_id).send().await.unwrap();
        for by in [&name, &arn] {
            let sealed = kms.encrypt().key_id(by).plaintext(Blob::new("x")).send().await.unwrap();
            assert_eq!(sealed.key_id(), key.arn());
        }
    }
    let listed = kms.list_aliases().key_id(&second.key_id).send().await.unwrap();
    let names: Vec<_> = listed.aliases().iter().map(AliasListEntry::alias_name).collect();
    assert_eq!(names, [Some(&*name)]);
    kms.delete_alias().alias_name(&name).send().await.unwrap();
    assert!(refused(kms.describe_key().key_id(&name).send().await).is_not_found_exception());
}

#[tokio::test]
async fn tags_and_policies_are_kept() {
    let server = Server::shared();
    let kms = client(&server);
    let key = new_key(&kms).await;
    for value in ["1", "2"] {
        let tag = Tag::builder().tag_key("a").tag_value(value).build().unwrap();
        kms.tag_resource().key_id(&key.key_id).tags(tag).send().await.unwrap();
    }
    let tags = kms.list_resource_tags().key_id(&key.key_id).send().await.unwrap();
    let [tag] = tags.tags() else { panic!("{tags:?}") };
    assert_eq!((&*tag.tag_key, &*tag.tag_value), ("a", "2"));
    kms.untag_resource().key_id(&key.key_id).tag_keys("a").send().await.unwrap();
    assert_eq!(kms.list_resource_tags().key_id(&key.key_id).send().await.unwrap().tags(), []);

    let before = kms.get_key_policy().key_id(&key.key_id).send().await.unwrap();
    assert_eq!(before.policy_name(), Some("default"));
    let root = format!("arn:aws:iam::{ACCOUNT}:root");
    let policy = serde_json::json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": {"AWS": root}, "Action": "kms:*", "Resource": "*"},
        {"Effect": "Deny", "Principal": "*", "Action": "kms:Encrypt", "Resource": "*"}]});
    kms.put_key_policy().key_id(&key.key_id).policy(policy.to_string()).send().await.unwrap();
    let after = kms.get_key_policy().key_id(&key.key_id).send().await.unwrap();
    assert_eq!(serde_json::from_str::<serde_json::Value>(after.policy().unwrap()).unwrap(), policy);
    let error = refused(kms.encrypt().key_id(&key.key_id).plaintext(Blob::new("x")).send().await);
    assert_eq!(error.code(), Some("AccessDeniedException"));
    let malformed = kms.put_key_policy().key_id(&key.key_id).policy("{}").send().await;
    assert!(refused(malformed).is_malformed_policy_document_exception());
    assert_eq!(kms.list_key_policies().key_id(&key.key_id).send().await.unwrap().policy_names(), ["default"]);
}

#[tokio::test]
async fn the_paginators_see_everything_once() {
    let server = Server::started();
    let kms = client(&server);
    let mut made = Vec::new();
    for n in 0..7 {
        let id = new_key(&kms).await.key_id;
        kms.create_alias().alias_name(format!("alias/{n}")).target_key_id(&id).send().await.unwrap();
        made.push(id);
    }
    let tagged = made[0].clone();
    for n in 0..5 {
        let tag = Tag::builder().tag_key(format!("t{n}")).tag_value("").build().unwrap();
        kms.tag_resource().key_id(&tagged).tags(tag).send().await.unwrap();
    }
    let mut keys = kms.list_keys().into_paginator().page_size(2).items().send();
    let mut seen = Vec::new();
    while let Some(key) = keys.next().await {
        seen.push(key.unwrap().key_id.unwrap());
    }
    seen.sort();
    made.sort();
    assert_eq!(seen, made);

    let mut aliases = kms.list_aliases().into_paginator().page_size(3).items().send();
    let mut names = Vec::new();
    while let Some(alias) = aliases.next().await {
        names.push(alias.unwrap().alias_name.unwrap());
    }
    names.sort();
    assert_eq!(names, (0..7).map(|n| format!("alias/{n}")).collect::<Vec<_>>());

    let mut pages = kms.list_resource_tags().key_id(tagged).into_paginator().page_size(2).send();
    let mut sizes = Vec::new();
    while let Some(page) = pages.next().await {
        sizes.push(page.unwrap().tags().len());
    }
    assert_eq!(sizes, [2, 2, 1]);
}

#[tokio::test]
async fn errors_have_their_types() {
    let server = Server::shared();
    let kms = client(&server);
    let unknown = "00000000-0000-4000-8000-000000000000";
    let error = refused(kms.describe_key().key_id(unknown).send().await);
    assert!(error.is_not_found_exception());
    let arn = format!("arn:aws:kms:{REGION}:{ACCOUNT}:key/{unknown}");
    assert_eq!(error.message(), Some(&*format!("Key '{arn}' does not exist")));
    assert!(error.request_id().is_some_and(|id| id.len() == 36));

    let key = new_key(&kms).await;
    kms.disable_key().key_id(&key.key_id).send().await.unwrap();
    let encrypt = || kms.encrypt().key_id(&key.key_id).plaintext(Blob::new("x"));
    assert!(refused(encrypt().send().await).is_disabled_exception());
    kms.enable_key().key_id(&key.key_id).send().await.unwrap();
    let blob = encrypt().send().await.unwrap().ciphertext_blob.unwrap();

    let other = new_key(&kms).await;
    let wrong = kms.decrypt().key_id(&other.key_id).ciphertext_blob(blob.clone()).send().await;
    assert!(refused(wrong).is_incorrect_key_exception());
    let garbage = kms.decrypt().ciphertext_blob(Blob::new("garbage")).send().await;
    assert!(refused(garbage).is_invalid_ciphertext_exception());

    kms.schedule_key_deletion().key_id(&key.key_id).pending_window_in_days(7).send().await.unwrap();
    assert!(refused(kms.decrypt().ciphertext_blob(blob.clone()).send().await).is_kms_invalid_state_exception());
    kms.cancel_key_deletion().key_id(&key.key_id).send().await.unwrap();
    kms.enable_key().key_id(&key.key_id).send().await.unwrap();
    assert_eq!(kms.decrypt().ciphertext_blob(blob).send().await.unwrap().plaintext, Some(Blob::new("x")));

    let rsa = new_rsa_key(&kms).await;
    let rotate = kms.enable_key_rotation().key_id(&rsa.key_id).send().await;
    assert!(refused(rotate).is_unsupported_operation_exception());
    let too_long = refused(kms.encrypt().key_id(&key.key_id).plaintext(Blob::new(vec![0; 4097])).send().await);
    assert_eq!(too_long.code(), Some("ValidationException"));
    let text = "1 validation error detected: Value at 'plaintext' failed to satisfy constraint: Member must have \
                length less than or equal to 4096";
    assert_eq!(too_long.message(), Some(text));
}

#[tokio::test]
async fn a_dry_run_says_that_it_would_have_succeeded_and_does_nothing() {
    let server = Server::shared();
    let kms = client(&server);
    let key = new_key(&kms).await;
    let encrypt = kms.encrypt().key_id(&key.key_id).plaintext(Blob::new("x")).dry_run(true);
    let error = refused(encrypt.send().await);
    assert!(error.is_dry_run_operation_exception());
    assert_eq!(error.message(), Some("The request would have succeeded, but the DryRun option is set."));
    let data_key = kms.generate_data_key().key_id(&key.key_id).key_spec(DataKeySpec::Aes128).dry_run(true);
    assert!(refused(data_key.send().await).is_dry_run_operation_exception());
    kms.disable_key().key_id(&key.key_id).send().await.unwrap();
    let disabled = kms.encrypt().key_id(&key.key_id).plaintext(Blob::new("x")).dry_run(true);
    assert!(refused(disabled.send().await).is_disabled_exception());
}
