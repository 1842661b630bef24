//! Who a call comes from: the IAM and STS forms of a principal's ARN.

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
    kind: Kind,
}

/// What kind of principal an ARN names.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Kind {
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

impl Principal {
    /// The ARN.
    pub fn arn(&self) -> &str {
        &self.0.arn
    }

    /// The account it belongs to.
    pub fn account(&self) -> &AccountId {
        &self.0.account
    }

    /// What it is.
    pub fn kind(&self) -> &Kind {
        &self.0.kind
    }
}

impl TryFrom<String> for Principal {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let unknown = || format!("`{text}` is not the ARN of a root, user, role or assumed-role session");
        let arn = Arn::parse(&text).ok_or_else(unknown)?;
        let account = AccountId::try_from(arn.account.to_owned()).map_err(|_| unknown())?;
        let last = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
        let kind = match (arn.service, arn.region, arn.resource.split_once('/')) {
            ("iam", "", None) if arn.resource == "root" => Kind::Root,
            ("iam", "", Some(("user", path))) if !last(path).is_empty() => Kind::User { name: last(path) },
            ("iam", "", Some(("role", path))) if !last(path).is_empty() => Kind::Role { name: last(path) },
            ("sts", "", Some(("assumed-role", path))) => match path.split_once('/') {
                Some((role, session)) if !role.is_empty() && !session.is_empty() => {
                    Kind::Session { role: role.to_owned() }
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
