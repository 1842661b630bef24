//! CreateAlias: <https://docs.aws.amazon.com/kms/latest/APIReference/API_CreateAlias.html>.

use super::{Operation, response::NoResponse, update_alias::authorize_target};
use crate::{
    action::Action,
    error::{Code, KmsError},
    key::state::Demand,
    kms::cx::Cx,
    policy::RequestFacts,
    request::{AliasText, KeyText, request},
};

request! {
    /// Gives a key a name.
    CreateAlias {
        name: AliasText = required "AliasName",
        target: KeyText = required "TargetKeyId",
    }
}

impl Operation for CreateAlias {
    const NAME: &'static str = "CreateAlias";
    const READ_ONLY: bool = false;
    const EXCEPTIONS: &'static [Code] = &[
        Code::AlreadyExistsException,
        Code::DependencyTimeoutException,
        Code::InvalidAliasNameException,
        Code::KMSInvalidStateException,
        Code::LimitExceededException,
        Code::NotFoundException,
    ];
    type Response = NoResponse;

    async fn run(self, cx: &Cx<'_>) -> Result<NoResponse, KmsError> {
        let name = self.name.checked()?;
        let facts = RequestFacts::default();
        let may = |cx: &Cx<'_>| {
            cx.authorize_alias(Action::CreateAlias, &name, &facts)?;
            let key = authorize_target(cx, Action::CreateAlias, &self.target.0, &facts)?;
            key.demand(Demand::Change)?;
            Ok(key)
        };
        cx.create_alias(may, name.clone()).await?;
        Ok(NoResponse)
    }
}
