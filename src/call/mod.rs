//! One call, from what a door received to what it may answer: the one road for all doors.
//!
//! [`Calls::perform`] is the same for every operation and every protocol: proof of who calls → freshness of the view → the request →
//! the operation → audit record → metrics → answer. A door brings its protocol: how bytes become a request, what proves the
//! caller, and the words of its errors. It adds no authorization and no audit, and cannot leave them out: only here an operation
//! gets the [`Cx`] that it needs for anything. The record of a change is stored with the change, and comes to the trail from there.

mod detach;
mod log;

use std::{sync::Arc, time::Instant};

use tokio::sync::RwLock;
use uuid::Uuid;

use crate::{
    audit::RequestParameters,
    authn::Proved,
    client::Client,
    error::KmsError,
    failure,
    kms::{
        Kms,
        cx::Cx,
        record::{Claimed, NamedOperation, Record},
    },
    operations::{Entry, Prepared},
};
use detach::{DetachOnDrop, Panicked};
use log::Log;

/// A call, as far as a door knows it before anything is proved.
pub struct Call {
    /// The operation that it asks for, if there is such a one.
    pub operation: Option<&'static Entry>,
    /// The name that it asks for, in the caller's words, which the audit record shows where that is no operation.
    pub target: String,
    /// The client that sent it.
    pub client: Client,
}

/// Nothing proves who calls, or the door could not take the request in.
pub struct Unproved {
    /// The access key that the caller claims to have, for the audit record.
    pub claimed: Option<Claimed>,
    /// The exception for the caller.
    pub error: KmsError,
}

/// One answer.
pub struct Reply<T> {
    /// The request id of the answer and the logs.
    pub request_id: Uuid,
    /// True if it was proved who calls, whether or not they got what they asked for.
    pub proved: bool,
    /// The operation's answer, or why there is none.
    pub outcome: Result<T, KmsError>,
}

impl<T> Reply<T> {
    /// The answer to a request that came to no call.
    pub fn refusal(error: KmsError) -> Self {
        Self { request_id: Uuid::new_v4(), proved: false, outcome: Err(error) }
    }
}

/// The calls that are being done, whether or not a client still waits for the answer. Each holds a read lock.
#[derive(Debug, Clone, Default)]
pub struct UnderWay(Arc<RwLock<()>>);

impl UnderWay {
    /// Ends when no call is being done, and lets no other begin.
    pub async fn end(self) {
        std::mem::forget(self.0.write_owned().await);
    }
}

/// The entrance of the service, which all doors share.
pub struct Calls {
    kms: Arc<Kms>,
    log: Log,
    under_way: UnderWay,
}

impl Calls {
    /// The entrance of this service.
    pub fn new(kms: Arc<Kms>) -> Self {
        Self { kms, log: Log::default(), under_way: UnderWay::default() }
    }

    /// The service, for what a door asks of it beside calls.
    pub fn kms(&self) -> &Arc<Kms> {
        &self.kms
    }

    /// The calls that are being done.
    pub fn under_way(&self) -> UnderWay {
        self.under_way.clone()
    }

    /// Does what `call` asks for, if the caller may, and writes it down. Nothing is begun while nothing can be written down.
    ///
    /// `prove` begins to prove who calls, which gives what reads the request once that is known. A client that hangs up does not stop the call
    /// half way, between what it did and what is written down of it.
    pub async fn perform<T, P, R>(self: &Arc<Self>, call: Call, prove: impl FnOnce() -> P + Send + 'static) -> Reply<T>
    where
        T: Send + 'static,
        P: Future<Output = Result<(Proved, R), Unproved>> + Send,
        R: FnOnce(&mut RequestParameters) -> Result<Prepared<T>, KmsError> + Send + 'static,
    {
        let calls = Arc::clone(self);
        let performed = DetachOnDrop::new(async move {
            let _under_way = calls.under_way.0.read().await;
            calls.perform_recorded(call, prove).await
        });
        performed.await.unwrap_or_else(|Panicked| Reply::refusal(KmsError::internal("the call has panicked")))
    }

    async fn perform_recorded<T, P, R>(
        &self,
        Call { operation, target, client }: Call,
        prove: impl FnOnce() -> P + Send,
    ) -> Reply<T>
    where
        T: Send,
        P: Future<Output = Result<(Proved, R), Unproved>> + Send,
        R: FnOnce(&mut RequestParameters) -> Result<Prepared<T>, KmsError>,
    {
        let began = Instant::now();
        let named = NamedOperation { operation: operation.map(|entry| (entry.name, entry.read_only)), target };
        let mut record = Record::new(self.kms.now(), named, client);
        // The exceptions that clients know of this operation.
        let declared = |error| match operation {
            Some(entry) => entry.answer(error),
            None => error,
        };
        let outcome = match self.kms.trouble_of_trail() {
            Some(trouble) => {
                let error = failure::not_writable(trouble);
                self.log.tell(&record, &error);
                Err(error)
            }
            None => {
                let outcome = self.attempt(prove, began, &mut record).await;
                self.write_down(&record, outcome.map_err(declared)).await
            }
        };
        // The trail may have failed since.
        let outcome = outcome.map_err(declared);
        if outcome.is_ok() {
            self.kms.note_uses(&record);
        }
        let result = outcome.as_ref().map_or_else(|error| error.code.as_str(), |_| "Success");
        self.kms.observe_call(record.operation_name(), result, began.elapsed());
        Reply { request_id: record.request_id, proved: record.is_proved(), outcome }
    }

    /// Nothing is read of a request before it is known who sent it, and nothing is kept of it while the operation runs.
    async fn attempt<T, P, R>(
        &self,
        prove: impl FnOnce() -> P,
        began: Instant,
        record: &mut Record,
    ) -> Result<T, KmsError>
    where
        P: Future<Output = Result<(Proved, R), Unproved>>,
        R: FnOnce(&mut RequestParameters) -> Result<Prepared<T>, KmsError>,
    {
        let (proved, read) = prove().await.map_err(|Unproved { claimed, error }| {
            record.claim(claimed);
            error
        })?;
        record.prove(&proved);
        self.kms.check_freshness()?;
        let run = read(&mut record.parameters)?;
        let cx = Cx::new(&self.kms, record, proved, self.kms.deadline(began));
        let outcome = run(&cx).await.and_then(|answer| cx.confirm_uses().map(|()| answer));
        record.notes = cx.into_notes();
        outcome
    }

    /// No record, no answer. A record that is stored is there, even if it cannot be brought to the trail now.
    async fn write_down<T>(&self, record: &Record, outcome: Result<T, KmsError>) -> Result<T, KmsError> {
        if let Err(error) = &outcome {
            self.log.tell(record, error);
        }
        let written = self.kms.write_down(record, outcome.as_ref().err()).await;
        if let Err(error) = &written {
            self.log.tell(record, error);
        }
        match written {
            Err(error) if !record.notes.is_recorded => Err(error),
            _ => outcome,
        }
    }
}
