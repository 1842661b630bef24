//! The `Principal` element: whom a statement of a key policy is about.

use crate::{
    arn::{AccountId, Arn},
    principal::{Kind, Principal},
};

/// One principal that a statement names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Element {
    /// `*`: every identity of every account.
    Everyone,
    /// An account, by the ARN of its root or by its digits alone.
    Account {
        /// Of the ARN; digits alone name the account in any partition.
        partition: Option<String>,
        /// The account.
        id: AccountId,
    },
    /// A user, a role with all its sessions, or one session.
    One(Principal),
    /// A service, a federated identity or a canonical user: legal, and none of them calls us.
    Nobody,
}

/// How closely an element names a caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Naming {
    /// Its account is named: the account may hand the permission on by its identity policies.
    Account,
    /// It is named itself, or its role, or everyone.
    Itself,
}

impl Element {
    /// Reads a value of `"AWS"`; `None` for what no policy may name: groups, wildcards within an ARN, unknown forms.
    pub(super) fn aws(text: &str) -> Option<Self> {
        if text == "*" {
            return Some(Self::Everyone);
        }
        if let Ok(id) = AccountId::try_from(text.to_owned()) {
            return Some(Self::Account { partition: None, id });
        }
        if text.contains(['*', '?']) {
            return None;
        }
        if is_federated_user(text) {
            return Some(Self::Nobody);
        }
        let principal = Principal::try_from(text.to_owned()).ok()?;
        Some(match principal.kind() {
            Kind::Root => {
                Self::Account { partition: Some(partition(&principal).to_owned()), id: principal.account().clone() }
            }
            _ => Self::One(principal),
        })
    }

    /// Reads a value of `"Service"`, such as `logs.eu-west-1.amazonaws.com`.
    pub(super) fn service(text: &str) -> Option<Self> {
        let letters = |label: &str| label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        let well_formed = text.contains('.') && text.split('.').all(|label| !label.is_empty() && letters(label));
        well_formed.then_some(Self::Nobody)
    }

    /// Reads a value of `"Federated"` or `"CanonicalUser"`.
    pub(super) fn foreign(text: &str) -> Option<Self> {
        (!text.is_empty() && !text.contains(['*', '?'])).then_some(Self::Nobody)
    }

    /// Whether and how closely this names `caller`.
    pub(super) fn names(&self, caller: &Principal) -> Option<Naming> {
        match self {
            Self::Everyone => Some(Naming::Itself),
            Self::Nobody => None,
            Self::One(named) => (named.arn() == caller.arn() || is_session_of(named, caller)).then_some(Naming::Itself),
            Self::Account { partition: wanted, id } => {
                let inside =
                    id == caller.account() && wanted.as_deref().is_none_or(|wanted| wanted == partition(caller));
                // The root user is the account.
                let naming = if *caller.kind() == Kind::Root { Naming::Itself } else { Naming::Account };
                inside.then_some(naming)
            }
        }
    }
}

/// Whether `caller` is a session of the role `named`. Sessions do not carry the role's path; names are unique without it.
fn is_session_of(named: &Principal, caller: &Principal) -> bool {
    match (named.kind(), caller.kind()) {
        (Kind::Role { name }, Kind::Session { role }) => {
            name == role && named.account() == caller.account() && partition(named) == partition(caller)
        }
        _ => false,
    }
}

fn partition(principal: &Principal) -> &str {
    Arn::parse(principal.arn()).map_or("", |arn| arn.partition)
}

/// `arn:…:sts::ACCOUNT:federated-user/NAME`: a principal that AWS knows and we do not issue.
fn is_federated_user(text: &str) -> bool {
    let Some(arn) = Arn::parse(text) else { return false };
    let name = arn.resource.strip_prefix("federated-user/");
    (arn.service, arn.region) == ("sts", "")
        && AccountId::try_from(arn.account.to_owned()).is_ok()
        && name.is_some_and(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn principal(arn: &str) -> Principal {
        Principal::try_from(arn.to_owned()).expect("a principal")
    }

    #[test]
    fn who_names_whom() {
        let user = "arn:aws:iam::111122223333:user/team/ada";
        let role = "arn:aws:iam::111122223333:role/path/Ops";
        let session = "arn:aws:sts::111122223333:assumed-role/Ops/monday";
        let root = "arn:aws:iam::111122223333:root";
        let (itself, account) = (Some(Naming::Itself), Some(Naming::Account));
        for (element, caller, expected) in [
            ("*", user, itself),
            (user, user, itself),
            (user, role, None),
            ("arn:aws:iam::111122223333:user/ada", user, None),
            (role, role, itself),
            (role, session, itself),
            ("arn:aws:iam::111122223333:role/Ops", session, itself),
            ("arn:aws:iam::444455556666:role/Ops", session, None),
            ("arn:aws-cn:iam::111122223333:role/Ops", session, None),
            ("arn:aws:iam::111122223333:role/Op", session, None),
            (session, session, itself),
            ("arn:aws:sts::111122223333:assumed-role/Ops/tuesday", session, None),
            (session, role, None),
            (root, root, itself),
            (root, user, account),
            (root, session, account),
            ("111122223333", root, itself),
            ("111122223333", user, account),
            ("444455556666", user, None),
            ("arn:aws-cn:iam::111122223333:root", user, None),
            ("arn:aws:sts::111122223333:federated-user/ada", user, None),
        ] {
            let parsed = Element::aws(element).expect(element);
            assert_eq!(parsed.names(&principal(caller)), expected, "{element} names {caller}");
        }
    }

    #[test]
    fn what_no_policy_may_name() {
        for bad in [
            "",
            "ada",
            "11112222333",
            "arn:aws:iam::111122223333:group/Admins",
            "arn:aws:iam::111122223333:user/*",
            "arn:aws:iam::111122223333:*",
            "arn:aws:iam::11112222333?:root",
            "arn:aws:iam::1111:root",
            "arn:aws:sts::111122223333:assumed-role/Ops",
            "arn:aws:sts::111122223333:federated-user/",
            "arn:aws:kms:eu-west-1:111122223333:key/k",
        ] {
            assert_eq!(Element::aws(bad), None, "{bad}");
        }
        for bad in ["", "*", "amazonaws", "*.amazonaws.com", "logs..com", "logs.amazonaws.com "] {
            assert_eq!(Element::service(bad), None, "{bad}");
        }
        assert_eq!(Element::service("logs.eu-west-1.amazonaws.com"), Some(Element::Nobody));
        assert_eq!(Element::foreign("*"), None);
    }
}
