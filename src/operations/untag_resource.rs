//! UntagResource: <https://docs.aws.amazon.com/kms/latest/APIReference/API_UntagResource.html>.

use super::{Operation, response::NoResponse};
use crate::{
    action::Action,
    error::{Code, KmsError},
    key::state::Demand,
    kms::cx::Cx,
    policy::RequestFacts,
    request::{KeyText, TagKeys, request},
};

request! {
    /// Takes tags from a key.
    UntagResource {
        key_id: KeyText = required "KeyId",
        tag_keys: TagKeys = required "TagKeys",
    }
}

impl Operation for UntagResource {
    const NAME: &'static str = "UntagResource";
    const READ_ONLY: bool = false;
    const EXCEPTIONS: &'static [Code] =
        &[Code::InvalidArnException, Code::KMSInvalidStateException, Code::NotFoundException, Code::TagException];
    type Response = NoResponse;

    async fn run(self, cx: &Cx<'_>) -> Result<NoResponse, KmsError> {
        let facts = RequestFacts { tag_keys: self.tag_keys.0.clone(), ..RequestFacts::default() };
        let may = |cx: &Cx<'_>| cx.authorize_key(Action::UntagResource, &self.key_id.0, &facts);
        cx.change(may, Demand::Change, |key| key.untag(&self.tag_keys.0)).await?;
        Ok(NoResponse)
    }
}
