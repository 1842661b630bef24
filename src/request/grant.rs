//! Members that are about grants.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::{Faults, Member, Path, Text, inner, list::list, structure, text::SourceArn};
use crate::{
    error::{Code, KmsError},
    key::{
        context::EncryptionContext,
        grant::{Constraints, ContextConstraint, GrantId, GrantOperation},
    },
    request::Json,
};

/// GrantTokenType: whoever has it may show it, so nobody is shown it.
pub struct GrantTokenText(pub String);

impl Member for GrantTokenText {
    fn read(json: &Json<'_>, path: &Path<'_>, faults: &mut Faults) -> Option<Self> {
        Text::<1, 8192>::read(json, path, faults).map(|Text(token)| Self(token))
    }

    fn shown(&self) -> Option<Value> {
        None
    }
}

/// GrantTokenList: texts, which are opened where the caller is authorized.
#[derive(Default)]
pub struct GrantTokens(pub Vec<String>);

impl Member for GrantTokens {
    fn read(json: &Json<'_>, path: &Path<'_>, faults: &mut Faults) -> Option<Self> {
        let tokens: Vec<GrantTokenText> = list(json, 0, 10, path, faults)?;
        Some(Self(tokens.into_iter().map(|GrantTokenText(token)| token).collect()))
    }

    fn shown(&self) -> Option<Value> {
        None
    }
}

/// GrantOperationList: at least one.
pub struct GrantOperations(pub BTreeSet<GrantOperation>);

impl Member for GrantOperations {
    fn read(json: &Json<'_>, path: &Path<'_>, faults: &mut Faults) -> Option<Self> {
        let operations: Vec<GrantOperation> = list(json, 1, usize::MAX, path, faults)?;
        Some(Self(operations.into_iter().collect()))
    }

    fn shown(&self) -> Option<Value> {
        Some(self.0.iter().map(|operation| operation.as_str()).collect())
    }
}

/// GrantIdType.
pub struct GrantIdText(Text<1, 128>);

impl Member for GrantIdText {
    fn read(json: &Json<'_>, path: &Path<'_>, faults: &mut Faults) -> Option<Self> {
        Text::read(json, path, faults).map(Self)
    }

    fn shown(&self) -> Option<Value> {
        self.0.shown()
    }
}

impl GrantIdText {
    /// The id, if it could be one.
    ///
    /// # Errors
    /// `InvalidGrantIdException`.
    pub fn checked(&self) -> Result<GrantId, KmsError> {
        let Text(text) = &self.0;
        GrantId::parse(text).ok_or_else(|| KmsError::bare(Code::InvalidGrantIdException))
    }
}

/// GrantConstraints, as they come.
#[derive(Default)]
pub struct GrantConstraints {
    subset: Option<ConstraintPairs>,
    equals: Option<ConstraintPairs>,
    source_arn: Option<SourceArn>,
}

/// The members of GrantConstraints.
const SUBSET: &str = "EncryptionContextSubset";
const EQUALS: &str = "EncryptionContextEquals";
const SOURCE_ARN: &str = "SourceArn";

impl Member for GrantConstraints {
    fn read(json: &Json<'_>, path: &Path<'_>, faults: &mut Faults) -> Option<Self> {
        let members = structure(json, faults)?;
        // A grant without a constraint that somebody wrote down would allow more than they meant.
        if !members.keys().all(|name| [SUBSET, EQUALS, SOURCE_ARN].contains(&name.as_ref())) {
            return faults.invalid("Constraints has a member that is not supported.");
        }
        let subset = inner(json, path, SUBSET, faults);
        let equals = inner(json, path, EQUALS, faults);
        let source_arn = inner(json, path, SOURCE_ARN, faults);
        Some(Self { subset: subset?, equals: equals?, source_arn: source_arn? })
    }

    /// CloudTrail has the names of the wire here.
    fn shown(&self) -> Option<Value> {
        let pairs = |pairs: &ConstraintPairs| pairs.shown();
        let members = [
            (SUBSET, self.subset.as_ref().and_then(pairs)),
            (EQUALS, self.equals.as_ref().and_then(pairs)),
            (SOURCE_ARN, self.source_arn.as_ref().and_then(Member::shown)),
        ];
        let members = members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
        Some(Value::Object(Map::from_iter(members)))
    }
}

impl GrantConstraints {
    /// The constraints, if they can be met together.
    ///
    /// # Errors
    /// `ValidationException`.
    pub fn checked(self) -> Result<Constraints, KmsError> {
        let pairs = |ConstraintPairs(context): ConstraintPairs| context.pairs().clone();
        let context = match (self.subset, self.equals) {
            (Some(_), Some(_)) => return Err(KmsError::invalid("More than one constraint supplied")),
            (Some(subset), None) => Some(ContextConstraint::Subset(pairs(subset))),
            (None, equals) => equals.map(pairs).map(ContextConstraint::Equals),
        };
        Ok(Constraints { context, source_arn: self.source_arn.map(|SourceArn(arn)| arn) })
    }
}

/// Pairs of a constraint: at most eight, with values of at most 384 characters (AWS KMS: CreateGrant, "Constraints").
struct ConstraintPairs(EncryptionContext);

impl Member for ConstraintPairs {
    fn read(json: &Json<'_>, path: &Path<'_>, faults: &mut Faults) -> Option<Self> {
        let context = EncryptionContext::read(json, path, faults)?;
        if context.pairs().len() > 8 {
            return faults.invalid("Each grant constraint can include up to 8 encryption context pairs.");
        }
        if context.pairs().values().any(|value| value.chars().count() > 384) {
            return faults
                .invalid("The encryption context value in each grant constraint cannot exceed 384 characters.");
        }
        Some(Self(context))
    }

    fn shown(&self) -> Option<Value> {
        self.0.shown()
    }
}
