//! UpdateAlias: <https://docs.aws.amazon.com/kms/latest/APIReference/API_UpdateAlias.html>.

use super::{Operation, response::NoResponse};
use crate::{
    access::Authorized,
    action::Action,
    error::{Code, KmsError},
    key::state::Demand,
    kms::cx::Cx,
    policy::RequestFacts,
    request::{AliasText, KeyText, request},
};

request! {
    /// Points an alias at another key of the same kind.
    UpdateAlias {
        name: AliasText = required "AliasName",
        target: KeyText = required "TargetKeyId",
    }
}

impl Operation for UpdateAlias {
    const NAME: &'static str = "UpdateAlias";
    const READ_ONLY: bool = false;
    const EXCEPTIONS: &'static [Code] = &[
        Code::DependencyTimeoutException,
        Code::KMSInvalidStateException,
        Code::LimitExceededException,
        Code::NotFoundException,
    ];
    type Response = NoResponse;

    async fn run(self, cx: &Cx<'_>) -> Result<NoResponse, KmsError> {
        let name = self.name.checked()?;
        let facts = RequestFacts::default();
        let may = |cx: &Cx<'_>| {
            let old = cx.resolve(Action::UpdateAlias, &name)?;
            cx.authorize_alias(Action::UpdateAlias, &name, &facts)?;
            let old = cx.authorize_resolved(Action::UpdateAlias, old, &facts)?;
            let new = authorize_target(cx, Action::UpdateAlias, &self.target.0, &facts)?;
            new.demand(Demand::Change)?;
            check_kind(&cx.realm().arn(&name), &old, &new)?;
            Ok(new)
        };
        cx.move_alias(may, &name).await?;
        Ok(NoResponse)
    }
}

/// Lets the caller do `action` with the key that an alias is to name; it cannot name another alias.
///
/// # Errors
/// `ValidationException` for an alias; else as [`Cx::authorize_key`].
pub fn authorize_target(cx: &Cx<'_>, action: Action, text: &str, facts: &RequestFacts) -> Result<Authorized, KmsError> {
    if text.starts_with("alias/") || text.contains(":alias/") {
        return Err(KmsError::invalid("Aliases must refer to keys. Not aliases"));
    }
    cx.authorize_key(action, text, facts)
}

/// An alias stays within one class of keys and one usage, so that its users' calls stay meaningful.
fn check_kind(alias_arn: &str, old: &Authorized, new: &Authorized) -> Result<(), KmsError> {
    let old = old.key();
    let new = new.key();
    if old.usage() != new.usage() {
        return Err(KmsError::invalid(format!(
            "Alias {alias_arn} cannot be changed from a CMK with key usage {} to a CMK with key usage {}. The key usage \
             of the current CMK and the new CMK must be the same.",
            old.usage(),
            new.usage()
        )));
    }
    if old.spec().class() != new.spec().class() {
        return Err(KmsError::invalid(format!(
            "Alias {alias_arn} cannot be changed from a CMK with key spec {} to a CMK with key spec {}. The current CMK \
             and the new CMK must be of the same type.",
            old.spec(),
            new.spec()
        )));
    }
    Ok(())
}
