//! GenerateRandom: <https://docs.aws.amazon.com/kms/latest/APIReference/API_GenerateRandom.html>.

use serde::Serialize;

use super::{Operation, generate_data_key::NumberOfBytes, recipient::Recipient, response::Base64};
use crate::{
    action::Action,
    error::{Code, KmsError},
    kms::cx::Cx,
    policy::RequestFacts,
    request::{Int, KeyStoreText, Text, request},
    secret::SecretBytes,
};

request! {
    /// Random bytes of the HSM, or of that of a custom key store.
    GenerateRandom {
        number_of_bytes: NumberOfBytes = optional "NumberOfBytes",
        custom_key_store_id: KeyStoreText = optional "CustomKeyStoreId",
        recipient: Recipient = default "Recipient",
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct GenerateRandomResponse {
    #[serde(skip_serializing_if = "Option::is_none")]
    ciphertext_for_recipient: Option<Base64<Vec<u8>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    plaintext: Option<Base64<SecretBytes>>,
}

impl Operation for GenerateRandom {
    const NAME: &'static str = "GenerateRandom";
    const READ_ONLY: bool = true;
    const EXCEPTIONS: &'static [Code] = &[
        Code::CustomKeyStoreInvalidStateException,
        Code::CustomKeyStoreNotFoundException,
        Code::DependencyTimeoutException,
        Code::UnsupportedOperationException,
    ];
    type Response = GenerateRandomResponse;

    async fn run(self, cx: &Cx<'_>) -> Result<GenerateRandomResponse, KmsError> {
        let Some(Int(bytes)) = self.number_of_bytes else {
            return Err(KmsError::invalid("NumberOfBytes is required."));
        };
        let addressee = self.recipient.attest(cx).await?;
        let facts = RequestFacts { recipient: addressee.measurements(), ..RequestFacts::default() };
        cx.authorize(Action::GenerateRandom, &facts)?;
        let key_store = self.custom_key_store_id.map(|Text(id)| cx.connected_key_store(&id)).transpose()?;
        let key_store = key_store.as_ref().map(|key_store| &key_store.id);
        let bytes = usize::try_from(bytes).map_err(KmsError::internal)?;
        let handed = addressee.hand_over(cx, cx.random(key_store, bytes).await?).await?;
        Ok(GenerateRandomResponse { plaintext: handed.plaintext, ciphertext_for_recipient: handed.for_recipient })
    }
}
