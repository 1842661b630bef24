//! ListKeys: <https://docs.aws.amazon.com/kms/latest/APIReference/API_ListKeys.html>.

use serde::Serialize;

use super::Operation;
use crate::{
    action::Action,
    error::{Code, KmsError},
    key::reference::KeyId,
    kms::cx::Cx,
    page::invalid_marker,
    policy::RequestFacts,
    request::{Int, Limit1000, Marker, page_request, request},
};

request! {
    /// Every key of the caller's account and region.
    ListKeys {
        limit: Limit1000 = optional "Limit",
        marker: Marker = optional "Marker",
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ListKeysResponse {
    keys: Vec<KeyListEntry>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_marker: Option<String>,
    truncated: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct KeyListEntry {
    key_arn: String,
    key_id: String,
}

impl Operation for ListKeys {
    const NAME: &'static str = "ListKeys";
    const READ_ONLY: bool = true;
    const EXCEPTIONS: &'static [Code] = &[Code::DependencyTimeoutException, Code::InvalidMarkerException];
    type Response = ListKeysResponse;

    async fn run(self, cx: &Cx<'_>) -> Result<ListKeysResponse, KmsError> {
        cx.authorize(Action::ListKeys, &RequestFacts::default())?;
        let request = page_request(self.limit.unwrap_or(Int(100)), self.marker);
        let list = format!("keys {}", cx.realm().region);
        let after = request.after(&list)?.map(|text| KeyId::parse(&text).ok_or_else(invalid_marker)).transpose()?;
        let keys = cx.keys_after(after, request.limit + 1);
        let page = request.cut(&list, keys.into_iter(), |entry| entry.key.id().to_string());
        let item = |key: &crate::key::Key| KeyListEntry { key_id: key.id().to_string(), key_arn: key.arn(cx.realm()) };
        Ok(ListKeysResponse {
            keys: page.items.iter().map(|entry| item(&entry.key)).collect(),
            truncated: page.next_marker.is_some(),
            next_marker: page.next_marker,
        })
    }
}
