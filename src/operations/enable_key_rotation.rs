//! EnableKeyRotation: <https://docs.aws.amazon.com/kms/latest/APIReference/API_EnableKeyRotation.html>.

use super::{Operation, answer::Nothing, wrong_origin};
use crate::{
    access::Authorized,
    action::Action,
    error::{Code, KmsError},
    key::{Origin, rotation::DEFAULT_PERIOD_DAYS, spec::KeySpec, state::Demand},
    kms::cx::Cx,
    policy::RequestFacts,
    request::{Int, KeyText, request},
};

request! {
    /// Has a symmetric key get new material again and again.
    EnableKeyRotation {
        key_id: KeyText = required "KeyId",
        period_days: Int<90, 2560> = optional "RotationPeriodInDays",
    }
}

impl Operation for EnableKeyRotation {
    const NAME: &'static str = "EnableKeyRotation";
    const READ_ONLY: bool = false;
    type Answer = Nothing;

    async fn run(self, cx: &Cx<'_>) -> Result<Nothing, KmsError> {
        let period_days =
            self.period_days.and_then(|Int(days)| u32::try_from(days).ok()).unwrap_or(DEFAULT_PERIOD_DAYS);
        let facts = RequestFacts { rotation_period_days: Some(period_days), ..RequestFacts::default() };
        let may = |cx: &Cx<'_>| {
            let key = cx.authorize_key(Action::EnableKeyRotation, &self.key_id.0, &facts)?;
            rotates_by_itself(&key)?;
            Ok(key)
        };
        cx.change_family(may, Demand::ScheduleRotation, |own, relatives| {
            own.enable_rotation(relatives, period_days, cx.now());
            Ok(())
        })
        .await?;
        Ok(Nothing)
    }
}

/// Whether the key is one whose material can be made anew by itself, and on which that is decided.
///
/// # Errors
/// As the state table says; `UnsupportedOperationException`.
pub fn rotates_by_itself(key: &Authorized) -> Result<(), KmsError> {
    key.demand(Demand::ScheduleRotation)?;
    made_here(key)?;
    match key.key().spec() {
        KeySpec::SymmetricDefault => key.key().demand_primary(key.arn()),
        _ => Err(KmsError::bare(Code::UnsupportedOperationException)),
    }
}

/// Whether the key's material was made here.
///
/// # Errors
/// `UnsupportedOperationException`.
pub fn made_here(key: &Authorized) -> Result<(), KmsError> {
    match key.key().origin() {
        Origin::AwsKms => Ok(()),
        origin => Err(wrong_origin(key.arn(), origin)),
    }
}
