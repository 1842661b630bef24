//! The case of header names in answers: `Content-Length`, but `x-amzn-RequestId`, as AWS's endpoint writes them. HTTP ignores the
//! case (RFC 9110 section 5.1), but hand-written clients compare letter for letter.
//!
//! hyper writes names in title case, except those in a map in the answer's extensions. The type of that map is hyper's own and
//! private: hyper makes one of the headers that it reads. So it is given a request to read, once.

use std::{convert::Infallible, future::ready, sync::OnceLock};

use axum::{body::Body, http::Extensions, response::Response};
use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncWriteExt, duplex};

/// A request with the names that are not in title case.
const NAMES: &[u8] = b"GET / HTTP/1.0\r\nx-amzn-RequestId: 0\r\n\r\n";

/// The extensions that have hyper write the header names of an answer in AWS's case.
#[derive(Clone)]
pub(in crate::server) struct HeaderCase(Extensions);

impl HeaderCase {
    /// Has hyper make the map. If that fails, all names are written in title case.
    pub(in crate::server) async fn learn() -> Self {
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

    /// The answer, with its header names in AWS's case.
    pub(in crate::server) fn apply(&self, mut answer: Response) -> Response {
        answer.extensions_mut().extend(self.0.clone());
        answer
    }
}
