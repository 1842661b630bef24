//! ListGrants: <https://docs.aws.amazon.com/kms/latest/APIReference/API_ListGrants.html>.

use super::{Operation, create_grant::party, grant_list::ListGrantsResponse};
use crate::{
    action::Action,
    error::{Code, KmsError},
    key::grant::{Grant, GrantId, Party},
    kms::cx::Cx,
    page::invalid_marker,
    policy::RequestFacts,
    request::{GrantIdText, Int, KeyText, Limit100, Marker, PrincipalText, ServiceText, page_request, request},
};

request! {
    /// The grants of a key: all, one of them, or those of one grantee.
    ListGrants {
        limit: Limit100 = optional "Limit",
        marker: Marker = optional "Marker",
        key_id: KeyText = required "KeyId",
        grant_id: GrantIdText = optional "GrantId",
        grantee: PrincipalText = optional "GranteePrincipal",
        grantee_service: ServiceText = optional "GranteeServicePrincipal",
    }
}

impl Operation for ListGrants {
    const NAME: &'static str = "ListGrants";
    const READ_ONLY: bool = true;
    const EXCEPTIONS: &'static [Code] = &[
        Code::DependencyTimeoutException,
        Code::InvalidArnException,
        Code::InvalidGrantIdException,
        Code::InvalidMarkerException,
        Code::KMSInvalidStateException,
        Code::NotFoundException,
    ];
    type Response = ListGrantsResponse;

    async fn run(self, cx: &Cx<'_>) -> Result<ListGrantsResponse, KmsError> {
        let grantee = party(self.grantee, self.grantee_service)?;
        let wanted = self.grant_id.as_ref().map(GrantIdText::checked).transpose()?;
        let key = cx.authorize_key(Action::ListGrants, &self.key_id.0, &RequestFacts::default())?;
        let request = page_request(self.limit.unwrap_or(Int(50)), self.marker);
        let list = list_name(key.arn(), grantee.as_ref(), wanted);
        let after = request.after(&list)?.map(|text| GrantId::parse(&text).ok_or_else(invalid_marker)).transpose()?;
        let grants = match wanted {
            None => cx.grants_after(&key, grantee.as_ref(), after, request.limit + 1),
            Some(id) => cx.grant_of(&key, id).into_iter().filter(|grant| is_of(grant, grantee.as_ref())).collect(),
        };
        let page = request.cut(&list, grants.into_iter(), |grant| grant.id.to_string());
        Ok(ListGrantsResponse::of(page, cx.realm()))
    }
}

fn is_of(grant: &Grant, grantee: Option<&Party>) -> bool {
    grantee.is_none_or(|party| grant.terms.grantee == *party)
}

/// The name of the list to which its markers are bound: the key and the filters.
fn list_name(arn: &str, grantee: Option<&Party>, wanted: Option<GrantId>) -> String {
    let grantee = grantee.map(Party::as_str).unwrap_or_default();
    let wanted = wanted.map(|id| id.to_string()).unwrap_or_default();
    format!("grants {arn} {grantee} {wanted}")
}
