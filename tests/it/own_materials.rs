//! The material under which the service seals what is its own is counted like that of a key, and gets a successor in time.

use serde_json::json;
use strongroom::{
    key::{
        material::MaterialId,
        spec::{KeySpec, KeyUsage},
    },
    store::Deployment,
};

use crate::{
    operations::import_key_material::{external, parcel, request},
    world::World,
};

/// What GCM allows of a key with random IVs.
const LIMIT: u64 = 1 << 32;

async fn deployment(world: &World) -> Deployment {
    world.store.deployment().await.unwrap().unwrap()
}

/// As if the material that seals now had been used so often.
async fn wear(world: &World, uses: u64) -> MaterialId {
    let newest = deployment(world).await.newest_material().id;
    world.store.reserve_invocations(newest, uses).await.unwrap();
    newest
}

/// A key, and a token that was sealed now to import its material with.
async fn sealed(world: &World) -> [String; 3] {
    let key = external(world, KeySpec::SymmetricDefault, KeyUsage::EncryptDecrypt).await;
    let (blob, token) = parcel(world, &key, &[7; 32]).await;
    [key, token, blob]
}

async fn opens(world: &World, [key, token, blob]: &[String; 3]) {
    world.kms.follow_store().await.unwrap();
    world.ok("ImportKeyMaterial", request(key, token, blob)).await;
}

/// Has a process seal something, and so reserve its first block.
async fn begin_a_block(world: &World) {
    let key = external(world, KeySpec::SymmetricDefault, KeyUsage::EncryptDecrypt).await;
    let parameters = json!({"KeyId": key, "WrappingAlgorithm": "RSAES_OAEP_SHA_1", "WrappingKeySpec": "RSA_2048"});
    world.ok("GetParametersForImport", parameters).await;
}

#[tokio::test]
async fn a_worn_material_gets_a_successor_and_both_open_what_they_sealed() {
    let world = World::new().await;
    let before = sealed(&world).await;
    assert_eq!(deployment(&world).await.successors.len(), 0);
    for generation in 1..=2 {
        wear(&world, LIMIT / 2).await;
        // Another process, which has no block reserved.
        let world = world.neighbour().await;
        begin_a_block(&world).await;
        assert_eq!(deployment(&world).await.successors.len(), generation);
        opens(&world, &before).await;
        opens(&world, &sealed(&world).await).await;
    }
    // The first process does not know of them yet.
    let newest = world.neighbour().await;
    let after = sealed(&newest).await;
    assert!(after[1].len() > before[1].len(), "it names its material");
    let other = world.neighbour().await;
    for parcel in [&before, &after] {
        opens(&world, parcel).await;
        opens(&other, parcel).await;
    }
    let world = world.reopened().await;
    opens(&world, &before).await;
    opens(&world, &after).await;
    assert_eq!(deployment(&world).await.successors.len(), 2);
}

#[tokio::test]
async fn a_process_that_comes_late_takes_the_successor_of_another() {
    let world = World::new().await;
    wear(&world, LIMIT / 2).await;
    let [one, other] = [world.neighbour().await, world.neighbour().await];
    for process in [&one, &other] {
        begin_a_block(process).await;
    }
    assert_eq!(deployment(&world).await.successors.len(), 1);
    let parcel = sealed(&other).await;
    opens(&one, &parcel).await;
}
