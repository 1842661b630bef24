//! More work than the HSM can do: who is served, and who is told at once that it is too much.

use std::sync::Arc;
use std::time::{Duration, Instant};

use strongroom::hsm::command::{Command, Decrypt, Seal};
use strongroom::hsm::{HsmError, Kind, Settings};
use strongroom::identity::Asker;
use strongroom::key::material::Material;
use strongroom::key::spec::KeySpec;
use strongroom::secret::SecretBytes;
use tokio::task::JoinHandle;

use super::{OAEP, encrypt, input, kind, make, soon, wrapped};
use crate::engine::Engine;
use crate::faults::until;
use crate::tokens::token;

/// An RSA decryption takes a millisecond or more: with one session, this many are enough for a while.
const FLOOD: usize = 600;

struct Flooded {
    hsm: Engine,
    decrypt: Decrypt,
    aes: Arc<Material>,
    queue: usize,
}

impl Flooded {
    async fn start(queue: usize) -> Self {
        let hsm = Engine::start(Settings { sessions: 1, queue, ..token() }).unwrap();
        let rsa = make(&hsm, KeySpec::Rsa3072, wrapped()).await;
        let aes = super::aes(&hsm).await;
        let ciphertext = encrypt(&hsm, &rsa, OAEP[0], b"x").await.unwrap();
        let decrypt = Decrypt { material: rsa, algorithm: OAEP[0], ciphertext };
        // The handles are there, and it is known how long a decryption takes.
        for _ in 0..5 {
            hsm.call(decrypt.clone(), soon()).await.unwrap();
        }
        super::seal(&hsm, &aes, b"x").await.unwrap();
        Self { hsm, decrypt, aes, queue }
    }

    fn send<C: Command>(&self, asker: &str, command: C, deadline: Instant) -> JoinHandle<Result<C::Answer, HsmError>> {
        let (hsm, asker) = (self.hsm.clone(), Asker::named(asker));
        tokio::spawn(async move { hsm.call_for(asker, command, deadline).await })
    }

    /// So many decryptions of one asker, most of which wait.
    async fn flood(&self, calls: usize) -> Vec<JoinHandle<Result<SecretBytes, HsmError>>> {
        let sent = (0..calls).map(|_| self.send("greedy", self.decrypt.clone(), soon())).collect();
        until("the flood waits", || self.hsm.gauges().queue_depth >= self.queue.min(calls) / 2).await;
        sent
    }

    fn seal(&self) -> Seal {
        Seal { material: Arc::clone(&self.aes), aad: b"aad".to_vec(), input: input(b"x") }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_asker_that_floods_delays_another_by_one_call_at_a_time() {
    let flooded = Flooded::start(1024).await;
    let flood = flooded.flood(FLOOD).await;
    let mut slowest = Duration::ZERO;
    for _ in 0..20 {
        let began = Instant::now();
        flooded.send("quiet", flooded.seal(), soon()).await.unwrap().unwrap();
        slowest = slowest.max(began.elapsed());
    }
    let left = flooded.hsm.gauges().queue_depth;
    println!("the slowest of 20 calls took {slowest:?}, with {left} of the flood still waiting");
    assert!(left > FLOOD / 4, "the flood was over too soon to show anything: {left}");
    assert!(slowest < Duration::from_millis(250), "{slowest:?}");
    for one in flood {
        assert!(one.await.unwrap().is_ok());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_fills_the_queue_is_refused_and_another_is_not() {
    let flooded = Flooded::start(100).await;
    let flood = flooded.flood(300).await;
    let others: Vec<_> = (0..20).map(|_| flooded.send("quiet", flooded.seal(), soon())).collect();
    for one in others {
        assert!(one.await.unwrap().is_ok());
    }
    let mut refused = 0;
    for one in flood {
        refused += usize::from(one.await.unwrap().is_err_and(|error| error.kind == Kind::Busy));
    }
    assert!((100..300).contains(&refused), "{refused} of 300 were refused");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_be_late_is_refused_at_once() {
    let flooded = Flooded::start(1024).await;
    let flood = flooded.flood(FLOOD).await;
    let patience = Duration::from_millis(150);
    let began = Instant::now();
    let late = flooded.send("greedy", flooded.decrypt.clone(), began + patience).await.unwrap();
    let took = began.elapsed();
    println!("refused after {took:?}, {:?} before its deadline", patience.saturating_sub(took));
    assert_eq!(kind(late), Kind::Busy);
    assert!(took < patience / 2, "refused only after {took:?}");
    assert!(flooded.send("quiet", flooded.decrypt.clone(), soon()).await.unwrap().is_ok());
    flood.into_iter().for_each(|one| one.abort());
}
