//! The `Principal` element: whom a statement of a key policy is about.

use crate::{
    arn::AccountId,
    principal::{Naming, Principal, is_federated_user, is_plain},
};

/// One principal that a statement names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Element {
    /// `*`: every identity of every account.
    Everyone,
    /// An account in any partition, by its digits alone.
    Account(AccountId),
    /// An account by the ARN of its root, a user, a role with all its sessions, or one session.
    One(Principal),
    /// A service, a federated identity or a canonical user: legal, and none of them calls us.
    Nobody,
}

impl Element {
    /// Reads a value of `"AWS"`; `None` for what no policy may name: groups, wildcards within an ARN, unknown forms.
    pub(super) fn aws(text: &str) -> Option<Self> {
        if text == "*" {
            return Some(Self::Everyone);
        }
        if let Ok(id) = AccountId::try_from(text.to_owned()) {
            return Some(Self::Account(id));
        }
        if text.contains(['*', '?']) {
            return None;
        }
        if is_federated_user(text) {
            return Some(Self::Nobody);
        }
        Principal::try_from(text.to_owned()).ok().map(Self::One)
    }

    /// Reads a value of `"Service"`, such as `logs.eu-west-1.amazonaws.com`.
    pub(super) fn service(text: &str) -> Option<Self> {
        let letters = |label: &str| label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        let well_formed = text.contains('.') && text.split('.').all(|label| !label.is_empty() && letters(label));
        well_formed.then_some(Self::Nobody)
    }

    /// Reads a value of `"Federated"` or `"CanonicalUser"`.
    pub(super) fn foreign(text: &str) -> Option<Self> {
        (is_plain(text) && !text.contains(['*', '?'])).then_some(Self::Nobody)
    }

    /// How closely this names `caller`; none if it does not.
    pub(super) fn names(&self, caller: &Principal) -> Option<Naming> {
        match self {
            Self::Everyone => Some(Naming::Itself),
            Self::Nobody => None,
            Self::One(named) => named.names(caller),
            Self::Account(id) => (id == caller.account()).then_some(caller.named_by_account()),
        }
    }
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
            "arn:aws:iam::111122223333:user/a\u{7}da",
            "arn:aws:iam::111122223333:role/Ops ",
            "arn:aws:iam::111122223333:user/\u{e4}da",
            "arn:aws:sts::111122223333:assumed-role/Ops/mon\nday",
            "arn:aws:sts::111122223333:federated-user/a\tda",
        ] {
            assert_eq!(Element::aws(bad), None, "{bad}");
        }
        for bad in ["", "*", "amazonaws", "*.amazonaws.com", "logs..com", "logs.amazonaws.com "] {
            assert_eq!(Element::service(bad), None, "{bad}");
        }
        assert_eq!(Element::service("logs.eu-west-1.amazonaws.com"), Some(Element::Nobody));
        assert_eq!(Element::foreign("*"), None);
        assert_eq!(Element::foreign("a b"), None);
    }
}
