//! UpdatePrimaryRegion: <https://docs.aws.amazon.com/kms/latest/APIReference/API_UpdatePrimaryRegion.html>.

use super::{Operation, response::NoResponse};
use crate::{
    action::Action,
    error::{Code, KmsError},
    key::{multi_region::no_replica, state::Demand},
    kms::cx::Cx,
    policy::RequestFacts,
    request::{KeyText, RegionText, request},
};

request! {
    /// Makes a replica the primary key, and the primary key a replica.
    UpdatePrimaryRegion {
        key_id: KeyText = required "KeyId",
        primary_region: RegionText = required "PrimaryRegion",
    }
}

impl Operation for UpdatePrimaryRegion {
    const NAME: &'static str = "UpdatePrimaryRegion";
    const READ_ONLY: bool = false;
    const EXCEPTIONS: &'static [Code] = &[
        Code::DisabledException,
        Code::InvalidArnException,
        Code::KMSInvalidStateException,
        Code::NotFoundException,
        Code::UnsupportedOperationException,
    ];
    type Response = NoResponse;

    async fn run(self, cx: &Cx<'_>) -> Result<NoResponse, KmsError> {
        let RegionText(region) = &self.primary_region;
        let facts = RequestFacts { primary_region: Some(region.clone()), ..RequestFacts::default() };
        let may = |cx: &Cx<'_>| {
            let primary = cx.authorize_key(Action::UpdatePrimaryRegion, &self.key_id.0, &facts)?;
            primary.demand(Demand::UpdatePrimary)?;
            if !primary.key().regions_of_primary(primary.arn())?.replicas.contains(region) {
                return Err(no_replica(primary.arn(), region));
            }
            let replica = cx.resolve_in(&cx.realm_in(region)?, primary.id())?;
            cx.authorize_resolved(Action::UpdatePrimaryRegion, replica, &facts)?.demand(Demand::UpdatePrimary)?;
            Ok(primary)
        };
        cx.promote(may, region).await?;
        Ok(NoResponse)
    }
}
