//! RetireGrant: <https://docs.aws.amazon.com/kms/latest/APIReference/API_RetireGrant.html>.

use std::sync::Arc;

use super::{Operation, end_dry_run, response::NoResponse};
use crate::{
    access::Resolved,
    action::Action,
    error::{Code, KmsError},
    key::grant::Grant,
    kms::cx::Cx,
    request::{GrantIdText, GrantTokenText, KeyText, request},
};

request! {
    /// Gives back what a grant gives, by whoever it lets do so.
    RetireGrant {
        token: GrantTokenText = optional "GrantToken",
        key_id: KeyText = optional "KeyId",
        grant_id: GrantIdText = optional "GrantId",
        dry_run: bool = default "DryRun",
    }
}

impl Operation for RetireGrant {
    const NAME: &'static str = "RetireGrant";
    const READ_ONLY: bool = false;
    const EXCEPTIONS: &'static [Code] = &[
        Code::DependencyTimeoutException,
        Code::DryRunOperationException,
        Code::InvalidArnException,
        Code::InvalidGrantIdException,
        Code::InvalidGrantTokenException,
        Code::KMSInvalidStateException,
        Code::NotFoundException,
    ];
    type Response = NoResponse;

    async fn run(self, cx: &Cx<'_>) -> Result<NoResponse, KmsError> {
        let (key, grant) = self.named(cx).await?;
        cx.authorize_retirement(key, &grant)?;
        end_dry_run(self.dry_run)?;
        let may = |cx: &Cx<'_>| {
            let key = cx.resolve_named(grant.key).ok_or_else(|| KmsError::bare(Code::InvalidGrantTokenException))?;
            cx.authorize_retirement(key, &grant)
        };
        cx.delete_grant(may, &grant).await?;
        Ok(NoResponse)
    }
}

impl RetireGrant {
    /// The grant and its key: by a token, or by the id of each.
    async fn named(&self, cx: &Cx<'_>) -> Result<(Resolved, Arc<Grant>), KmsError> {
        match (&self.token, &self.key_id, &self.grant_id) {
            (Some(GrantTokenText(token)), None, None) => {
                let grant = cx.open_grant_token(token).await?;
                let key = cx.resolve_named(grant.key);
                Ok((key.ok_or_else(|| KmsError::bare(Code::InvalidGrantTokenException))?, grant))
            }
            (None, Some(KeyText(key)), Some(id)) => {
                let key = cx.resolve_key(Action::RetireGrant, key)?;
                let grant = cx.grant(key.id(), id.checked()?).await?;
                Ok((key, grant))
            }
            _ => Err(KmsError::invalid("Please specify either a grant token, or a key ID and a grant ID.")),
        }
    }
}
