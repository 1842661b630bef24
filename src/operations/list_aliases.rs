//! ListAliases: <https://docs.aws.amazon.com/kms/latest/APIReference/API_ListAliases.html>.

use serde::Serialize;

use super::{Operation, response::EpochSeconds};
use crate::{
    action::Action,
    arn::Realm,
    error::{Code, KmsError},
    key::alias::Alias,
    kms::cx::Cx,
    policy::RequestFacts,
    request::{Int, KeyText, Limit100, Marker, page_request, request},
};

request! {
    /// Every alias of the caller's account and region, or of one key.
    ListAliases {
        key_id: KeyText = optional "KeyId",
        limit: Limit100 = optional "Limit",
        marker: Marker = optional "Marker",
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ListAliasesResponse {
    aliases: Vec<AliasListEntry>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_marker: Option<String>,
    truncated: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct AliasListEntry {
    alias_arn: String,
    alias_name: String,
    creation_date: EpochSeconds,
    last_updated_date: EpochSeconds,
    target_key_id: String,
}

impl Operation for ListAliases {
    const NAME: &'static str = "ListAliases";
    const READ_ONLY: bool = true;
    const EXCEPTIONS: &'static [Code] = &[
        Code::DependencyTimeoutException,
        Code::InvalidArnException,
        Code::InvalidMarkerException,
        Code::NotFoundException,
    ];
    type Response = ListAliasesResponse;

    async fn run(self, cx: &Cx<'_>) -> Result<ListAliasesResponse, KmsError> {
        // Identity policies alone decide, so the key is looked up and nothing of it is read but its id.
        cx.authorize(Action::ListAliases, &RequestFacts::default())?;
        let target =
            self.key_id.map(|text| cx.resolve_key(Action::ListAliases, &text.0)).transpose()?.map(|key| key.id());
        let request = page_request(self.limit.unwrap_or(Int(50)), self.marker);
        let filter = target.map(|id| id.to_string()).unwrap_or_default();
        let list = format!("aliases {} {filter}", cx.realm().region);
        let after = request.after(&list)?;
        let aliases = cx.aliases_after(target, after.as_deref(), request.limit + 1);
        let page = request.cut(&list, aliases.into_iter(), |alias| alias.name.to_string());
        Ok(ListAliasesResponse {
            aliases: page.items.iter().map(|alias| AliasListEntry::of(alias, cx.realm())).collect(),
            truncated: page.next_marker.is_some(),
            next_marker: page.next_marker,
        })
    }
}

impl AliasListEntry {
    fn of(alias: &Alias, realm: &Realm) -> Self {
        Self {
            alias_name: alias.name.to_string(),
            alias_arn: realm.arn(&alias.name),
            target_key_id: alias.target.to_string(),
            creation_date: EpochSeconds(alias.created),
            last_updated_date: EpochSeconds(alias.updated),
        }
    }
}
