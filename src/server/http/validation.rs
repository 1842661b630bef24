//! A stream that passes on to hyper only heads that were validated, and that is closed so that the client can read the last answer.
//!
//! It follows the requests of the connection, and so knows where each head begins. In the place of a head that is rejected hyper
//! reads an empty request, so that its answer has its turn after those before it; nothing that comes after it is read.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

use super::head::{self, Framing, MAX_HEAD_BYTES, Rejection};

/// The request that hyper reads in the place of a head that was rejected.
const EMPTY_REQUEST: &[u8] = b"POST / HTTP/1.1\r\n\r\n";

/// How many bytes are read and discarded of a client that is still sending when its connection is closed.
const LINGER_BYTES: usize = 256 << 20;

/// Why the last request of a connection was rejected; set once hyper reads an empty request in its place.
pub(in crate::server) type LastRejection = Arc<OnceLock<Rejection>>;

/// A stream of requests whose heads are validated before they are read.
pub(in crate::server) struct ValidatedStream<S> {
    stream: S,
    expected: RequestPart,
    /// Bytes that have come and are not passed on yet, because a head is not complete.
    held: Vec<u8>,
    /// So many of the held bytes can be passed on.
    ready: usize,
    /// Why the bytes behind those that were passed on are not valid.
    invalid: Option<Rejection>,
    rejection: LastRejection,
    linger: Duration,
    /// Ends when nothing more is read of a client that still sends; set once our side is closed.
    lingering: Option<Pin<Box<Sleep>>>,
    discarded: usize,
}

/// The part of a request that comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RequestPart {
    Head,
    /// So many bytes of a body.
    Body(u64),
    /// The line before a chunk.
    ChunkSize,
    /// So many bytes of a chunk, with the CRLF behind it, which hyper looks at.
    Chunk(u64),
    /// The empty line after the last chunk. Trailers are rejected: no client of the API sends any.
    LastLine,
}

impl RequestPart {
    /// How many of these bytes belong to this part, and the part that comes then; `None` for a part that must be complete and is
    /// not.
    fn step(self, bytes: &[u8]) -> Result<Option<(usize, Self)>, Rejection> {
        let some = |left: u64| usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
        Ok(match self {
            Self::Head => head::read(bytes)?.map(|(length, framing)| match framing {
                Framing::Length(0) => (length, Self::Head),
                Framing::Length(body) => (length, Self::Body(body)),
                Framing::Chunked => (length, Self::ChunkSize),
            }),
            Self::Body(left) if some(left) as u64 == left => Some((some(left), Self::Head)),
            Self::Body(left) => Some((some(left), Self::Body(left - some(left) as u64))),
            Self::ChunkSize => head::read_chunk_size(bytes)?.map(|(length, size)| match size {
                0 => (length, Self::LastLine),
                size => (length, Self::Chunk(size + 2)),
            }),
            Self::Chunk(left) if some(left) as u64 == left => Some((some(left), Self::ChunkSize)),
            Self::Chunk(left) => Some((some(left), Self::Chunk(left - some(left) as u64))),
            Self::LastLine => match bytes {
                [b'\r', b'\n', ..] => Some((2, Self::Head)),
                [b'\r'] => None,
                _ => return Err(Rejection::TransferEncoding),
            },
        })
    }
}

impl<S> ValidatedStream<S> {
    /// `linger` is how long bytes are read and discarded of a client that is still sending when the connection is closed: to
    /// close at once would reset the connection, and the answer would be lost on the way.
    pub(in crate::server) fn new(stream: S, linger: Duration) -> Self {
        Self {
            stream,
            expected: RequestPart::Head,
            held: Vec::new(),
            ready: 0,
            invalid: None,
            rejection: LastRejection::default(),
            linger,
            lingering: None,
            discarded: 0,
        }
    }

    /// Where the reason is noted if a request is rejected.
    pub(in crate::server) fn rejection(&self) -> LastRejection {
        Arc::clone(&self.rejection)
    }

    /// Follows the requests through these bytes, and says how many of them can be passed on.
    fn follow(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            match self.expected.step(rest) {
                Ok(Some((length, next))) => {
                    at += length;
                    self.expected = next;
                }
                Ok(None) => break,
                Err(rejection) => {
                    self.invalid = Some(rejection);
                    break;
                }
            }
        }
        at
    }

    /// Validates what was read to `out` after `before`. What can be passed on stays there, unless bytes are held that came earlier.
    fn validate(&mut self, out: &mut ReadBuf<'_>, before: usize) {
        let new = out.filled().get(before..).unwrap_or_default();
        if self.held.is_empty() {
            let passed = self.follow(new);
            self.held.extend_from_slice(new.get(passed..).unwrap_or_default());
            out.set_filled(before + passed);
            return;
        }
        // A head that comes byte by byte is not read again for each of them.
        let may_be_complete = new.contains(&b'\n') || self.held.len() + new.len() > MAX_HEAD_BYTES;
        self.held.extend_from_slice(new);
        out.set_filled(before);
        if may_be_complete || self.expected != RequestPart::Head {
            let held = std::mem::take(&mut self.held);
            self.ready = self.follow(&held);
            self.held = held;
        }
    }

    /// Passes on held bytes.
    fn pass_on(&mut self, out: &mut ReadBuf<'_>) {
        let length = self.ready.min(out.remaining());
        out.put_slice(self.held.get(..length).unwrap_or_default());
        self.held.drain(..length);
        self.ready -= length;
    }

    /// Has hyper read an empty request in the place of an invalid head, once, and then nothing more. An invalid body is ended by an
    /// error.
    fn reject(&mut self, rejection: Rejection) -> Poll<io::Result<()>> {
        if self.expected != RequestPart::Head {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, rejection.name())));
        }
        if self.rejection.set(rejection).is_err() {
            return Poll::Pending;
        }
        self.held = EMPTY_REQUEST.to_vec();
        self.ready = EMPTY_REQUEST.len();
        Poll::Ready(Ok(()))
    }

    /// True if the client may still be sending what will not be read.
    fn is_within_a_request(&self) -> bool {
        self.expected != RequestPart::Head || self.invalid.is_some() || !self.held.is_empty()
    }
}

impl<S: AsyncRead + Unpin> ValidatedStream<S> {
    /// Reads and discards what the client still sends, until it closes its side too or the time is over.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let limit = self.linger;
        let over = self.lingering.get_or_insert_with(|| Box::pin(sleep(limit)));
        let mut scratch = [0; 16 * 1024];
        while over.as_mut().poll(cx).is_pending() && self.discarded < LINGER_BYTES {
            let mut buffer = ReadBuf::new(&mut scratch);
            let read = ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer));
            if read.is_err() || buffer.filled().is_empty() {
                break;
            }
            self.discarded += buffer.filled().len();
        }
        Poll::Ready(())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for ValidatedStream<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            if this.ready > 0 {
                this.pass_on(out);
                return Poll::Ready(Ok(()));
            }
            if let Some(rejection) = this.invalid {
                ready!(this.reject(rejection))?;
                continue;
            }
            let before = out.filled().len();
            ready!(Pin::new(&mut this.stream).poll_read(cx, out))?;
            let is_at_end = out.filled().len() == before;
            this.validate(out, before);
            if is_at_end || out.filled().len() > before {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for ValidatedStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.lingering.is_none() {
            ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
        }
        if self.is_within_a_request() {
            ready!(self.poll_linger(cx));
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    const FIRST: &str = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n0123\n\n6789";
    const SECOND: &str = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n\n\n\r\n\n\r\n0\r\n\r\n";
    const THIRD: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

    /// The bytes that hyper reads of a client that sends pieces of this size, and why the last request was rejected.
    async fn passed_on(sent: &str, size: usize) -> (String, Option<Rejection>) {
        let (mut client, server) = duplex(size);
        let mut stream = ValidatedStream::new(server, Duration::ZERO);
        let rejection = stream.rejection();
        let (sent, mut read) = (sent.to_owned(), Vec::new());
        let sending = async move {
            let _ = client.write_all(sent.as_bytes()).await;
        };
        let reading = async {
            let ended = tokio::time::timeout(Duration::from_millis(200), stream.read_to_end(&mut read)).await;
            assert!(ended.is_ok() || rejection.get().is_some());
        };
        tokio::join!(reading, async {
            let _ = tokio::time::timeout(Duration::from_millis(200), sending).await;
        });
        (String::from_utf8(read).unwrap(), rejection.get().copied())
    }

    #[tokio::test]
    async fn valid_requests_pass_in_pieces_of_any_size() {
        let all = [FIRST, SECOND, THIRD, THIRD, SECOND, FIRST].concat();
        for size in [1, 2, 3, 7, 40, 100, 10_000] {
            assert_eq!(passed_on(&all, size).await, (all.clone(), None), "pieces of {size}");
        }
    }

    #[tokio::test]
    async fn an_empty_request_is_read_in_the_place_of_an_invalid_head_and_nothing_follows() {
        let wrong = THIRD.replace("\r\n\r\n", "\n\r\n");
        for size in [1, 7, 10_000] {
            let (read, rejection) = passed_on(&[FIRST, SECOND, &wrong, THIRD].concat(), size).await;
            let expected = [FIRST, SECOND, str::from_utf8(EMPTY_REQUEST).unwrap()].concat();
            assert_eq!((read, rejection), (expected, Some(Rejection::BareLf)), "pieces of {size}");
        }
    }

    #[tokio::test]
    async fn an_invalid_chunk_ends_the_body() {
        for wrong in [SECOND.replace("5\r", "5;a\r"), SECOND.replace("5\r", "5"), SECOND.replace("\r\n\r\n0", "\r\n0")]
        {
            let (mut client, server) = duplex(10_000);
            client.write_all(wrong.replace("0\r\n\r\n", "0\r\nX: y\r\n\r\n").as_bytes()).await.unwrap();
            let failed = ValidatedStream::new(server, Duration::ZERO).read_to_end(&mut Vec::new()).await.unwrap_err();
            assert_eq!(failed.kind(), io::ErrorKind::InvalidData);
        }
    }

    #[tokio::test]
    async fn the_end_waits_for_a_client_that_is_still_sending_and_for_no_other() {
        for (sent, waits) in [(&FIRST[..FIRST.len() - 1], true), (FIRST, false)] {
            let (mut client, server) = duplex(10_000);
            let mut stream = ValidatedStream::new(server, Duration::from_secs(20));
            client.write_all(sent.as_bytes()).await.unwrap();
            let mut read = vec![0; sent.len()];
            stream.read_exact(&mut read).await.unwrap();
            let ended = tokio::time::timeout(Duration::from_millis(50), stream.shutdown()).await;
            assert_eq!(ended.is_err(), waits);
            drop(client);
            stream.shutdown().await.unwrap();
        }
    }
}
