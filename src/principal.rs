//! Principals: the IAM and STS forms of their ARNs.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::arn::{AccountId, Arn};

/// A principal: account root, user, role, or a session of a role. A clone is another hold on the same one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Principal(Arc<Parts>);

#[derive(Debug, PartialEq, Eq, Hash)]
struct Parts {
    arn: String,
    account: AccountId,
    kind: PrincipalKind,
}

/// The kind of principal that an ARN names.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum PrincipalKind {
    /// `arn:…:iam::ACCOUNT:root`.
    Root,
    /// `arn:…:iam::ACCOUNT:user/[PATH/]NAME`.
    User {
        /// The last part of the name.
        name: String,
    },
    /// `arn:…:iam::ACCOUNT:role/[PATH/]NAME`.
    Role {
        /// The last part of the name.
        name: String,
    },
    /// `arn:…:sts::ACCOUNT:assumed-role/ROLE/SESSION`.
    Session {
        /// Name of the role, without its path.
        role: String,
    },
}

/// How closely a policy or a grant names a caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Naming {
    /// Its account is named: the account may hand the permission on by its identity policies.
    Account,
    /// It is named itself, or its role, or everyone.
    Itself,
}

impl Principal {
    /// The ARN.
    pub fn arn(&self) -> &str {
        &self.0.arn
    }

    /// The account it belongs to.
    pub fn account(&self) -> &AccountId {
        &self.0.account
    }

    /// The kind of principal.
    pub fn kind(&self) -> &PrincipalKind {
        &self.0.kind
    }

    /// The partition of its ARN.
    pub fn partition(&self) -> &str {
        self.arn().split(':').nth(1).unwrap_or_default()
    }

    /// How closely this principal, in a policy or a grant, names `caller`, if it does: a principal names itself, a role also all its
    /// sessions, and a root its whole account.
    pub fn names(&self, caller: &Self) -> Option<Naming> {
        match self.kind() {
            PrincipalKind::Root => {
                let inside = self.account() == caller.account() && self.partition() == caller.partition();
                inside.then_some(caller.named_by_account())
            }
            _ => (self.arn() == caller.arn() || caller.is_session_of(self)).then_some(Naming::Itself),
        }
    }

    /// How closely it is named where its account is: the root user is the account.
    pub fn named_by_account(&self) -> Naming {
        if *self.kind() == PrincipalKind::Root { Naming::Itself } else { Naming::Account }
    }

    /// Checks that IAM would take its names (IAM: CreateUser, CreateRole; STS: AssumeRole). Policies may name others.
    ///
    /// # Errors
    /// If a name is not valid; the text says which, and why.
    pub fn check_names(&self) -> Result<(), String> {
        let resource = Arn::parse(self.arn()).map_or("", |arn| arn.resource);
        let (path, name) =
            resource.split_once('/').map_or(("", ""), |(_, path)| path.rsplit_once('/').unwrap_or(("", path)));
        let wrong =
            |name: &str| Err(format!("`{name}` is no name for a principal: 1 to 64 letters, digits and _+=,.@-"));
        match self.kind() {
            PrincipalKind::Root => Ok(()),
            PrincipalKind::User { .. } | PrincipalKind::Role { .. } if path.len() > LONGEST_PATH => {
                Err(format!("the path of a principal has at most {LONGEST_PATH} characters"))
            }
            PrincipalKind::User { name } | PrincipalKind::Role { name } if !is_iam_name(name, LONGEST_NAME) => {
                wrong(name)
            }
            PrincipalKind::Session { role } if !is_iam_name(role, LONGEST_NAME) => wrong(role),
            PrincipalKind::Session { .. } if name.len() < 2 || !is_iam_name(name, LONGEST_NAME) => wrong(name),
            _ => Ok(()),
        }
    }

    /// True if IAM could not have both: names of users, and of roles, must differ in more than path and case.
    pub fn is_namesake_of(&self, other: &Self) -> bool {
        match (self.kind(), other.kind()) {
            (PrincipalKind::User { name }, PrincipalKind::User { name: another })
            | (PrincipalKind::Role { name }, PrincipalKind::Role { name: another }) => {
                name.eq_ignore_ascii_case(another)
            }
            _ => self == other,
        }
    }

    /// Sessions do not carry the role's path; names are unique without it.
    fn is_session_of(&self, named: &Self) -> bool {
        match (named.kind(), self.kind()) {
            (PrincipalKind::Role { name }, PrincipalKind::Session { role }) => {
                name == role && named.account() == self.account() && named.partition() == self.partition()
            }
            _ => false,
        }
    }

    /// The key of this principal in an index: its ARN, for a role without the path.
    pub fn index_key(&self) -> String {
        match self.kind() {
            PrincipalKind::Role { name } => self.role_arn(name),
            _ => self.arn().to_owned(),
        }
    }

    /// The index keys of all principals that name this caller.
    pub fn index_keys_of_names(&self) -> Vec<String> {
        let account = format!("arn:{}:iam::{}:root", self.partition(), self.account());
        match self.kind() {
            PrincipalKind::Root => vec![account],
            PrincipalKind::Session { role } => vec![self.index_key(), self.role_arn(role), account],
            PrincipalKind::User { .. } | PrincipalKind::Role { .. } => vec![self.index_key(), account],
        }
    }

    fn role_arn(&self, name: &str) -> String {
        format!("arn:{}:iam::{}:role/{name}", self.partition(), self.account())
    }
}

/// The longest name of a user, a role or a session, in characters.
const LONGEST_NAME: usize = 64;
/// The longest path, with its slashes at both ends left out.
const LONGEST_PATH: usize = 510;

/// True if IAM would accept `text` as the name of a policy (IAM: PutUserPolicy).
pub fn is_policy_name(text: &str) -> bool {
    is_iam_name(text, 128)
}

/// True if `text` can be an access key id (IAM: AccessKey). IAM's minimum of 16 characters is not required.
pub fn is_access_key_id(text: &str) -> bool {
    (1..=128).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn is_iam_name(text: &str, max: usize) -> bool {
    let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || b"_+=,.@-".contains(&byte);
    (1..=max).contains(&text.len()) && text.bytes().all(is_of_name)
}

/// True if `text` is visible ASCII, as the paths of IAM are; its names are narrower still.
pub fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// True if `text` is `arn:…:sts::ACCOUNT:federated-user/NAME`, a principal of AWS that Strongroom never authenticates.
pub fn is_federated_user(text: &str) -> bool {
    let Some(arn) = Arn::parse(text) else { return false };
    let name = arn.resource.strip_prefix("federated-user/");
    (arn.service, arn.region) == ("sts", "")
        && AccountId::try_from(arn.account.to_owned()).is_ok()
        && name.is_some_and(is_plain)
}

impl TryFrom<String> for Principal {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let unknown = || format!("`{text}` is not the ARN of a root, user, role or assumed-role session");
        let arn = Arn::parse(&text).filter(|_| is_plain(&text)).ok_or_else(unknown)?;
        let account = AccountId::try_from(arn.account.to_owned()).map_err(|_| unknown())?;
        let last = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
        let kind = match (arn.service, arn.region, arn.resource.split_once('/')) {
            ("iam", "", None) if arn.resource == "root" => PrincipalKind::Root,
            ("iam", "", Some(("user", path))) if !last(path).is_empty() => PrincipalKind::User { name: last(path) },
            ("iam", "", Some(("role", path))) if !last(path).is_empty() => PrincipalKind::Role { name: last(path) },
            ("sts", "", Some(("assumed-role", path))) => match path.split_once('/') {
                Some((role, session)) if !role.is_empty() && !session.is_empty() => {
                    PrincipalKind::Session { role: role.to_owned() }
                }
                _ => return Err(unknown()),
            },
            _ => return Err(unknown()),
        };
        Ok(Self(Arc::new(Parts { account, kind, arn: text })))
    }
}

impl From<Principal> for String {
    fn from(principal: Principal) -> Self {
        principal.0.arn.clone()
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.arn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn principal(arn: &str) -> Principal {
        Principal::try_from(arn.to_owned()).expect("a principal")
    }

    #[test]
    fn whoever_names_a_caller_is_found_under_its_names() {
        let all = [
            "arn:aws:iam::111122223333:root",
            "arn:aws:iam::111122223333:user/team/ada",
            "arn:aws:iam::111122223333:user/ada",
            "arn:aws:iam::111122223333:role/path/Ops",
            "arn:aws:iam::111122223333:role/Ops",
            "arn:aws:sts::111122223333:assumed-role/Ops/monday",
            "arn:aws:sts::111122223333:assumed-role/Ops/tuesday",
            "arn:aws:iam::444455556666:root",
            "arn:aws:iam::444455556666:role/Ops",
            "arn:aws-cn:iam::111122223333:root",
            "arn:aws-cn:sts::111122223333:assumed-role/Ops/monday",
        ];
        for (named, caller) in all.iter().flat_map(|named| all.iter().map(move |caller| (named, caller))) {
            let (named, caller) = (principal(named), principal(caller));
            let found = caller.index_keys_of_names().contains(&named.index_key());
            assert!(found || named.names(&caller).is_none(), "{named} names {caller} and is not found");
        }
    }

    #[test]
    fn names_that_iam_refuses_are_refused() {
        let check = |resource: &str| principal(&format!("arn:aws:iam::111122223333:{resource}")).check_names();
        let long = "x".repeat(65);
        for good in ["root", "user/ada", "user/team/a+b=c,d.e@f-g_h", "role/path/Ops", &format!("user/{}", &long[1..])]
        {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in [
            "user/a:b",
            "user/a*",
            "role/a$b",
            "user/(x)",
            &format!("user/{long}"),
            &format!("user/{}/a", "p".repeat(511)),
        ] {
            assert!(check(bad).is_err(), "{bad}");
        }
        let session = |name: &str| principal(&format!("arn:aws:sts::111122223333:assumed-role/{name}")).check_names();
        assert_eq!(session("Ops/monday"), Ok(()));
        assert!(session("Ops/m").is_err() && session("O*/monday").is_err());
        assert!(
            is_policy_name(&"p".repeat(128))
                && !is_policy_name(&"p".repeat(129))
                && !is_policy_name("a b")
                && !is_policy_name("")
        );
        assert!(is_access_key_id("AKIA_1") && !is_access_key_id("AKIA/1") && !is_access_key_id(""));
    }
}
