//! Policy documents: parsed once, strictly, into a form that answers without parsing again.
//!
//! Nothing in a policy is ever skipped. What we do not understand, and what we do not support yet, makes the whole
//! document malformed: a policy that is half read says something its author did not.
//!
//! Conditions are refused as malformed until they are decided, so nothing that was written is ever ignored.

use std::fmt;

use super::{
    Request, Resource,
    pattern::{self, Actions},
    principal::Element,
    raw::{Effect, Many, PolicyString, RawDocument, RawPrincipal, RawStatement},
};
use crate::{
    error::{Code, KmsError},
    principal::{Naming, Principal},
};

/// Bytes of a policy text (AWS KMS: "Resource quotas", key policy document size).
const MAX_BYTES: usize = 32_768;

/// Statements of a policy: far more than a readable one has.
const MAX_STATEMENTS: usize = 500;

/// Characters of a reason that we give for refusing a policy, because it may quote the policy.
const MAX_REASON: usize = 300;

/// A key policy or an identity policy, compiled.
#[derive(Debug, Clone)]
pub struct Document {
    statements: Box<[Statement]>,
}

/// The verdict of a policy on a request. The greatest of several wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Verdict {
    /// Nothing.
    Silent,
    /// The caller's account may allow it by identity policies.
    Delegates,
    /// Yes.
    Allows,
    /// No, whatever else says yes.
    Denies,
}

impl Document {
    /// Compiles the policy of a key. Every statement says whom it is about.
    pub fn key_policy(text: &str) -> Result<Self, KmsError> {
        compile(text, |raw| {
            let who = Who::read(raw.principal, raw.not_principal)?;
            // AWS accepts a statement that lacks either, and it has no effect.
            let actions = either(raw.action, raw.not_action, "Action")?;
            let resources = either(raw.resource, raw.not_resource, "Resource")?;
            Ok(Statement {
                effect: raw.effect,
                who,
                actions: actions.map_or(Ok(Actions::default()), read_actions)?,
                resources: resources.map_or(Ok(Resources::none()), Resources::read)?,
            })
        })
    }

    /// Compiles a policy attached to an identity. It is about that identity, so no statement names a principal.
    pub fn identity_policy(text: &str) -> Result<Self, KmsError> {
        compile(text, |raw| {
            if raw.principal.is_some() || raw.not_principal.is_some() {
                return Err(malformed("an identity policy has no `Principal`"));
            }
            let missing = |name: &str| malformed(format!("a statement lacks `{name}`"));
            let actions = either(raw.action, raw.not_action, "Action")?.ok_or_else(|| missing("Action"))?;
            let resources = either(raw.resource, raw.not_resource, "Resource")?.ok_or_else(|| missing("Resource"))?;
            Ok(Statement {
                effect: raw.effect,
                who: Who::Bearer,
                actions: read_actions(actions)?,
                resources: Resources::read(resources)?,
            })
        })
    }

    /// The verdict of this policy on `request`.
    pub(super) fn verdict(&self, request: &Request<'_>) -> Verdict {
        self.statements.iter().map(|statement| statement.verdict(request)).max().unwrap_or(Verdict::Silent)
    }
}

/// Lets `decide` take plain documents as well as shared ones.
impl AsRef<Document> for Document {
    fn as_ref(&self) -> &Document {
        self
    }
}

#[derive(Debug, Clone)]
struct Statement {
    effect: Effect,
    who: Who,
    actions: Actions,
    resources: Resources,
}

impl Statement {
    fn verdict(&self, request: &Request<'_>) -> Verdict {
        if !self.actions.contains(request.action) || !self.resources.cover(&request.resource) {
            return Verdict::Silent;
        }
        match (self.effect, self.who.covers(request.principal, self.effect)) {
            (_, None) => Verdict::Silent,
            (Effect::Deny, Some(_)) => Verdict::Denies,
            (Effect::Allow, Some(Naming::Account)) => Verdict::Delegates,
            (Effect::Allow, Some(Naming::Itself)) => Verdict::Allows,
        }
    }
}

/// Whom a statement is about.
#[derive(Debug, Clone)]
enum Who {
    /// The identity that the policy is attached to.
    Bearer,
    /// `Principal`.
    These(Vec<Element>),
    /// `NotPrincipal`.
    AllBut(Vec<Element>),
}

impl Who {
    fn read(principal: Option<RawPrincipal>, not_principal: Option<RawPrincipal>) -> Result<Self, KmsError> {
        match (principal, not_principal) {
            (Some(these), None) => Ok(Self::These(elements(these)?)),
            (None, Some(those)) => Ok(Self::AllBut(elements(those)?)),
            (None, None) => Err(malformed("a statement lacks `Principal`")),
            (Some(_), Some(_)) => Err(malformed("a statement has both `Principal` and `NotPrincipal`")),
        }
    }

    fn covers(&self, caller: &Principal, effect: Effect) -> Option<Naming> {
        match self {
            Self::Bearer => Some(Naming::Itself),
            Self::These(elements) => closest(elements, caller),
            Self::AllBut(elements) => (!excepts(closest(elements, caller), effect)).then_some(Naming::Itself),
        }
    }
}

fn elements(raw: RawPrincipal) -> Result<Vec<Element>, KmsError> {
    let RawPrincipal { aws, service, federated, canonical_user } = raw;
    let read = |values: Option<Many<PolicyString>>, one: fn(&str) -> Option<Element>| {
        values.into_iter().flat_map(|many| many.0).map(move |PolicyString(text)| one(&text))
    };
    let elements: Option<Vec<Element>> = read(aws, Element::aws)
        .chain(read(service, Element::service))
        .chain(read(federated, Element::foreign))
        .chain(read(canonical_user, Element::foreign))
        .collect();
    elements.filter(|elements| !elements.is_empty()).ok_or_else(invalid_principals)
}

/// How closely the closest of `elements` names `caller`.
fn closest(elements: &[Element], caller: &Principal) -> Option<Naming> {
    elements.iter().filter_map(|element| element.names(caller)).max()
}

/// True if `NotPrincipal` takes out a caller whom it names so closely.
///
/// An account there is ambiguous: AWS's guide lists a user's account beside the user to except that user alone from a
/// Deny. The reading that refuses more holds: a named account excepts all its principals from an Allow, and none but
/// its root user from a Deny.
fn excepts(naming: Option<Naming>, effect: Effect) -> bool {
    match effect {
        Effect::Allow => naming.is_some(),
        Effect::Deny => naming == Some(Naming::Itself),
    }
}

/// Which resources a statement is about.
#[derive(Debug, Clone)]
struct Resources {
    patterns: Vec<String>,
    /// `NotResource`.
    inverted: bool,
}

impl Resources {
    fn none() -> Self {
        Self { patterns: Vec::new(), inverted: false }
    }

    fn read(values: Values) -> Result<Self, KmsError> {
        for pattern in &values.list {
            if pattern != "*" && !pattern.starts_with("arn:") {
                return Err(malformed(format!("the resource `{pattern}` is neither `*` nor an ARN")));
            }
            if pattern.contains("${") {
                return Err(malformed("policy variables are not supported yet"));
            }
        }
        Ok(Self { patterns: values.list, inverted: values.inverted })
    }

    /// An operation without a resource is performed on `*`, which only the pattern `*` covers.
    fn cover(&self, resource: &Resource<'_>) -> bool {
        self.patterns.iter().any(|pattern| pattern::matches(pattern, resource.text())) != self.inverted
    }
}

fn read_actions(values: Values) -> Result<Actions, KmsError> {
    let mut all = Actions::default();
    for pattern in &values.list {
        let some = Actions::of(pattern)
            .ok_or_else(|| malformed(format!("the action `{pattern}` is neither `*` nor `service:name`")))?;
        all = all.with(some);
    }
    Ok(if values.inverted { all.complement() } else { all })
}

/// An element's values, or those of its `Not…` twin.
struct Values {
    list: Vec<String>,
    inverted: bool,
}

fn either(
    plain: Option<Many<PolicyString>>,
    not: Option<Many<PolicyString>>,
    name: &str,
) -> Result<Option<Values>, KmsError> {
    let list = |many: Many<PolicyString>| many.0.into_iter().map(|PolicyString(text)| text).collect();
    match (plain, not) {
        (Some(_), Some(_)) => Err(malformed(format!("a statement has both `{name}` and `Not{name}`"))),
        (Some(many), None) => Ok(Some(Values { list: list(many), inverted: false })),
        (None, Some(many)) => Ok(Some(Values { list: list(many), inverted: true })),
        (None, None) => Ok(None),
    }
}

fn compile(text: &str, read: impl Fn(RawStatement) -> Result<Statement, KmsError>) -> Result<Document, KmsError> {
    if text.len() > MAX_BYTES {
        let message = format!("The policy must not be longer than {MAX_BYTES} bytes.");
        return Err(KmsError::new(Code::LimitExceededException, message));
    }
    if let Some(c) = text.chars().find(|c| !matches!(c, '\t' | '\n' | '\r' | ' '..='\u{ff}')) {
        return Err(malformed(format!("the character {} is not allowed", c.escape_unicode())));
    }
    let Many(statements) = RawDocument::parse(text).map_err(malformed)?.statement;
    if statements.len() > MAX_STATEMENTS {
        return Err(malformed(format!("it has more than {MAX_STATEMENTS} statements")));
    }
    Ok(Document { statements: statements.into_iter().map(read).collect::<Result<_, _>>()? })
}

fn malformed(reason: impl fmt::Display) -> KmsError {
    let reason: String = reason.to_string().chars().take(MAX_REASON).collect();
    KmsError::new(Code::MalformedPolicyDocumentException, format!("The policy is malformed: {reason}"))
}

fn invalid_principals() -> KmsError {
    let message = "Policy contains a statement with one or more invalid principals.";
    KmsError::new(Code::MalformedPolicyDocumentException, message)
}
