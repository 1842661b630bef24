//! What is decided holds when it is done: a call that may do something when it comes, and waits for the store meanwhile, does
//! nothing if it may not any more when its turn has come. For every operation that changes something.

use serde_json::{Value, json};
use strongroom::operations::TABLE;

use crate::{
    faults::{Faults, until},
    operations::{
        About, Subject, Things,
        create_grant::{ADA, granted},
        import_key_material::parcel,
        subjects,
    },
    tokens::token,
    world::{Answer, Caller, REGION, World, Writer, base64, open_hsm, text, with},
};

/// What is taken away from a caller while their call waits, and how the call is refused then.
#[derive(Debug, Clone, Copy)]
enum Taken {
    AccessKey,
    IdentityPolicy,
    /// The key's policy denies everything.
    KeyPolicy,
}

impl Taken {
    fn refusal(self) -> &'static str {
        match self {
            Self::AccessKey => "UnrecognizedClientException",
            Self::IdentityPolicy | Self::KeyPolicy => "AccessDeniedException",
        }
    }

    async fn take(self, mut writer: Writer, caller: &Caller, key: &str) {
        match self {
            Self::AccessKey => {
                writer.change("access_key", &caller.access_key_id, |body| body["enabled"] = json!(false)).await;
            }
            Self::IdentityPolicy => {
                writer.change("principal", &caller.arn, |body| body["policies"] = json!({})).await;
            }
            Self::KeyPolicy => {
                let denial = json!({"Version": "2012-10-17", "Statement": [
                    {"Effect": "Deny", "Principal": "*", "Action": "kms:*", "Resource": "*"}]});
                let key = format!("{REGION}/{key}");
                writer.change("key", &key, |body| body["policy"] = denial.to_string().into()).await;
            }
        }
        writer.commit().await;
    }
}

/// Sends a call, has it wait for the store, does `meanwhile`, and answers what the call is answered.
async fn overtaken(
    world: &World,
    caller: &Caller,
    (operation, request): (&str, Value),
    meanwhile: impl AsyncFnOnce(Writer),
) -> Answer {
    let writer = Writer::begin(world).await;
    let (caller, operation) = (caller.clone(), operation.to_owned());
    let call = tokio::spawn(async move { caller.call(&operation, request).await });
    while world.store.writers() == 0 {
        assert!(!call.is_finished(), "it did not wait for the store");
        tokio::task::yield_now().await;
    }
    meanwhile(writer).await;
    call.await.unwrap()
}

fn changing() -> impl Iterator<Item = &'static Subject> {
    let changes = |name| TABLE.iter().any(|entry| entry.name == name && !entry.read_only);
    subjects().filter(move |subject| changes(subject.name))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_waits_for_the_store_is_decided_when_its_turn_has_come() {
    let world = World::new().await;
    for subject in changing() {
        for taken in [Taken::AccessKey, Taken::IdentityPolicy, Taken::KeyPolicy] {
            let names_the_key = subject.about != About::Nothing;
            if matches!(taken, Taken::KeyPolicy) && !names_the_key {
                continue;
            }
            let things = Things::of(subject, &world).await;
            if subject.name == "DeleteImportedKeyMaterial" {
                // There is something to delete.
                let (blob, token) = parcel(&world, &things.key, &[7; 32]).await;
                let (key, expires) = (&things.key, "KEY_MATERIAL_DOES_NOT_EXPIRE");
                let request = json!({"KeyId": key, "ImportToken": token, "EncryptedKeyMaterial": blob, "ExpirationModel": expires});
                world.ok("ImportKeyMaterial", request).await;
            }
            let (caller, request) = (world.as_user(&["kms:*"]).await, (subject.request)(&things));
            let mut before = Vec::new();
            let answer = overtaken(&world, &caller, (subject.name, request), async |writer| {
                taken.take(writer, &caller, &things.key).await;
                before = world.documents().await;
            });
            assert_eq!(answer.await.code(), taken.refusal(), "{} {taken:?}", subject.name);
            assert!(before == world.documents().await, "{} {taken:?}: something has changed", subject.name);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_alias_that_points_elsewhere_meanwhile_stays_there() {
    let world = World::new().await;
    let (hers, theirs) = (world.key().await, world.key().await);
    world.alias("alias/a", &hers).await;
    let allows = |key: &str| json!({"Effect": "Allow", "Action": "kms:*", "Resource": [world.arn_of(key), world.arn_of("alias/a")]});
    let policy = json!({"Version": "2012-10-17", "Statement": allows(&hers)}).to_string();
    let eve = world.user([("hers".to_owned(), policy)].into()).await;
    for (operation, request) in [
        ("UpdateAlias", json!({"AliasName": "alias/a", "TargetKeyId": hers})),
        ("DeleteAlias", json!({"AliasName": "alias/a"})),
    ] {
        let answer = overtaken(&world, &eve, (operation, request), async |mut writer| {
            let alias = format!("{REGION}/alias/a");
            writer.change("alias", &alias, |body| body["target"] = json!(theirs)).await;
            writer.move_to("alias", &alias, &format!("{REGION}/{theirs}")).await;
            writer.commit().await;
        });
        assert_eq!(answer.await.code(), "AccessDeniedException", "{operation}");
        assert_eq!(world.ok("DescribeKey", json!({"KeyId": "alias/a"})).await["KeyMetadata"]["KeyId"], *theirs);
        world.ok("UpdateAlias", json!({"AliasName": "alias/a", "TargetKeyId": hers})).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_grant_allows_waits_in_vain_when_the_grant_is_revoked() {
    let world = World::new().await;
    let key = world.key().await;
    let grantee = world.user([].into()).await;
    let terms = json!({"GranteePrincipal": grantee.arn, "Operations": ["Decrypt", "CreateGrant", "RetireGrant"]});
    let passes_on = json!({"KeyId": key, "GranteePrincipal": ADA, "Operations": ["Decrypt"]});
    let token = |token: &str| with(passes_on.clone(), json!({"GrantTokens": [token]}));
    for with_token in [false, true] {
        let (id, its_token) = granted(&world, &key, terms.clone()).await;
        let request = if with_token { token(&its_token) } else { passes_on.clone() };
        let answer = overtaken(&world, &grantee, ("CreateGrant", request), async |mut writer| {
            writer.delete("grant", &format!("{REGION}/{key}/{id}")).await;
            writer.commit().await;
        });
        let refusal = if with_token { "InvalidGrantTokenException" } else { "AccessDeniedException" };
        assert_eq!(answer.await.code(), refusal);
        assert_eq!(world.ok("ListGrants", json!({"KeyId": key})).await["Grants"], json!([]));
    }
}

/// What is done while a use of a key waits in the HSM, and how it is refused then.
#[derive(Debug, Clone, Copy)]
enum Meanwhile {
    KeyDisabled,
    DeletionScheduled,
    PolicyDenies,
    GrantRevoked,
    AccessKeyDisabled,
    /// Something that makes no difference.
    KeyDescribed,
}

impl Meanwhile {
    const ALL: [(Self, &str); 6] = [
        (Self::KeyDisabled, "DisabledException"),
        (Self::DeletionScheduled, "KMSInvalidStateException"),
        (Self::PolicyDenies, "AccessDeniedException"),
        (Self::GrantRevoked, "AccessDeniedException"),
        (Self::AccessKeyDisabled, "UnrecognizedClientException"),
        (Self::KeyDescribed, ""),
    ];

    async fn happen(self, world: &World, key: &str, grant: &str, caller: &Caller) {
        let denial = json!({"Effect": "Deny", "Principal": {"AWS": caller.arn}, "Action": "kms:*", "Resource": "*"});
        let allowance = json!({"Effect": "Allow", "Principal": {"AWS": world.arn}, "Action": "kms:*", "Resource": "*"});
        match self {
            Self::KeyDisabled => drop(world.ok("DisableKey", json!({"KeyId": key})).await),
            Self::DeletionScheduled => drop(world.ok("ScheduleKeyDeletion", json!({"KeyId": key})).await),
            Self::PolicyDenies => world.set_policy(key, json!([denial, allowance])).await,
            Self::GrantRevoked => drop(world.ok("RevokeGrant", json!({"KeyId": key, "GrantId": grant})).await),
            Self::AccessKeyDisabled => world.admin.disable_access_key(&caller.access_key_id).await.unwrap(),
            Self::KeyDescribed => {
                drop(world.ok("UpdateKeyDescription", json!({"KeyId": key, "Description": "another"})).await);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_use_that_waits_in_the_hsm_gives_nothing_to_who_may_not_any_more() {
    let (faults, settings) = Faults::before(token());
    let hsm = open_hsm(settings);
    let world = World::build().hsm(&hsm).open().await;
    for (meanwhile, refusal) in Meanwhile::ALL {
        let key = text(&world.ok("CreateKey", json!({})).await["KeyMetadata"], "KeyId");
        let caller = world.user([].into()).await;
        let terms = json!({"GranteePrincipal": caller.arn, "Operations": ["Encrypt", "Decrypt", "GenerateDataKey"]});
        let (grant, _) = granted(&world, &key, terms).await;
        let request = json!({"KeyId": key, "Plaintext": base64(b"a secret")});
        let before = faults.calls("C_Encrypt").len();
        let hold = faults.hold("C_Encrypt");
        let call = tokio::spawn({
            let caller = caller.clone();
            async move { caller.call("Encrypt", request).await }
        });
        until("the call is in the HSM", || faults.calls("C_Encrypt").len() > before).await;
        meanwhile.happen(&world, &key, &grant, &caller).await;
        drop(hold);
        let answer = call.await.unwrap();
        match refusal {
            "" => assert_eq!(answer.status, 200, "{meanwhile:?}: {}", answer.text()),
            refusal => assert_eq!(answer.code(), refusal, "{meanwhile:?}"),
        }
    }
}
