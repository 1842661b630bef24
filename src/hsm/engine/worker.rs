//! A worker: takes a job, makes its calls on the session that only this thread has, answers.

use std::sync::atomic::Ordering;
use std::time::Instant;

use cryptoki::object::ObjectHandle;
use cryptoki::session::Session;

use crate::key::material::{Keeping, Material};
use crate::key::spec::EncryptionAlgorithm;

use super::core::Core;
use super::crypto::{Line, Oaep};
use super::handles::Lease;
use super::mechanism::OaepHash;
use super::objects::{Means, Order, public_key};
use super::pool::{Failure, Job, Lane, Shift};
use super::queue::Queue;
use crate::hsm::command::{Answer, Command};
use crate::hsm::error::{HsmError, Kind};

struct Worker<'a> {
    core: &'a Core,
    queue: &'a Queue,
    /// `None` after a call that did not end in a known way; the next job opens another.
    session: Option<Session>,
}

/// Does jobs until there will be no more or the thread has been replaced.
pub(super) fn serve(core: &Core, lane: &Lane, shift: Shift, (queue, seat): (&Queue, usize), session: Option<Session>) {
    let mut worker = Worker { core, queue, session };
    while let Some(job) = queue.take(seat) {
        let now = Instant::now();
        // Nobody waits for it: not worth a call.
        if job.reply.is_closed() || job.deadline <= now {
            continue;
        }
        lane.begin(core, now, job.deadline);
        worker.run(job, now);
        if !lane.end(core, shift) {
            return;
        }
    }
}

impl Worker<'_> {
    fn run(&mut self, job: Job, now: Instant) {
        let Job { command, lease, deadline, reply, .. } = job;
        let started = self.core.ticks(now);
        let result = self.attempt(&command, lease.as_deref());
        match &result {
            Ok(_) => self.core.note_success(started),
            Err(error) => self.note(error),
        }
        let ended = Instant::now();
        self.queue.note(command.class(), ended - now);
        if ended > deadline {
            self.core.counts.late.fetch_add(1, Ordering::Relaxed);
        }
        // Who no longer waits is not told; the answer is zeroised where it is secret.
        let _ = reply.send(result.map_err(|error| Failure { error, command, lease, started }));
    }

    fn note(&mut self, error: &HsmError) {
        self.core.counts.note(error);
        if !error.spares_session() {
            self.session = None;
        }
    }

    fn attempt(&mut self, command: &Command, lease: Option<&Lease>) -> Result<Answer, HsmError> {
        if lease.is_some_and(|lease| lease.epoch != self.core.epoch()) {
            return Err(HsmError::new(Kind::KeyMissing, "lease", "the handle is of an earlier login"));
        }
        let session = match self.session.take() {
            Some(session) => session,
            None => self.core.module.open(self.core.slot)?,
        };
        let session = self.session.insert(session);
        let task = Task { core: self.core, line: self.core.line(session), lease };
        task.perform(command).map_err(|error| match lease {
            None => task.line.explain(error),
            // Another handle is tried first, and the anchor explains if it cannot make one.
            Some(_) => error,
        })
    }
}

/// One attempt at one command.
struct Task<'a> {
    core: &'a Core,
    line: Line<'a>,
    lease: Option<&'a Lease>,
}

impl Task<'_> {
    fn perform(&self, command: &Command) -> Result<Answer, HsmError> {
        let line = self.line;
        match command {
            Command::Seal { aad, input, .. } => line.seal(self.key()?, aad, input.expose()).map(Answer::Sealed),
            Command::SealRandom { aad, len, .. } => {
                let plaintext = line.random(*len)?;
                let sealed = line.seal(self.key()?, aad, plaintext.expose())?;
                Ok(Answer::SealedRandom { plaintext, sealed })
            }
            Command::Open { aad, iv, ciphertext, .. } => {
                line.open(self.key()?, *iv, aad, ciphertext).map(Answer::Plaintext)
            }
            Command::Encrypt { material, algorithm, input } => {
                let public = public_key(material)?;
                line.oaep_encrypt(self.oaep(*algorithm)?, self.key()?, &public, input.expose()).map(Answer::Bytes)
            }
            Command::Decrypt { material, algorithm, ciphertext } => {
                let public = public_key(material)?;
                line.oaep_decrypt(self.oaep(*algorithm)?, self.key()?, &public, ciphertext).map(Answer::Plaintext)
            }
            Command::Random { len } => line.random(*len).map(Answer::Plaintext),
            Command::Generate { id, spec, usage, place } => {
                self.generate(Order { id: *id, spec: *spec, usage: *usage, place: *place })
            }
            Command::Destroy { material } => self.destroy(material),
            Command::Check => self.core.check(line).map(|()| Answer::Done),
        }
    }

    fn key(&self) -> Result<ObjectHandle, HsmError> {
        let lease =
            self.lease.ok_or_else(|| HsmError::new(Kind::Bug, "lease", "the command came without its handle"))?;
        Ok(lease.handle)
    }

    fn oaep(&self, algorithm: EncryptionAlgorithm) -> Result<Oaep, HsmError> {
        let hash = match algorithm {
            EncryptionAlgorithm::RsaesOaepSha1 => OaepHash::Sha1,
            EncryptionAlgorithm::RsaesOaepSha256 => OaepHash::Sha256,
            other => return Err(HsmError::new(Kind::Unsupported, "oaep", format!("{other} is not RSAES-OAEP"))),
        };
        Ok(Oaep { hash, sha256: self.core.profile.oaep_sha256 })
    }

    fn generate(&self, order: Order) -> Result<Answer, HsmError> {
        let wrapping = self.core.wrapping_key(self.line.session)?;
        let means = Means { profile: &self.core.profile, wrapping };
        let made = self.line.generate(order, &means);
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
            let fresh = self.core.module.open(self.core.slot)?;
            let fresh = self.core.line(&fresh);
            fresh.see_gone(material, cka_id)?;
            fresh.is_logged_in()?;
        }
        self.core.handles.forget(material.id);
        Ok(Answer::Done)
    }
}
