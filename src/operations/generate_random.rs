//! GenerateRandom: <https://docs.aws.amazon.com/kms/latest/APIReference/API_GenerateRandom.html>.

use serde::Serialize;

use super::{
    Operation,
    answer::Base64,
    generate_data_key::NumberOfBytes,
    member::{Int, Present, Text, request},
    refuse_recipient,
};
use crate::{
    action::Action,
    error::{Code, KmsError},
    kms::cx::Cx,
    secret::SecretBytes,
};

request! {
    /// Random bytes of the HSM.
    GenerateRandom {
        number_of_bytes: NumberOfBytes = optional "NumberOfBytes",
        custom_key_store_id: Text<1, 64> = optional "CustomKeyStoreId",
        recipient: Present = default "Recipient",
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Answer {
    plaintext: Base64<SecretBytes>,
}

impl Operation for GenerateRandom {
    const NAME: &'static str = "GenerateRandom";
    const READ_ONLY: bool = true;
    type Answer = Answer;

    async fn run(self, cx: &Cx<'_>) -> Result<Answer, KmsError> {
        let Some(Int(bytes)) = self.number_of_bytes else {
            return Err(KmsError::invalid("NumberOfBytes is required."));
        };
        refuse_recipient(&self.recipient)?;
        cx.authorize(Action::GenerateRandom)?;
        if self.custom_key_store_id.is_some() {
            return Err(KmsError::bare(Code::CustomKeyStoreNotFoundException));
        }
        let bytes = usize::try_from(bytes).map_err(KmsError::internal)?;
        Ok(Answer { plaintext: Base64(cx.random(bytes).await?) })
    }
}
