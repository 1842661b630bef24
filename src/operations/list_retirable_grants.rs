//! ListRetirableGrants: <https://docs.aws.amazon.com/kms/latest/APIReference/API_ListRetirableGrants.html>.

use super::{Operation, create_grant::party, grant_list::ListGrantsResponse};
use crate::{
    action::Action,
    error::{Code, KmsError},
    key::{
        grant::{GrantId, Party},
        reference::KeyId,
    },
    kms::cx::Cx,
    page::invalid_marker,
    policy::RequestFacts,
    request::{Int, Limit100, Marker, PrincipalText, ServiceText, missing, page_request, request},
};

request! {
    /// The grants of all keys of the region that a principal may retire.
    ListRetirableGrants {
        limit: Limit100 = optional "Limit",
        marker: Marker = optional "Marker",
        retiring: PrincipalText = optional "RetiringPrincipal",
        retiring_service: ServiceText = optional "RetiringServicePrincipal",
    }
}

impl Operation for ListRetirableGrants {
    const NAME: &'static str = "ListRetirableGrants";
    const READ_ONLY: bool = true;
    const EXCEPTIONS: &'static [Code] = &[
        Code::DependencyTimeoutException,
        Code::InvalidArnException,
        Code::InvalidMarkerException,
        Code::NotFoundException,
    ];
    type Response = ListGrantsResponse;

    async fn run(self, cx: &Cx<'_>) -> Result<ListGrantsResponse, KmsError> {
        let retiring = party(self.retiring, self.retiring_service)?;
        let retiring = retiring.ok_or_else(|| KmsError::invalid(missing::<PrincipalText>("retiringPrincipal")))?;
        match &retiring {
            Party::Principal(principal) => {
                cx.authorize_about(Action::ListRetirableGrants, principal, &RequestFacts::default())?
            }
            Party::Federated(_) | Party::Service(_) => {
                cx.authorize(Action::ListRetirableGrants, &RequestFacts::default())?
            }
        }
        let request = page_request(self.limit.unwrap_or(Int(50)), self.marker);
        let list = format!("retirable grants {} {}", cx.realm().region, retiring.as_str());
        let after = request.after(&list)?.map(|text| read(&text).ok_or_else(invalid_marker)).transpose()?;
        let grants = cx.retirable_grants_after(&retiring, after, request.limit + 1);
        let page = request.cut(&list, grants.into_iter(), |grant| format!("{}/{}", grant.key, grant.id));
        Ok(ListGrantsResponse::of(page, cx.realm()))
    }
}

/// The last grant of the page before.
fn read(text: &str) -> Option<(KeyId, GrantId)> {
    let (key, id) = text.split_once('/')?;
    Some((KeyId::parse(key)?, GrantId::parse(id)?))
}
