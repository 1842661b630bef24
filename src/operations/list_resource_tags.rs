//! ListResourceTags: <https://docs.aws.amazon.com/kms/latest/APIReference/API_ListResourceTags.html>.

use serde::Serialize;

use super::Operation;
use crate::{
    action::Action,
    error::{Code, KmsError},
    key::tags::Tag,
    kms::cx::Cx,
    page::invalid_marker,
    policy::RequestFacts,
    request::{Int, KeyText, Limit50, Marker, page_request, request},
};

request! {
    /// The tags of a key.
    ListResourceTags {
        key_id: KeyText = required "KeyId",
        limit: Limit50 = optional "Limit",
        marker: Marker = optional "Marker",
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ListResourceTagsResponse {
    #[serde(skip_serializing_if = "Option::is_none")]
    next_marker: Option<String>,
    tags: Vec<Tag>,
    truncated: bool,
}

impl Operation for ListResourceTags {
    const NAME: &'static str = "ListResourceTags";
    const READ_ONLY: bool = true;
    const EXCEPTIONS: &'static [Code] =
        &[Code::InvalidArnException, Code::InvalidMarkerException, Code::NotFoundException];
    type Response = ListResourceTagsResponse;

    async fn run(self, cx: &Cx<'_>) -> Result<ListResourceTagsResponse, KmsError> {
        let key = cx.authorize_key(Action::ListResourceTags, &self.key_id.0, &RequestFacts::default())?;
        let request = page_request(self.limit.unwrap_or(Int(50)), self.marker);
        let list = format!("tags {}", key.arn());
        let tags = key.key().tags().as_slice();
        let begin = match request.after(&list)? {
            None => 0,
            Some(after) => 1 + tags.iter().position(|tag| tag.tag_key == after).ok_or_else(invalid_marker)?,
        };
        let page = request.cut(&list, tags.iter().skip(begin).cloned(), |tag| tag.tag_key.clone());
        Ok(ListResourceTagsResponse {
            tags: page.items,
            truncated: page.next_marker.is_some(),
            next_marker: page.next_marker,
        })
    }
}
