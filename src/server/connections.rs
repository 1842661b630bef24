//! Connections from the accept to the close: TLS, HTTP, and who may stay.

use std::{
    convert::Infallible,
    io,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    http::{HeaderValue, Request, StatusCode, header},
    response::Response,
};
use hyper::{
    body::{Frame, Incoming, SizeHint},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::watch,
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tower_service::Service as _;

use super::{
    Stop,
    framed::{Framed, Refused},
    guests::{Guest, Guests, Seat},
    head::{MAX_HEAD_BYTES, Refusal},
    patient::Patient,
    spelling::Spelling,
    tally::Tally,
};
use crate::{
    api::{self, OverTls, Peer, Proved},
    config::Limits,
    health,
};

/// How long a connection that is closed may take to send what it was about to, if no request is under way.
const LAST_WORDS: Duration = Duration::from_millis(500);
const CLOSE: HeaderValue = HeaderValue::from_static("close");

/// What every connection needs, and how it is treated.
pub(super) struct Connections {
    pub(super) app: Router,
    pub(super) tls: Option<TlsAcceptor>,
    pub(super) limits: Limits,
    pub(super) guests: Arc<Guests>,
    pub(super) tally: Arc<Tally>,
    pub(super) spelling: Spelling,
}

/// Accepts connections until `stop`, and treats each as is in effect when it comes; those for which there is no room wait in
/// the listener's own queue.
pub(super) async fn accept(current: watch::Receiver<Arc<Connections>>, listener: TcpListener, mut stop: Stop) {
    let (guests, mut accepts) = (Arc::clone(&current.borrow().guests), true);
    loop {
        tokio::select! {
            () = stop.asked() => return,
            newcomer = newcomer(&listener, &guests) => match newcomer {
                Ok((stream, peer, seat)) => {
                    accepts = true;
                    let connections = Arc::clone(&current.borrow());
                    tokio::spawn(connections.welcome(stream, peer, seat));
                }
                Err(error) => {
                    if std::mem::take(&mut accepts) {
                        tracing::warn!(%error, "connections cannot be accepted");
                    }
                    // Out of descriptors, most likely: give those in use time to be closed.
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            },
        }
    }
}

async fn newcomer(listener: &TcpListener, guests: &Arc<Guests>) -> io::Result<(TcpStream, Peer, Seat)> {
    let (stream, address) = listener.accept().await?;
    let peer = Peer(address.ip().to_canonical());
    Ok((stream, peer, guests.admit(peer).await))
}

impl Connections {
    async fn welcome(self: Arc<Self>, stream: TcpStream, peer: Peer, seat: Seat) {
        let (seat, _open) = (Arc::new(seat), self.tally.open());
        // Answers are small and whole: waiting to fill a packet only makes them late.
        let _ = stream.set_nodelay(true);
        let stream = Patient::new(stream, Duration::from_millis(self.limits.body_timeout_ms));
        match &self.tls {
            None => self.converse(stream, &seat, peer).await,
            Some(tls) => {
                if let Some(stream) = self.shake_hands(tls, stream, &seat).await {
                    self.converse(stream, &seat, peer).await;
                }
            }
        }
        if seat.guest.is_displaced() {
            self.tally.count("displaced");
        }
        // The room is given back when the descriptor has been.
        drop(seat);
    }

    async fn shake_hands<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        tls: &TlsAcceptor,
        stream: S,
        seat: &Seat,
    ) -> Option<TlsStream<S>> {
        let handshake = tokio::select! {
            handshake = timeout(self.header_timeout(), tls.accept(stream)) => handshake,
            () = seat.guest.dismissed() => return None,
        };
        match handshake {
            Ok(Ok(stream)) => return Some(stream),
            Ok(Err(_)) => self.tally.count("tls_handshake"),
            Err(_) => self.tally.count("tls_handshake_timeout"),
        }
        None
    }

    async fn converse<S>(self: &Arc<Self>, stream: S, seat: &Arc<Seat>, peer: Peer)
    where
        S: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        let stream = Framed::new(stream, Duration::from_millis(self.limits.body_timeout_ms));
        let visit =
            Arc::new(Visit { connections: Arc::clone(self), peer, seat: Arc::clone(seat), refused: stream.refused() });
        let service = service_fn(move |request| Arc::clone(&visit).answer(request, visit.refused.get().copied()));
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
            () = seat.guest.dismissed() => {
                connection.as_mut().graceful_shutdown();
                finished(connection, &seat.guest).await
            }
        };
        if let Err(error) = ended {
            self.end_early(&error, peer, &seat.guest);
        }
    }

    /// A regular may be idle for so long that its connection is closed.
    fn end_early(&self, error: &hyper::Error, peer: Peer, guest: &Guest) {
        tracing::debug!(peer = %peer.0, %error, "a connection ended early");
        match error.is_timeout() {
            true if guest.is_regular() => {}
            true => self.tally.count("timeout"),
            false => self.tally.count("ended_early"),
        }
    }

    /// Time for a request's head; a connection may be idle as long.
    fn header_timeout(&self) -> Duration {
        Duration::from_millis(self.limits.header_timeout_ms)
    }
}

/// Lets a connection come to its end: who is owed an answer gets it, and nothing else is waited for.
async fn finished<E>(mut connection: Pin<&mut impl Future<Output = Result<(), E>>>, guest: &Guest) -> Result<(), E> {
    loop {
        match timeout(LAST_WORDS, connection.as_mut()).await {
            Ok(ended) => return ended,
            Err(_) if guest.is_owed_an_answer() => {}
            Err(_) => return Ok(()),
        }
    }
}

/// What the requests of one connection have in common.
struct Visit {
    connections: Arc<Connections>,
    peer: Peer,
    seat: Arc<Seat>,
    refused: Refused,
}

impl Visit {
    /// `refusal` is what was wrong with this request when hyper had read it: later ones may have come since.
    async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
        refusal: Option<Refusal>,
    ) -> Result<Response, Infallible> {
        let Connections { app, tally, spelling, .. } = &*self.connections;
        if let Some(refusal) = refusal {
            tally.count(refusal.name());
            return Ok(spelling.spell(unread(refusal.status())));
        }
        let is_operators = health::answers(request.uri().path());
        if !is_operators && !self.seat.is_seat_within(self.connections.header_timeout()).await {
            tally.count("no_room");
            return Ok(spelling.spell(api::no_room()));
        }
        let guest = &self.seat.guest;
        guest.begin();
        let mut request = request.map(|body| Body::new(Arriving::new(body, Arc::clone(guest))));
        request.extensions_mut().insert(self.peer);
        if self.connections.tls.is_some() {
            request.extensions_mut().insert(OverTls);
        }
        let mut answer = app.clone().call(request).await?;
        // What is left of a body that was not read is not the next request.
        if self.seat.is_spare() || !guest.is_asking() {
            answer.headers_mut().insert(header::CONNECTION, CLOSE);
        }
        guest.be_answered(answer.extensions_mut().remove::<Proved>().is_some());
        Ok(spelling.spell(answer))
    }
}

/// The answer to a head that is not read, which says no more: whoever sends such a head is no client of ours.
fn unread(status: u16) -> Response {
    let mut answer = Response::new(Body::empty());
    *answer.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
    answer.headers_mut().insert(header::CONNECTION, CLOSE);
    answer
}

/// The body of a request. When it is whole, its client waits for us; until then we wait for the client.
struct Arriving {
    body: Incoming,
    guest: Arc<Guest>,
}

impl Arriving {
    fn new(body: Incoming, guest: Arc<Guest>) -> Self {
        if hyper::body::Body::is_end_stream(&body) {
            guest.ask();
        }
        Self { body, guest }
    }
}

impl hyper::body::Body for Arriving {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        if matches!(frame, Poll::Ready(None)) || self.body.is_end_stream() {
            self.guest.ask();
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
