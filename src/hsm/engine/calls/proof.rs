//! Wrong answers: an HSM that says CKR_OK and gives a flipped bit, or the answer of another session.
//!
//! A ciphertext that cannot be opened is worse than none, because whoever has it throws the plaintext away. So the first answer
//! under a handle, and one in [`PROVED`] of those that follow, is proved before it is given: what was sealed is opened, what
//! was opened is opened once more, what was signed is verified, a MAC is made again. A fault that lasts is seen early, a single
//! one with some luck; proving every answer would double the work of the HSM. New keys are always proved (`objects`). What RSA
//! encrypts with a public key is not: the private key may be another's.

use std::sync::atomic::{AtomicU32, Ordering};

use cryptoki::object::ObjectHandle;
use subtle::ConstantTimeEq;

use super::session_calls::{Sealed, SessionCalls};
use crate::hsm::error::{HsmError, Kind};
use crate::secret::SecretBytes;

/// Of so many answers under one handle, one is proved.
pub(in crate::hsm) const PROVED: u32 = 64;

/// How many answers under a handle were believed since the last one that was proved.
#[derive(Default)]
pub(in crate::hsm) struct ProofSchedule(AtomicU32);

impl ProofSchedule {
    /// Has an answer proved if it is this one's turn. If that fails, it is the next one's turn, too.
    pub(in crate::hsm) fn or_prove(&self, proof: impl FnOnce() -> Result<(), HsmError>) -> Result<(), HsmError> {
        if self.0.load(Ordering::Relaxed).is_multiple_of(PROVED) {
            proof().inspect_err(|_| self.0.store(0, Ordering::Relaxed))?;
        }
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

impl SessionCalls<'_> {
    /// An error unless `sealed` is what `input` became.
    pub(in crate::hsm) fn prove_sealed(
        &self,
        key: ObjectHandle,
        aad: &[u8],
        sealed: &Sealed,
        input: &[u8],
    ) -> Result<(), HsmError> {
        prove(input, self.open(key, sealed.iv, aad, &sealed.ciphertext))
    }
}

/// An error unless the HSM gives `answer` again.
pub(in crate::hsm) fn prove(answer: &[u8], again: Result<SecretBytes, HsmError>) -> Result<(), HsmError> {
    match again {
        Ok(again) if bool::from(answer.ct_eq(again.expose())) => Ok(()),
        Ok(_) => Err(wrong()),
        Err(error) => accepted(Err(error)),
    }
}

/// An error unless the HSM accepts what it has made. A refusal is a wrong answer, for nobody else's data is in it. The error has the call
/// repeated in another session, whose answer is proved as well; a second one speaks against the HSM.
pub(in crate::hsm) fn accepted(result: Result<(), HsmError>) -> Result<(), HsmError> {
    result.map_err(|error| match error.kind {
        Kind::Ambiguous | Kind::Rejected => wrong(),
        _ => error,
    })
}

fn wrong() -> HsmError {
    tracing::error!("the HSM gave a wrong answer, which is withheld; if it goes on, take the HSM out of service");
    HsmError::nonsense("proof", "the HSM gave a wrong answer")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proofs(believed: &ProofSchedule, answers: u32) -> usize {
        let mut proofs = 0;
        for _ in 0..answers {
            let prove = || {
                proofs += 1;
                Ok(())
            };
            believed.or_prove(prove).unwrap();
        }
        proofs
    }

    #[test]
    fn the_first_answer_and_one_in_so_many_is_proved() {
        assert_eq!(proofs(&ProofSchedule::default(), 2 * PROVED + 1), 3);
    }

    #[test]
    fn after_a_wrong_answer_the_next_one_is_proved() {
        let believed = ProofSchedule::default();
        assert_eq!(proofs(&believed, PROVED), 1);
        assert!(believed.or_prove(|| Err(HsmError::nonsense("proof", "wrong"))).is_err());
        assert_eq!(proofs(&believed, 1), 1);
    }

    #[test]
    fn a_refusal_is_a_wrong_answer_and_an_outage_is_none() {
        let failed = |kind| prove(b"x", Err(HsmError::new(kind, "C_Decrypt", "CKR_X"))).unwrap_err().kind;
        assert_eq!(prove(b"x", Ok(SecretBytes::from(b"x".to_vec()))), Ok(()));
        assert_eq!(prove(b"x", Ok(SecretBytes::from(b"y".to_vec()))).unwrap_err().kind, Kind::SessionLost);
        assert_eq!([Kind::Ambiguous, Kind::Rejected].map(failed), [Kind::SessionLost; 2]);
        assert_eq!(failed(Kind::LoggedOut), Kind::LoggedOut);
    }
}
