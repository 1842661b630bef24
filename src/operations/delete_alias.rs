//! DeleteAlias: <https://docs.aws.amazon.com/kms/latest/APIReference/API_DeleteAlias.html>.

use super::{Operation, response::NoResponse};
use crate::{
    action::Action,
    error::{Code, KmsError},
    kms::cx::Cx,
    policy::RequestFacts,
    request::{AliasText, request},
};

request! {
    /// Takes a name from a key.
    DeleteAlias {
        name: AliasText = required "AliasName",
    }
}

impl Operation for DeleteAlias {
    const NAME: &'static str = "DeleteAlias";
    const READ_ONLY: bool = false;
    const EXCEPTIONS: &'static [Code] =
        &[Code::DependencyTimeoutException, Code::KMSInvalidStateException, Code::NotFoundException];
    type Response = NoResponse;

    async fn run(self, cx: &Cx<'_>) -> Result<NoResponse, KmsError> {
        let name = self.name.checked()?;
        let facts = RequestFacts::default();
        let may = |cx: &Cx<'_>| {
            let key = cx.resolve(Action::DeleteAlias, &name)?;
            cx.authorize_alias(Action::DeleteAlias, &name, &facts)?;
            cx.authorize_resolved(Action::DeleteAlias, key, &facts)
        };
        cx.delete_alias(may, &name).await?;
        Ok(NoResponse)
    }
}
