//! Bodies of requests (AWS JSON 1.1): the first line names the operation, what follows is the body.

use serde_json::Value;
use strongroom::{
    audit::RequestParameters,
    error::Code,
    operations::{Entry, TABLE},
};

/// Members that the audit trail shows of no request, whatever they are.
const SECRET: [&str; 4] = ["plaintext", "keyStorePassword", "encryptedKeyMaterial", "grantTokens"];

/// What is refused is refused as AWS says, what is read is read alike however JSON writes it, and nothing secret is shown.
pub fn check(bytes: &[u8]) {
    let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else { return };
    let (name, body) = (&bytes[..end], &bytes[end + 1..]);
    let Some(operation) = TABLE.iter().find(|operation| operation.name.as_bytes() == name) else { return };
    let (shown, refused) = read(operation, body);
    assert!(SECRET.iter().all(|member| shown.get(member).is_none()), "{}: {shown}", operation.name);
    if let Some(code) = refused {
        assert!(matches!(code, Code::SerializationException | Code::ValidationException), "{}", operation.name);
        return;
    }
    if let Ok(Value::Object(mut members)) = serde_json::from_slice(body) {
        members.insert("NobodyKnowsThis".to_owned(), Value::Null);
        let written = serde_json::to_vec_pretty(&members).expect("JSON");
        assert!(read(operation, &written) == (shown, None), "{}: the same, written otherwise", operation.name);
    }
}

/// What the audit trail shows of a request, and how it is refused.
fn read(operation: &Entry, body: &[u8]) -> (Value, Option<Code>) {
    let mut shown = RequestParameters::default();
    let refused = operation.read(body, &mut shown).err().map(|error| error.code);
    (shown.as_json().clone(), refused)
}
