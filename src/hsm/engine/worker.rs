//! A worker: takes a job, makes its calls on the session that only this thread has, answers.

use std::sync::atomic::Ordering;
use std::time::Instant;

use cryptoki::object::ObjectHandle;
use cryptoki::session::Session;

use crate::key::algorithm::SigningAlgorithm;
use crate::key::material::{Keeping, Material, MaterialId};
use crate::key::spec::{EncryptionAlgorithm, KeySpec, KeyUsage};
use crate::secret::SecretBytes;

use super::agreement::Encapsulated;
use super::core::Core;
use super::crypto::{Line, Oaep};
use super::generating::{Means, Order};
use super::handles::Lease;
use super::importing::Parcel;
use super::mechanism::OaepHash;
use super::objects::rsa_public_key;
use super::pairs::DataKeyPair;
use super::pool::{Failure, Job, Lane, Shift};
use super::proof;
use super::public_key::{RsaPublicKey, point_of};
use super::queue::{Next, Queue};
use crate::hsm::command::{Answer, Command, Place, Sealed};
use crate::hsm::error::{HsmError, Kind};

struct Worker<'a> {
    core: &'a Core,
    lane: &'a Lane,
    queue: &'a Queue,
    seat: usize,
    /// `None` after a call that did not end in a known way; the next job opens another.
    session: Option<Session>,
}

/// Does jobs until there will be no more or the thread has been replaced.
pub(super) fn serve(core: &Core, lane: &Lane, shift: Shift, (queue, seat): (&Queue, usize), session: Option<Session>) {
    let mut worker = Worker { core, lane, queue, seat, session };
    loop {
        match queue.take(seat) {
            Next::Do(job) => {
                if !worker.serve(job, shift) {
                    break;
                }
            }
            Next::Rest => worker.rest(),
            Next::End => return,
        }
    }
    // Its session, which nobody could count on, is free for another.
    drop(worker);
    core.work.recall();
}

impl Worker<'_> {
    /// Does a job, if somebody waits for it. Whether the thread may go on.
    fn serve(&mut self, job: Job, shift: Shift) -> bool {
        let now = Instant::now();
        // Nobody waits for it: not worth a call.
        if job.reply.is_closed() || job.deadline <= now {
            return true;
        }
        self.lane.begin(self.core, now, job.deadline);
        self.run(job, now);
        self.lane.end(self.core, shift)
    }

    fn rest(&mut self) {
        self.session = None;
        self.lane.note_session(false);
        self.queue.rest(self.seat);
    }

    fn run(&mut self, job: Job, now: Instant) {
        match self.ensure_session(job.deadline) {
            Ok(()) => {
                let result = self.attempt(&job);
                self.queue.note(job.command.class(), now.elapsed());
                self.answer(job, now, result);
            }
            Err(error) if error.kind == Kind::Busy => self.hand_over(job, now, error),
            Err(error) => self.answer(job, now, Err(error)),
        }
    }

    /// The token has no session left, which is no failure of the job while another worker has one.
    fn hand_over(&mut self, job: Job, now: Instant, error: HsmError) {
        match self.queue.hand_over(self.seat, job) {
            Some(job) => self.answer(*job, now, Err(error)),
            None => self.core.counts.note(&error),
        }
    }

    fn ensure_session(&mut self, deadline: Instant) -> Result<(), HsmError> {
        if self.session.is_some() {
            return Ok(());
        }
        let opened = match self.lane.is_worker() {
            true => self.core.open_session(),
            false => self.core.insist_on_session(deadline),
        };
        self.lane.note_session(opened.is_ok());
        self.session = Some(opened?);
        Ok(())
    }

    fn answer(&mut self, job: Job, now: Instant, result: Result<Answer, HsmError>) {
        let Job { command, lease, deadline, reply, .. } = job;
        let started = self.core.ticks(now);
        match &result {
            Ok(_) => self.core.note_success(started),
            Err(error) => self.note(error),
        }
        if Instant::now() > deadline {
            self.core.counts.late.fetch_add(1, Ordering::Relaxed);
        }
        reply.send(result.map_err(|error| Failure { error, command, lease, started }));
    }

    fn note(&mut self, error: &HsmError) {
        self.core.counts.note(error);
        if !error.spares_session() {
            self.session = None;
        }
    }

    fn attempt(&self, job: &Job) -> Result<Answer, HsmError> {
        let lease = job.lease.as_deref();
        let _guest = lease.map(|lease| lease.door.enter(|| self.core.epoch())).transpose()?;
        let session = self.session.as_ref().ok_or_else(HsmError::stopped)?;
        let task = Task { core: self.core, line: self.core.line(session), lease, deadline: job.deadline };
        task.perform(&job.command).map_err(|error| match lease {
            // Something else has gone wrong meanwhile; this may come of it.
            Some(lease) if error.kind == Kind::Ambiguous && lease.door.epoch != self.core.epoch() => {
                HsmError::new(Kind::SessionLost, "lease", "the login ended while the handle was in use")
            }
            // Another handle is tried first, and the anchor explains if it cannot make one.
            Some(_) if error.kind == Kind::KeyMissing => error,
            _ => task.line.explain(error),
        })
    }
}

/// The name of material that is given one later, or needs none.
const UNNAMED: MaterialId = MaterialId([0; 32]);

impl From<Encapsulated> for Answer {
    fn from(Encapsulated { secret, ciphertext }: Encapsulated) -> Self {
        Self::Encapsulated { secret, ciphertext }
    }
}

impl From<DataKeyPair> for Answer {
    fn from(DataKeyPair { public_key, private_key }: DataKeyPair) -> Self {
        Self::Pair { public_key, private_key }
    }
}

/// One attempt at one command.
struct Task<'a> {
    core: &'a Core,
    line: Line<'a>,
    lease: Option<&'a Lease>,
    deadline: Instant,
}

impl Task<'_> {
    fn perform(&self, command: &Command) -> Result<Answer, HsmError> {
        let line = self.line;
        match command {
            Command::Seal { aad, input, .. } => self.seal(aad, input).map(Answer::Sealed),
            Command::SealRandom { aad, len, .. } => {
                let plaintext = line.random(*len)?;
                let sealed = self.seal(aad, &plaintext)?;
                Ok(Answer::SealedRandom { plaintext, sealed })
            }
            Command::Open { aad, iv, ciphertext, .. } => {
                self.twice(|| line.open(self.key()?, *iv, aad, ciphertext)).map(Answer::Plaintext)
            }
            Command::Encrypt { material, algorithm, input } => {
                let public = rsa_public_key(material)?;
                line.oaep_encrypt(self.oaep(*algorithm)?, self.key()?, &public, input.expose()).map(Answer::Bytes)
            }
            Command::Decrypt { material, algorithm, ciphertext } => {
                let (public, oaep) = (rsa_public_key(material)?, self.oaep(*algorithm)?);
                self.twice(|| line.oaep_decrypt(oaep, self.key()?, &public, ciphertext)).map(Answer::Plaintext)
            }
            Command::Sign { material, algorithm, input } => self.sign(material, *algorithm, input).map(Answer::Bytes),
            Command::Verify { material, algorithm, input, signature } => {
                let verified = line.verify(material.spec, *algorithm, self.key()?, input, signature);
                verified.map(|()| Answer::Done)
            }
            Command::Mac { algorithm, input, .. } => {
                let mac = || line.mac(*algorithm, self.key()?, input.expose()).map(SecretBytes::from);
                Ok(Answer::Bytes(self.twice(mac)?.expose().to_vec()))
            }
            Command::VerifyMac { algorithm, input, mac, .. } => {
                line.verify_mac(*algorithm, self.key()?, input.expose(), mac).map(|()| Answer::Done)
            }
            Command::Agree { material, public_key } => self.agree(material, public_key).map(Answer::Plaintext),
            Command::Encapsulate { material } => line.encapsulate(material.spec, self.key()?).map(Answer::from),
            Command::Decapsulate { material, ciphertext } => {
                line.decapsulate(material.spec, self.key()?, ciphertext).map(Answer::Plaintext)
            }
            Command::GenerateCarrier { spec } => self.generate_carrier(*spec).map(Answer::Material),
            Command::Import { carrier, algorithm, blob, spec, usage, place } => {
                let order = Order { id: UNNAMED, spec: *spec, usage: *usage, place: *place };
                self.import(order, &Parcel { carrier, algorithm: *algorithm, blob })
            }
            Command::GeneratePair { spec } => line.generate_pair(*spec, &self.core.profile).map(Answer::from),
            Command::EncryptFor { public_key, input } => self.encrypt_for(public_key, input).map(Answer::Bytes),
            Command::Random { len } => line.random(*len).map(Answer::Plaintext),
            Command::Generate { id, spec, usage, place } => {
                self.generate(Order { id: *id, spec: *spec, usage: *usage, place: *place })
            }
            Command::Destroy { material } => self.destroy(material),
            Command::Renew => Err(HsmError::new(Kind::Bug, "renew", "this is the anchor's")),
            Command::Check => self.core.check(line).map(|()| Answer::Done),
        }
    }

    fn seal(&self, aad: &[u8], input: &SecretBytes) -> Result<Sealed, HsmError> {
        let Lease { handle, believed, .. } = self.lease()?;
        let sealed = self.line.seal(*handle, aad, input.expose())?;
        believed.or_prove(|| self.line.prove_sealed(*handle, aad, &sealed, input.expose()))?;
        Ok(sealed)
    }

    /// What `open` gives, which is asked twice if a proof is due.
    fn twice(&self, open: impl Fn() -> Result<SecretBytes, HsmError>) -> Result<SecretBytes, HsmError> {
        let opened = open()?;
        self.lease()?.believed.or_prove(|| proof::prove(opened.expose(), open()))?;
        Ok(opened)
    }

    fn sign(&self, material: &Material, algorithm: SigningAlgorithm, input: &[u8]) -> Result<Vec<u8>, HsmError> {
        let Lease { handle, believed, .. } = self.lease()?;
        let (line, spec) = (self.line, material.spec);
        if !self.core.profile.signs(algorithm) {
            let text = format!("this HSM does not do {algorithm}");
            return Err(HsmError::new(Kind::Unsupported, "sign", text));
        }
        let signature = line.sign(spec, algorithm, *handle, input)?;
        believed.or_prove(|| {
            let public = line.put_public(material)?;
            proof::accepted(line.verify(spec, algorithm, public.handle, input, &signature))
        })?;
        Ok(signature)
    }

    fn agree(&self, material: &Material, public_key: &[u8]) -> Result<SecretBytes, HsmError> {
        let not_on_it = || HsmError::new(Kind::Rejected, "agree", "it is no public key of the curve");
        let curve = material.spec.curve().ok_or_else(not_on_it)?;
        let point = point_of(curve, public_key).ok_or_else(not_on_it)?;
        self.twice(|| self.line.agree(curve, self.key()?, &point))
    }

    fn key(&self) -> Result<ObjectHandle, HsmError> {
        self.lease().map(|lease| lease.handle)
    }

    fn lease(&self) -> Result<&Lease, HsmError> {
        self.lease.ok_or_else(|| HsmError::new(Kind::Bug, "lease", "the command came without its handle"))
    }

    fn encrypt_for(&self, public_key: &[u8], input: &SecretBytes) -> Result<Vec<u8>, HsmError> {
        let oaep = self.oaep(EncryptionAlgorithm::RsaesOaepSha256)?;
        self.line.oaep_encrypt_for(oaep, RsaPublicKey::from_spki(public_key)?, input.expose())
    }

    fn oaep(&self, algorithm: EncryptionAlgorithm) -> Result<Oaep, HsmError> {
        let hash = match algorithm {
            EncryptionAlgorithm::RsaesOaepSha1 => OaepHash::Sha1,
            EncryptionAlgorithm::RsaesOaepSha256 => OaepHash::Sha256,
            other => return Err(HsmError::new(Kind::Unsupported, "oaep", format!("{other} is not RSAES-OAEP"))),
        };
        Ok(Oaep { hash, sha256: self.core.profile.oaep_sha256 })
    }

    fn generate_carrier(&self, spec: KeySpec) -> Result<Material, HsmError> {
        let order = Order { id: UNNAMED, spec, usage: KeyUsage::EncryptDecrypt, place: Place::Wrapped };
        self.line.generate_carrier(order, &self.means()?)
    }

    fn import(&self, order: Order, parcel: &Parcel<'_>) -> Result<Answer, HsmError> {
        let (material, fingerprint) = self.line.import(order, parcel, &self.means()?)?;
        Ok(Answer::Imported { material, fingerprint })
    }

    fn means(&self) -> Result<Means<'_>, HsmError> {
        Ok(Means { profile: &self.core.profile, wrapping: self.core.wrapping_key(self.line.session)? })
    }

    fn generate(&self, order: Order) -> Result<Answer, HsmError> {
        let made = self.line.generate(order, &self.means()?);
        if made.as_ref().is_err_and(|error| error.kind == Kind::NoWrappingKey) {
            self.core.forget_wrapping_key();
        }
        made.map(Answer::Material)
    }

    /// Destroyed only when a session that was opened afterwards, and is logged in, does not see it: there are modules that
    /// say CKR_OK and bring the object back.
    fn destroy(&self, material: &Material) -> Result<Answer, HsmError> {
        if let Keeping::Token { cka_id, .. } = &material.keeping {
            self.line.destroy_stored(material, cka_id)?;
            let fresh = self.core.insist_on_session(self.deadline)?;
            let fresh = self.core.line(&fresh);
            fresh.see_gone(material, cka_id)?;
            fresh.is_logged_in()?;
        }
        self.core.handles.forget(material.id);
        Ok(Answer::Done)
    }
}
