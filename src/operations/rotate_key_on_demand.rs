//! RotateKeyOnDemand: <https://docs.aws.amazon.com/kms/latest/APIReference/API_RotateKeyOnDemand.html>.

use serde::Serialize;

use super::{Operation, list_key_rotations::rotatable};
use crate::{
    action::Action,
    error::{Code, KmsError},
    key::state::Demand,
    kms::cx::Cx,
    policy::RequestFacts,
    request::{KeyText, request},
};

request! {
    /// Gives a symmetric key new material now, or makes that current which was imported for it.
    RotateKeyOnDemand {
        key_id: KeyText = required "KeyId",
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct RotateKeyOnDemandResponse {
    key_id: String,
}

impl Operation for RotateKeyOnDemand {
    const NAME: &'static str = "RotateKeyOnDemand";
    const READ_ONLY: bool = false;
    const EXCEPTIONS: &'static [Code] = &[
        Code::ConflictException,
        Code::DependencyTimeoutException,
        Code::DisabledException,
        Code::InvalidArnException,
        Code::KMSInvalidStateException,
        Code::LimitExceededException,
        Code::NotFoundException,
        Code::UnsupportedOperationException,
    ];
    type Response = RotateKeyOnDemandResponse;

    async fn run(self, cx: &Cx<'_>) -> Result<RotateKeyOnDemandResponse, KmsError> {
        let may = |cx: &Cx<'_>| {
            let key = cx.authorize_key(Action::RotateKeyOnDemand, &self.key_id.0, &RequestFacts::default())?;
            key.demand(Demand::Rotate)?;
            rotatable(&key)?;
            key.key().demand_primary(key.arn())?;
            Ok(key)
        };
        let key_id = may(cx)?.arn().to_owned();
        cx.rotate_on_demand(may).await?;
        Ok(RotateKeyOnDemandResponse { key_id })
    }
}
