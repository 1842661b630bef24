//! CreateGrant: <https://docs.aws.amazon.com/kms/latest/APIReference/API_CreateGrant.html>.

use std::sync::Arc;

use serde::Serialize;

use super::{Operation, end_dry_run};
use crate::{
    action::Action,
    error::{Code, KmsError},
    key::{
        grant::{GrantId, GrantOperation, Party, Terms},
        state::Demand,
    },
    kms::cx::Cx,
    policy::RequestFacts,
    request::{
        GrantConstraints, GrantName, GrantOperations, GrantTokens, KeyText, PrincipalText, ServiceText, missing,
        request,
    },
};

request! {
    /// Lets a principal use a key, beside what policies say.
    CreateGrant {
        key_id: KeyText = required "KeyId",
        grantee: PrincipalText = optional "GranteePrincipal",
        retiring: PrincipalText = optional "RetiringPrincipal",
        operations: GrantOperations = required "Operations",
        constraints: GrantConstraints = default "Constraints",
        grant_tokens: GrantTokens = default "GrantTokens",
        name: GrantName = optional "Name",
        dry_run: bool = default "DryRun",
        grantee_service: ServiceText = optional "GranteeServicePrincipal",
        retiring_service: ServiceText = optional "RetiringServicePrincipal",
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct CreateGrantResponse {
    grant_id: GrantId,
    grant_token: String,
}

impl Operation for CreateGrant {
    const NAME: &'static str = "CreateGrant";
    const READ_ONLY: bool = false;
    const EXCEPTIONS: &'static [Code] = &[
        Code::DependencyTimeoutException,
        Code::DisabledException,
        Code::DryRunOperationException,
        Code::InvalidArnException,
        Code::InvalidGrantTokenException,
        Code::KMSInvalidStateException,
        Code::LimitExceededException,
        Code::NotFoundException,
    ];
    type Response = CreateGrantResponse;

    async fn run(self, cx: &Cx<'_>) -> Result<CreateGrantResponse, KmsError> {
        let grantee = party(self.grantee, self.grantee_service)?;
        let terms = Terms {
            grantee: grantee.ok_or_else(|| KmsError::invalid(missing::<PrincipalText>("granteePrincipal")))?,
            retiring: party(self.retiring, self.retiring_service)?,
            operations: self.operations.0,
            constraints: self.constraints.checked()?,
            name: self.name.map(|GrantName(name)| name),
        };
        make_sense(&terms)?;
        let action = Action::CreateGrant;
        let facts = Arc::new(RequestFacts { grant: Some(terms.clone()), ..RequestFacts::default() });
        let key = cx.resolve_key(action, &self.key_id.0)?;
        let tokens = cx.open_grant_tokens(&self.grant_tokens.0).await?;
        let may = |cx: &Cx<'_>, key| {
            tokens.iter().try_for_each(|grant| cx.is_there(grant))?;
            let key = cx.authorize_use_now(GrantOperation::CreateGrant, key, &facts)?;
            key.demand(Demand::Grant)?;
            terms.fit(key.key())?;
            Ok(key)
        };
        let key = may(cx, key)?;
        end_dry_run(self.dry_run)?;
        let made = cx.create_grant(|cx| may(cx, cx.resolve_key(action, &self.key_id.0)?), &key, terms.clone()).await?;
        Ok(CreateGrantResponse { grant_token: made.token, grant_id: made.id })
    }
}

/// A principal or a service, whichever is given.
///
/// # Errors
/// `ValidationException` for both, `InvalidArnException`.
pub fn party(principal: Option<PrincipalText>, service: Option<ServiceText>) -> Result<Option<Party>, KmsError> {
    match (principal, service) {
        (Some(_), Some(_)) => {
            Err(KmsError::invalid("You can specify a principal or a service principal, but not both."))
        }
        (Some(principal), None) => principal.checked().map(Some),
        (None, service) => Ok(service.map(|ServiceText(name)| Party::Service(name))),
    }
}

/// Refuses terms that no key could make right.
fn make_sense(terms: &Terms) -> Result<(), KmsError> {
    if terms.operations.iter().all(|operation| *operation == GrantOperation::CreateGrant) {
        return Err(KmsError::invalid("Grants must not contain only the CreateGrant operation."));
    }
    let is_complete = terms.constraints.source_arn.is_some() && terms.retiring.is_some();
    match terms.grantee {
        Party::Service(_) if !is_complete => {
            let text = "A grant for a service principal needs a SourceArn constraint and a retiring principal.";
            Err(KmsError::invalid(text))
        }
        _ => Ok(()),
    }
}
