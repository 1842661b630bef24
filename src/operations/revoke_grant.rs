//! RevokeGrant: <https://docs.aws.amazon.com/kms/latest/APIReference/API_RevokeGrant.html>.

use super::{Operation, end_dry_run, response::NoResponse};
use crate::{
    action::Action,
    error::{Code, KmsError},
    kms::cx::Cx,
    policy::RequestFacts,
    request::{GrantIdText, KeyText, request},
};

request! {
    /// Takes back what a grant gives, by whoever may for the key.
    RevokeGrant {
        key_id: KeyText = required "KeyId",
        grant_id: GrantIdText = required "GrantId",
        dry_run: bool = default "DryRun",
    }
}

impl Operation for RevokeGrant {
    const NAME: &'static str = "RevokeGrant";
    const READ_ONLY: bool = false;
    const EXCEPTIONS: &'static [Code] = &[
        Code::DependencyTimeoutException,
        Code::DryRunOperationException,
        Code::InvalidArnException,
        Code::InvalidGrantIdException,
        Code::KMSInvalidStateException,
        Code::NotFoundException,
    ];
    type Response = NoResponse;

    async fn run(self, cx: &Cx<'_>) -> Result<NoResponse, KmsError> {
        let may = |cx: &Cx<'_>| cx.authorize_key(Action::RevokeGrant, &self.key_id.0, &RequestFacts::default());
        let grant = cx.grant(may(cx)?.id(), self.grant_id.checked()?).await?;
        end_dry_run(self.dry_run)?;
        cx.delete_grant(may, &grant).await?;
        Ok(NoResponse)
    }
}
