//! How the names of headers are spelt in answers: `Content-Length`, but `x-amzn-RequestId`, as AWS's endpoint does. No case
//! means anything in HTTP, and readers that somebody wrote by hand compare letter for letter all the same.
//!
//! hyper writes names in title case, but for those of a map in an answer's extensions. It makes such maps of what it reads, and
//! lets nobody else make one; so it is given a request to read, once.

use std::{convert::Infallible, future::ready, sync::OnceLock};

use axum::{body::Body, http::Extensions, response::Response};
use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncWriteExt, duplex};

/// The names that are not title case.
const NAMES: &[u8] = b"GET / HTTP/1.0\r\nx-amzn-RequestId: 0\r\n\r\n";

/// What has hyper spell the names of an answer's headers so.
#[derive(Clone)]
pub(super) struct Spelling(Extensions);

impl Spelling {
    /// Learns it. What could not be learnt is title case, too.
    pub(super) async fn learn() -> Self {
        let (mut client, server) = duplex(NAMES.len());
        let read = OnceLock::new();
        let service = service_fn(|request: Request<Incoming>| {
            let _ = read.set(request.into_parts().0.extensions);
            ready(Ok::<_, Infallible>(Response::new(Body::empty())))
        });
        if client.write_all(NAMES).await.is_ok() {
            drop(client);
            let mut http = http1::Builder::new();
            let _ = http.preserve_header_case(true).serve_connection(TokioIo::new(server), service).await;
        }
        Self(read.into_inner().unwrap_or_default())
    }

    /// The answer, to be written so.
    pub(super) fn spell(&self, mut answer: Response) -> Response {
        answer.extensions_mut().extend(self.0.clone());
        answer
    }
}
