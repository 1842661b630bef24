//! Connections from the accept to the close: admission, TLS, HTTP.

mod activity;
mod counts;
mod limit;
mod requests;
mod slots;

use std::{
    io,
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

use axum::Router;
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::watch,
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use self::{activity::Activity, limit::Permit, requests::RequestHandler};
pub(super) use self::{counts::ConnectionCounts, limit::ConnectionLimit};
use super::{
    http::{HeaderCase, MAX_HEAD_BYTES, ValidatedStream, WriteTimeout},
    shutdown::ShutdownSignal,
};
use crate::{
    api::{Api, Peer},
    config::LimitsConfig,
};

/// How long a connection that is closed may take to send what it was about to, if no request is pending.
const CLOSE_GRACE: Duration = Duration::from_millis(500);
/// How long accepting rests when it has failed. Most likely the descriptors are used up: time for some to be closed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How connections are served under one configuration.
pub(super) struct ConnectionHandler {
    pub(super) api: Api,
    /// The operator's paths.
    pub(super) operators: Router,
    pub(super) tls: Option<TlsAcceptor>,
    pub(super) limits: LimitsConfig,
    pub(super) connection_limit: Arc<ConnectionLimit>,
    pub(super) counts: Arc<ConnectionCounts>,
    pub(super) header_case: HeaderCase,
}

/// Accepts connections until `shutdown`. Each is served by the handler that is current when it is accepted; those for which
/// there is no slot wait in the listener's own queue.
pub(super) async fn accept(
    handlers: watch::Receiver<Arc<ConnectionHandler>>,
    listener: TcpListener,
    mut shutdown: ShutdownSignal,
) {
    let limit = Arc::clone(&handlers.borrow().connection_limit);
    let mut has_failed = false;
    loop {
        tokio::select! {
            () = shutdown.requested() => return,
            accepted = accept_one(&listener, &limit) => match accepted {
                Ok((stream, peer, permit)) => {
                    has_failed = false;
                    let handler = Arc::clone(&handlers.borrow());
                    tokio::spawn(handler.serve(stream, peer, permit));
                }
                Err(error) => {
                    if !std::mem::replace(&mut has_failed, true) {
                        tracing::warn!(%error, "connections cannot be accepted");
                    }
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
}

async fn accept_one(listener: &TcpListener, limit: &Arc<ConnectionLimit>) -> io::Result<(TcpStream, Peer, Permit)> {
    let (stream, address) = listener.accept().await?;
    let peer = Peer(address.ip().to_canonical());
    Ok((stream, peer, limit.admit(peer).await))
}

impl ConnectionHandler {
    async fn serve(self: Arc<Self>, stream: TcpStream, peer: Peer, permit: Permit) {
        let permit = Arc::new(permit);
        let _open = self.counts.open();
        // Answers are small and whole: waiting to fill a packet only makes them late.
        let _ = stream.set_nodelay(true);
        let stream = WriteTimeout::new(stream, Duration::from_millis(self.limits.body_timeout_ms));
        match &self.tls {
            None => self.serve_http(stream, &permit, peer).await,
            Some(tls) => {
                if let Some(stream) = self.handshake(tls, stream, &permit.activity).await {
                    self.serve_http(stream, &permit, peer).await;
                }
            }
        }
        if permit.activity.is_evicted() {
            self.counts.count_lost("displaced");
        }
        // The slot is given back when the descriptor has been.
        drop(permit);
    }

    async fn handshake<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        tls: &TlsAcceptor,
        stream: S,
        activity: &Activity,
    ) -> Option<TlsStream<S>> {
        let handshake = tokio::select! {
            handshake = timeout(self.header_timeout(), tls.accept(stream)) => handshake,
            () = activity.close_requested() => return None,
        };
        match handshake {
            Ok(Ok(stream)) => return Some(stream),
            Ok(Err(_)) => self.counts.count_lost("tls_handshake"),
            Err(_) => self.counts.count_lost("tls_handshake_timeout"),
        }
        None
    }

    async fn serve_http<S>(self: &Arc<Self>, stream: S, permit: &Arc<Permit>, peer: Peer)
    where
        S: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        let stream = ValidatedStream::new(stream, Duration::from_millis(self.limits.body_timeout_ms));
        let rejection = stream.rejection();
        let handler = Arc::new(RequestHandler::new(Arc::clone(self), peer, Arc::clone(permit)));
        let service = service_fn(move |request| Arc::clone(&handler).answer(request, rejection.get().copied()));
        let mut connection = pin!(
            http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(self.header_timeout())
                .max_buf_size(MAX_HEAD_BYTES)
                .title_case_headers(true)
                .serve_connection(TokioIo::new(stream), service)
        );
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = permit.activity.close_requested() => {
                connection.as_mut().graceful_shutdown();
                drain(connection, &permit.activity).await
            }
        };
        if let Err(error) = ended {
            self.note_early_end(&error, peer, &permit.activity);
        }
    }

    /// An authenticated connection may be idle for so long that it is closed, and is not counted then.
    fn note_early_end(&self, error: &hyper::Error, peer: Peer, activity: &Activity) {
        tracing::debug!(peer = %peer.0, %error, "a connection ended early");
        match error.is_timeout() {
            true if activity.is_authenticated() => {}
            true => self.counts.count_lost("timeout"),
            false => self.counts.count_lost("ended_early"),
        }
    }

    /// Time for a request's head; a connection may be idle as long.
    fn header_timeout(&self) -> Duration {
        Duration::from_millis(self.limits.header_timeout_ms)
    }
}

/// Waits for the end of a connection that shuts down: for the answer to a pending request, and else no longer than
/// [`CLOSE_GRACE`].
async fn drain<E>(mut connection: Pin<&mut impl Future<Output = Result<(), E>>>, activity: &Activity) -> Result<(), E> {
    loop {
        match timeout(CLOSE_GRACE, connection.as_mut()).await {
            Ok(ended) => return ended,
            Err(_) if activity.has_pending_request() => {}
            Err(_) => return Ok(()),
        }
    }
}
