//! ReplicateKey: <https://docs.aws.amazon.com/kms/latest/APIReference/API_ReplicateKey.html>.

use serde::Serialize;

use super::{Operation, metadata::KeyMetadata, policy_text};
use crate::{
    access::Authorized,
    action::Action,
    arn::Realm,
    error::{Code, KmsError},
    key::{
        Key,
        reference::KeyId,
        state::Demand,
        tags::{Tag, Tags},
    },
    kms::cx::Cx,
    policy::{self, NewKey, RequestFacts},
    request::{Description, KeyText, PolicyText, RegionText, TagList, request},
};

request! {
    /// Makes a replica of a multi-Region primary key in another region.
    ReplicateKey {
        key_id: KeyText = required "KeyId",
        replica_region: RegionText = required "ReplicaRegion",
        policy: PolicyText = optional "Policy",
        bypass_lockout_check: bool = optional "BypassPolicyLockoutSafetyCheck",
        description: Description = default "Description",
        tags: TagList = default "Tags",
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ReplicateKeyResponse {
    replica_key_metadata: KeyMetadata,
    replica_policy: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    replica_tags: Vec<Tag>,
}

impl Operation for ReplicateKey {
    const NAME: &'static str = "ReplicateKey";
    const READ_ONLY: bool = false;
    const EXCEPTIONS: &'static [Code] = &[
        Code::AlreadyExistsException,
        Code::DisabledException,
        Code::InvalidArnException,
        Code::KMSInvalidStateException,
        Code::LimitExceededException,
        Code::MalformedPolicyDocumentException,
        Code::NotFoundException,
        Code::TagException,
        Code::UnsupportedOperationException,
    ];
    type Response = ReplicateKeyResponse;

    async fn run(self, cx: &Cx<'_>) -> Result<ReplicateKeyResponse, KmsError> {
        let primary = self.primary(cx)?;
        let there = cx.realm_in(&self.replica_region.0)?;
        let own = self.own_part(cx, primary.key(), &there)?;
        let may = |cx: &Cx<'_>| {
            let primary = self.primary(cx)?;
            self.policy(cx, primary.id(), &there)?;
            cx.note(own.arn(&there));
            Ok(primary)
        };
        let replica = cx.add_replica(may, &own).await?;
        Ok(ReplicateKeyResponse {
            replica_policy: replica.policy().to_owned(),
            replica_tags: replica.tags().as_slice().to_vec(),
            replica_key_metadata: KeyMetadata::of_new_replica(&replica, cx, &there),
        })
    }
}

impl ReplicateKey {
    /// The key that is to have a replica, if the caller may make one.
    fn primary(&self, cx: &Cx<'_>) -> Result<Authorized, KmsError> {
        let primary = cx.authorize_key(Action::ReplicateKey, &self.key_id.0, &self.facts())?;
        self.authorize_new_key(cx, primary.key())?;
        primary.demand(Demand::Replicate)?;
        primary.key().regions_of_primary(primary.arn())?;
        Ok(primary)
    }

    /// In the replica's region a key is made, and perhaps tagged.
    fn authorize_new_key(&self, cx: &Cx<'_>, primary: &Key) -> Result<(), KmsError> {
        let new_key =
            NewKey { spec: primary.spec(), usage: primary.usage(), origin: primary.origin(), multi_region: true };
        let facts = RequestFacts { new_key: Some(new_key), ..self.facts() };
        cx.authorize(Action::CreateKey, &facts)?;
        if self.tags.0.is_empty() { Ok(()) } else { cx.authorize(Action::TagResource, &facts) }
    }

    fn facts(&self) -> RequestFacts {
        RequestFacts {
            replica_region: Some(self.replica_region.0.clone()),
            bypass_policy_lockout_safety_check: self.bypass_lockout_check,
            tags: self.tags.0.clone(),
            ..RequestFacts::default()
        }
    }

    /// The replica's own properties, which it does not share with its primary key.
    fn own_part(&self, cx: &Cx<'_>, primary: &Key, there: &Realm) -> Result<Key, KmsError> {
        let kind = (primary.spec(), primary.usage());
        let tags = Tags::default().with(&self.tags.0)?;
        let policy = self.policy(cx, primary.id(), there)?;
        let own = Key::new(primary.id(), &there.region, kind, policy, cx.now());
        Ok(own.with_description(self.description.0.clone()).with_tags(tags))
    }

    fn policy(&self, cx: &Cx<'_>, id: KeyId, there: &Realm) -> Result<String, KmsError> {
        let Some(PolicyText(text)) = &self.policy else {
            return Ok(policy::default_key_policy(&there.partition, &there.account));
        };
        policy_text::check(cx, text, &there.arn(format_args!("key/{id}")), &self.facts())?;
        Ok(text.clone())
    }
}
