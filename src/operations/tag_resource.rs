//! TagResource: <https://docs.aws.amazon.com/kms/latest/APIReference/API_TagResource.html>.

use super::{
    Operation,
    answer::Nothing,
};
use crate::{action::Action, error::KmsError, key::state::Demand, kms::cx::Cx, request::{KeyText, TagList, request}};

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
    type Answer = Nothing;

    async fn run(self, cx: &Cx<'_>) -> Result<Nothing, KmsError> {
        let may = |cx: &Cx<'_>| cx.resolve_key(&self.key_id.0)?.authorize(cx.caller(), Action::TagResource);
        cx.change(may, Demand::Change, |key| key.tag(&self.tags.0)).await?;
        Ok(Nothing)
    }
}
