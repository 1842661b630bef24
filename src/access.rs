//! The only road from "the caller said" to "the HSM does": [`Resolved`] → [`Authorized`] → [`Usable`].
//!
//! Each has one way in, the step before it, so an operation that forgets a check does not compile. Nothing of a key can
//! be read before it is authorized.

use std::sync::Arc;

use crate::{
    action::Action,
    arn::{AccountId, Realm},
    error::{Code, KmsError},
    key::{
        Key,
        algorithm::Algorithm,
        material::{Material, MaterialId},
        reference::KeyId,
        spec::{EncryptionAlgorithm, KeyUsage},
        state::Demand,
    },
    policy::{self, Decision, Document, Resource},
    principal::Principal,
};

/// A key and its key policy, compiled.
#[derive(Debug)]
pub struct KeyEntry {
    /// The key.
    pub key: Key,
    /// Its policy.
    pub policy: Document,
}

/// Who asks, and what identity policies give them.
#[derive(Clone)]
pub struct Caller {
    /// The principal.
    pub principal: Principal,
    /// The policies attached to it.
    pub policies: Vec<Arc<Document>>,
}

/// A key that was found. That is all that can be known of it.
pub struct Resolved {
    entry: Arc<KeyEntry>,
    arn: String,
    owner: AccountId,
}

impl Resolved {
    /// A key found in `realm`.
    pub fn new(entry: Arc<KeyEntry>, realm: &Realm) -> Self {
        Self { arn: entry.key.arn(realm), owner: realm.account.clone(), entry }
    }

    /// The key ARN, which the caller named or could have named.
    pub fn arn(&self) -> &str {
        &self.arn
    }

    /// The key id, which is in the ARN.
    pub fn id(&self) -> KeyId {
        self.entry.key.id
    }

    /// Lets `caller` do `action` with this key, if the policies do.
    ///
    /// # Errors
    /// `AccessDeniedException`.
    pub fn authorize(self, caller: &Caller, action: Action) -> Result<Authorized, KmsError> {
        let resource = Resource::Key { arn: &self.arn, owner: &self.owner };
        decide(caller, action, resource, Some(&self.entry.policy))?;
        Ok(Authorized { entry: self.entry, arn: self.arn })
    }
}

/// Lets `caller` do `action`, which no key policy has a say in, with `resource`.
///
/// # Errors
/// `AccessDeniedException`.
pub fn authorize(caller: &Caller, action: Action, resource: Resource<'_>) -> Result<(), KmsError> {
    decide(caller, action, resource, None)
}

fn decide(
    caller: &Caller,
    action: Action,
    resource: Resource<'_>,
    key_policy: Option<&Document>,
) -> Result<(), KmsError> {
    let request = policy::Request { principal: &caller.principal, action, resource };
    match policy::decide(&request, key_policy, &caller.policies) {
        Decision::Allowed => Ok(()),
        Decision::Denied(reason) => Err(KmsError::new(Code::AccessDeniedException, reason.message(&request))),
    }
}

/// A key that the caller may do one action with.
pub struct Authorized {
    entry: Arc<KeyEntry>,
    arn: String,
}

impl Authorized {
    /// The key.
    pub fn key(&self) -> &Key {
        &self.entry.key
    }

    /// The key ARN.
    pub fn arn(&self) -> &str {
        &self.arn
    }

    /// Whether the key's state allows what the operation wants.
    ///
    /// # Errors
    /// `DisabledException`, `KMSInvalidStateException`.
    pub fn demand(&self, demand: Demand) -> Result<(), KmsError> {
        self.key().state.check(demand, &self.arn)
    }

    /// Whether state and usage allow `operation` to use the key.
    ///
    /// # Errors
    /// As [`Self::demand`], then `InvalidKeyUsageException`.
    pub fn demand_usage(&self, operation: &str, usage: KeyUsage) -> Result<(), KmsError> {
        self.demand(Demand::Use)?;
        if self.key().usage == usage {
            return Ok(());
        }
        let text = format!("{} key usage is {} which is not valid for {operation}.", self.arn, self.key().usage);
        Err(KmsError::new(Code::InvalidKeyUsageException, text))
    }

    /// The key, ready for `operation` to use with `algorithm`.
    ///
    /// # Errors
    /// As [`Self::demand_usage`], then `InvalidKeyUsageException` if the algorithm does not fit the key spec.
    pub fn usable<A: Algorithm>(self, operation: &str, algorithm: A) -> Result<Usable<A>, KmsError> {
        self.demand_usage(operation, A::USAGE)?;
        let spec = self.key().spec;
        if !A::of(spec).contains(&algorithm) {
            let text = format!("Algorithm {algorithm} is incompatible with key spec {spec}.");
            return Err(KmsError::new(Code::InvalidKeyUsageException, text));
        }
        let material = self.key().current_material().map(Arc::clone);
        let material = material.ok_or_else(|| KmsError::bare(Code::KeyUnavailableException))?;
        Ok(Usable { authorized: self, material, algorithm })
    }
}

/// A key that may be used now, with one algorithm. The HSM is asked only on behalf of one of these.
pub struct Usable<A = EncryptionAlgorithm> {
    authorized: Authorized,
    material: Arc<Material>,
    algorithm: A,
}

impl<A: Algorithm> Usable<A> {
    /// The key.
    pub fn key(&self) -> &Key {
        self.authorized.key()
    }

    /// The key ARN.
    pub fn arn(&self) -> &str {
        self.authorized.arn()
    }

    /// The algorithm it was made usable for.
    pub fn algorithm(&self) -> A {
        self.algorithm
    }

    /// The material to use, or to encrypt under.
    pub fn material(&self) -> &Arc<Material> {
        &self.material
    }
}

impl Usable {
    /// The material that a blob names, current or not.
    pub fn material_named(&self, id: MaterialId) -> Option<&Arc<Material>> {
        self.key().material(id)
    }

    /// Whether a plaintext of `length` bytes fits algorithm and key spec.
    ///
    /// # Errors
    /// `ValidationException`.
    pub fn fits(&self, length: usize) -> Result<(), KmsError> {
        let spec = self.key().spec;
        match spec.max_plaintext_bytes(self.algorithm) {
            Some(max) if length > max => Err(KmsError::invalid(format!(
                "Algorithm {} and key spec {spec} cannot encrypt data larger than {max} bytes.",
                self.algorithm
            ))),
            _ => Ok(()),
        }
    }
}
