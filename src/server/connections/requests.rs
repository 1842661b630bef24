//! The requests of one connection, from hyper to the application and back.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use axum::{
    body::{Body, Bytes},
    http::{HeaderValue, Request, StatusCode, header},
    response::Response,
};
use hyper::body::{Frame, Incoming, SizeHint};
use tower_service::Service as _;

use super::{super::http::Rejection, ConnectionHandler, activity::Activity, limit::Permit};
use crate::{
    api::{self, Answer, Arrival, Peer},
    health,
};

const CLOSE: HeaderValue = HeaderValue::from_static("close");

/// Answers the requests of one connection.
pub(super) struct RequestHandler {
    connection: Arc<ConnectionHandler>,
    peer: Peer,
    permit: Arc<Permit>,
}

impl RequestHandler {
    pub(super) fn new(connection: Arc<ConnectionHandler>, peer: Peer, permit: Arc<Permit>) -> Self {
        Self { connection, peer, permit }
    }

    /// Answers a request. `rejection` is what was wrong with it when hyper had read it: later requests may have come since.
    pub(super) async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
        rejection: Option<Rejection>,
    ) -> Result<Response, Infallible> {
        let ConnectionHandler { api, operators, counts, header_case, .. } = &*self.connection;
        if let Some(rejection) = rejection {
            counts.count_lost(rejection.name());
            return Ok(header_case.apply(rejected(rejection)));
        }
        let is_operators = health::answers(request.uri().path());
        if !is_operators && !self.permit.is_regular_within(self.connection.header_timeout()).await {
            counts.count_lost("no_room");
            return Ok(header_case.apply(api::no_room()));
        }
        let activity = &self.permit.activity;
        activity.request_begun();
        let request = request.map(|body| TrackedBody::new(body, Arc::clone(activity)));
        let Answer { mut response, is_authenticated } = if is_operators {
            operators.clone().call(request.map(Body::new)).await?.into()
        } else {
            let arrival = Arrival { peer: Some(self.peer), over_tls: self.connection.tls.is_some() };
            api.answer(arrival, request).await
        };
        // What is left of a body that was not read is not the next request.
        if self.permit.is_spare() || !activity.is_answering() {
            response.headers_mut().insert(header::CONNECTION, CLOSE);
        }
        activity.request_answered(is_authenticated, Instant::now());
        Ok(header_case.apply(response))
    }
}

/// The answer to a rejected head. It has no body: a client of ours does not send such a head.
fn rejected(rejection: Rejection) -> Response {
    let mut answer = Response::new(Body::empty());
    *answer.status_mut() = StatusCode::from_u16(rejection.status()).unwrap_or(StatusCode::BAD_REQUEST);
    answer.headers_mut().insert(header::CONNECTION, CLOSE);
    answer
}

/// The body of a request, which notes when it has arrived whole: until then the server waits for the client, and from then on
/// the client for the server.
struct TrackedBody {
    body: Incoming,
    activity: Arc<Activity>,
}

impl TrackedBody {
    fn new(body: Incoming, activity: Arc<Activity>) -> Self {
        if hyper::body::Body::is_end_stream(&body) {
            activity.request_received();
        }
        Self { body, activity }
    }
}

impl hyper::body::Body for TrackedBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        if matches!(frame, Poll::Ready(None)) || self.body.is_end_stream() {
            self.activity.request_received();
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
