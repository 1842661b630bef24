//! DescribeCustomKeyStores: <https://docs.aws.amazon.com/kms/latest/APIReference/API_DescribeCustomKeyStores.html>.

use serde::Serialize;

use super::{Operation, create_custom_key_store::KeyStoreName, response::EpochSeconds};
use crate::{
    action::Action,
    error::{Code, KmsError},
    key::custom_store::{ConnectionError, ConnectionState, CustomKeyStore, KeyStoreId, KeyStoreType},
    kms::cx::Cx,
    policy::RequestFacts,
    request::{Int, KeyStoreText, Limit1000, Marker, page_request, request},
};

request! {
    /// Every custom key store of the caller's account and region, or one.
    DescribeCustomKeyStores {
        id: KeyStoreText = optional "CustomKeyStoreId",
        name: KeyStoreName = optional "CustomKeyStoreName",
        limit: Limit1000 = optional "Limit",
        marker: Marker = optional "Marker",
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct DescribeCustomKeyStoresResponse {
    custom_key_stores: Vec<CustomKeyStoresListEntry>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_marker: Option<String>,
    truncated: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct CustomKeyStoresListEntry {
    cloud_hsm_cluster_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    connection_error_code: Option<ConnectionError>,
    connection_state: ConnectionState,
    creation_date: EpochSeconds,
    custom_key_store_id: KeyStoreId,
    custom_key_store_name: String,
    custom_key_store_type: KeyStoreType,
    trust_anchor_certificate: String,
}

impl Operation for DescribeCustomKeyStores {
    const NAME: &'static str = "DescribeCustomKeyStores";
    const READ_ONLY: bool = true;
    const EXCEPTIONS: &'static [Code] = &[Code::CustomKeyStoreNotFoundException, Code::InvalidMarkerException];
    type Response = DescribeCustomKeyStoresResponse;

    async fn run(self, cx: &Cx<'_>) -> Result<DescribeCustomKeyStoresResponse, KmsError> {
        if self.id.is_some() && self.name.is_some() {
            return Err(KmsError::invalid("Please specify either CustomKeyStoreId or CustomKeyStoreName, not both."));
        }
        cx.authorize(Action::DescribeCustomKeyStores, &RequestFacts::default())?;
        let one = match (self.id, self.name) {
            (Some(id), _) => Some(cx.key_store(&id.0)?),
            (None, Some(name)) => {
                let named = cx.key_stores_after(None, usize::MAX).into_iter().find(|store| store.name == name.0);
                Some(named.ok_or_else(|| KmsError::bare(Code::CustomKeyStoreNotFoundException))?)
            }
            (None, None) => None,
        };
        if let Some(one) = one {
            return Ok(DescribeCustomKeyStoresResponse {
                custom_key_stores: vec![CustomKeyStoresListEntry::of(&one)],
                next_marker: None,
                truncated: false,
            });
        }
        let request = page_request(self.limit.unwrap_or(Int(100)), self.marker);
        let list = format!("key stores {}", cx.realm().region);
        let after = request.after(&list)?;
        let key_stores = cx.key_stores_after(after.as_deref(), request.limit + 1);
        let page = request.cut(&list, key_stores.into_iter(), |key_store| key_store.id.to_string());
        Ok(DescribeCustomKeyStoresResponse {
            custom_key_stores: page.items.iter().map(|key_store| CustomKeyStoresListEntry::of(key_store)).collect(),
            truncated: page.next_marker.is_some(),
            next_marker: page.next_marker,
        })
    }
}

impl CustomKeyStoresListEntry {
    fn of(key_store: &CustomKeyStore) -> Self {
        Self {
            custom_key_store_id: key_store.id.clone(),
            custom_key_store_name: key_store.name.clone(),
            cloud_hsm_cluster_id: key_store.cluster.clone(),
            trust_anchor_certificate: key_store.trust_anchor.clone(),
            connection_state: key_store.state,
            connection_error_code: key_store.error,
            creation_date: EpochSeconds(key_store.created),
            custom_key_store_type: KeyStoreType::AwsCloudHsm,
        }
    }
}
