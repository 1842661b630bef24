//! The two forms of material: a document with names where people read it, as in the store, and bytes in a row elsewhere, as
//! between the service and an HSM's worker process.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Keeping, Material, MaterialId, WrapMechanism};
use crate::key::{
    bytes,
    spec::{KeySpec, KeyUsage},
};

impl Serialize for Material {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            return MaterialDocument::serialize(self, serializer);
        }
        let public_key = self.public_key.as_deref().map(Borrowed);
        (self.id, self.spec, self.usage, &self.keeping, public_key).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Material {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            return MaterialDocument::deserialize(deserializer);
        }
        let (id, spec, usage, keeping, public_key) = Deserialize::deserialize(deserializer)?;
        let public_key: Option<Owned> = public_key;
        Ok(Self { id, spec, usage, keeping, public_key: public_key.map(|Owned(key)| key) })
    }
}

impl Serialize for Keeping {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match serializer.is_human_readable() {
            true => KeepingDocument::serialize(self, serializer),
            false => KeepingBytes::serialize(self, serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Keeping {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match deserializer.is_human_readable() {
            true => KeepingDocument::deserialize(deserializer),
            false => KeepingBytes::deserialize(deserializer),
        }
    }
}

#[derive(Serialize)]
struct Borrowed<'a>(#[serde(with = "bytes")] &'a [u8]);

#[derive(Deserialize)]
struct Owned(#[serde(with = "bytes")] Vec<u8>);

#[derive(Serialize, Deserialize)]
#[serde(remote = "Material")]
struct MaterialDocument {
    id: MaterialId,
    spec: KeySpec,
    usage: KeyUsage,
    keeping: Keeping,
    #[serde(default, skip_serializing_if = "Option::is_none", with = "optional")]
    public_key: Option<Vec<u8>>,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Keeping", rename_all = "snake_case", tag = "kept")]
enum KeepingDocument {
    Wrapped {
        #[serde(with = "bytes")]
        blob: Vec<u8>,
        mechanism: WrapMechanism,
        #[serde(with = "bytes")]
        wrapping_key: Vec<u8>,
    },
    Token {
        #[serde(with = "bytes")]
        cka_id: Vec<u8>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        member: Option<String>,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Keeping")]
enum KeepingBytes {
    Wrapped {
        #[serde(with = "bytes")]
        blob: Vec<u8>,
        mechanism: WrapMechanism,
        #[serde(with = "bytes")]
        wrapping_key: Vec<u8>,
    },
    Token {
        #[serde(with = "bytes")]
        cka_id: Vec<u8>,
        member: Option<String>,
    },
}

mod optional {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::{Borrowed, Owned};

    pub(super) fn serialize<S: Serializer>(bytes: &Option<Vec<u8>>, serializer: S) -> Result<S::Ok, S::Error> {
        bytes.as_deref().map(Borrowed).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<u8>>, D::Error> {
        Option::<Owned>::deserialize(deserializer).map(|bytes| bytes.map(|Owned(bytes)| bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn materials() -> [Material; 2] {
        let wrapped =
            Keeping::Wrapped { blob: vec![1, 2], mechanism: WrapMechanism::AesKeyWrapKwp, wrapping_key: vec![3] };
        let token = Keeping::Token { cka_id: vec![4; 16], member: Some("left".to_owned()) };
        [(wrapped, Some(vec![5])), (token, None)].map(|(keeping, public_key)| Material {
            id: MaterialId([7; 32]),
            spec: KeySpec::Rsa2048,
            usage: KeyUsage::SignVerify,
            keeping,
            public_key,
        })
    }

    #[test]
    fn both_forms_give_back_what_was_written() {
        for material in materials() {
            let document = serde_json::to_string(&material).unwrap();
            assert_eq!(serde_json::from_str::<Material>(&document).unwrap(), material);
            let bytes = postcard::to_allocvec(&material).unwrap();
            assert_eq!(postcard::from_bytes::<Material>(&bytes).unwrap(), material);
            assert!(bytes.len() < 64, "{bytes:x?}");
        }
    }

    #[test]
    fn a_document_has_names_and_base64_and_leaves_out_what_is_not_there() {
        let [wrapped, token] = materials().map(|material| serde_json::to_value(material).unwrap());
        let keeping = serde_json::json!({
            "kept": "wrapped", "blob": "AQI=", "mechanism": "aes_key_wrap_kwp", "wrapping_key": "Aw==",
        });
        assert_eq!((&wrapped["keeping"], &wrapped["public_key"]), (&keeping, &"BQ==".into()));
        assert_eq!(token.get("public_key"), None);
    }
}
