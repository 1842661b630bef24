//! TagResource: <https://docs.aws.amazon.com/kms/latest/APIReference/API_TagResource.html>.

use super::{Operation, response::NoResponse};
use crate::{
    action::Action,
    error::{Code, KmsError},
    key::state::Demand,
    kms::cx::Cx,
    policy::RequestFacts,
    request::{KeyText, TagList, request},
};

request! {
    /// Adds tags to a key, or overwrites them.
    TagResource {
        key_id: KeyText = required "KeyId",
        tags: TagList = required "Tags",
    }
}

impl Operation for TagResource {
    const NAME: &'static str = "TagResource";
    const READ_ONLY: bool = false;
    const EXCEPTIONS: &'static [Code] = &[
        Code::InvalidArnException,
        Code::KMSInvalidStateException,
        Code::LimitExceededException,
        Code::NotFoundException,
        Code::TagException,
    ];
    type Response = NoResponse;

    async fn run(self, cx: &Cx<'_>) -> Result<NoResponse, KmsError> {
        let facts = RequestFacts { tags: self.tags.0.clone(), ..RequestFacts::default() };
        let may = |cx: &Cx<'_>| cx.authorize_key(Action::TagResource, &self.key_id.0, &facts);
        cx.change(may, Demand::Change, |key| key.tag(&self.tags.0)).await?;
        Ok(NoResponse)
    }
}
