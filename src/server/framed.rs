//! A connection that passes on to hyper only heads that were looked at, and that ends so that its last answer can be read.
//!
//! It knows where each request ends, and so where the next head begins. A head that is refused reaches hyper as an empty
//! request, so that its answer has its turn after those before it; nothing that comes after it is read.

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

use super::head::{self, Framing, MAX_HEAD_BYTES, Refusal};

/// What hyper reads in place of a head that was refused.
const EMPTY_REQUEST: &[u8] = b"POST / HTTP/1.1\r\n\r\n";

/// How much is read and forgotten of a client that is still sending when its connection is closed.
const LINGER_BYTES: usize = 256 << 20;

/// Why the last request of a connection was refused, once hyper has its stand-in.
pub(super) type Refused = Arc<OnceLock<Refusal>>;

/// The connection.
pub(super) struct Framed<S> {
    stream: S,
    place: Place,
    /// What has come and not been passed on, because a head is not whole.
    held: Vec<u8>,
    /// So many bytes of it can be.
    ready: usize,
    /// What is wrong with what comes next.
    wrong: Option<Refusal>,
    refused: Refused,
    linger: Duration,
    /// Until when is read what a client still sends; set once our side is closed.
    lingering: Option<Pin<Box<Sleep>>>,
    forgotten: usize,
}

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Head,
    /// The rest of a body.
    Body(u64),
    /// The line before a chunk.
    ChunkSize,
    /// The rest of a chunk and of its line's end, which hyper looks at.
    Chunk(u64),
    /// The empty line after the last chunk. Trailers have no meaning for anybody, and are refused.
    LastLine,
}

impl Place {
    /// How many of these bytes are the next piece or of it, and what comes then; nothing as long as it must be whole and is not.
    fn step(self, bytes: &[u8]) -> Result<Option<(usize, Self)>, Refusal> {
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
                _ => return Err(Refusal::TransferEncoding),
            },
        })
    }
}

impl<S> Framed<S> {
    /// `linger` is how long a client is waited for that is still sending when its connection is closed: to close at once
    /// would reset the connection, and the answer would be lost on the way.
    pub(super) fn new(stream: S, linger: Duration) -> Self {
        Self {
            stream,
            place: Place::Head,
            held: Vec::new(),
            ready: 0,
            wrong: None,
            refused: Refused::default(),
            linger,
            lingering: None,
            forgotten: 0,
        }
    }

    /// Where is said why the last request was refused.
    pub(super) fn refused(&self) -> Refused {
        Arc::clone(&self.refused)
    }

    /// How many of these bytes can be passed on.
    fn follow(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            match self.place.step(rest) {
                Ok(Some((length, next))) => (at, self.place) = (at + length, next),
                Ok(None) => break,
                Err(refusal) => {
                    self.wrong = Some(refusal);
                    break;
                }
            }
        }
        at
    }

    /// Looks at what has come to `out` after `before`. What can be passed on stays there, if nothing is held that came earlier.
    fn take(&mut self, out: &mut ReadBuf<'_>, before: usize) {
        let new = out.filled().get(before..).unwrap_or_default();
        if self.held.is_empty() {
            let passed = self.follow(new);
            self.held.extend_from_slice(new.get(passed..).unwrap_or_default());
            out.set_filled(before + passed);
            return;
        }
        // A head that drips is not read again for each of its bytes.
        let may_be_whole = new.contains(&b'\n') || self.held.len() + new.len() > MAX_HEAD_BYTES;
        self.held.extend_from_slice(new);
        out.set_filled(before);
        if may_be_whole || self.place != Place::Head {
            let held = std::mem::take(&mut self.held);
            self.ready = self.follow(&held);
            self.held = held;
        }
    }

    fn give(&mut self, out: &mut ReadBuf<'_>) {
        let length = self.ready.min(out.remaining());
        out.put_slice(self.held.get(..length).unwrap_or_default());
        self.held.drain(..length);
        self.ready -= length;
    }

    /// Lets hyper read a stand-in for a head that is wrong, once, and then nothing more. In a body there is no other way than
    /// to end it.
    fn refuse(&mut self, refusal: Refusal) -> Poll<io::Result<()>> {
        if self.place != Place::Head {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, refusal.name())));
        }
        if self.refused.set(refusal).is_err() {
            return Poll::Pending;
        }
        (self.held, self.ready) = (EMPTY_REQUEST.to_vec(), EMPTY_REQUEST.len());
        Poll::Ready(Ok(()))
    }

    /// Whether the client may still be sending what nobody will read.
    fn is_within_a_request(&self) -> bool {
        self.place != Place::Head || self.wrong.is_some() || !self.held.is_empty()
    }
}

impl<S: AsyncRead + Unpin> Framed<S> {
    /// Reads and forgets what a client still sends, until it closes its side too.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let limit = self.linger;
        let over = self.lingering.get_or_insert_with(|| Box::pin(sleep(limit)));
        let mut scratch = [0; 16 * 1024];
        while over.as_mut().poll(cx).is_pending() && self.forgotten < LINGER_BYTES {
            let mut buffer = ReadBuf::new(&mut scratch);
            let read = ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer));
            if read.is_err() || buffer.filled().is_empty() {
                break;
            }
            self.forgotten += buffer.filled().len();
        }
        Poll::Ready(())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Framed<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            if this.ready > 0 {
                this.give(out);
                return Poll::Ready(Ok(()));
            }
            if let Some(refusal) = this.wrong {
                ready!(this.refuse(refusal))?;
                continue;
            }
            let before = out.filled().len();
            ready!(Pin::new(&mut this.stream).poll_read(cx, out))?;
            let is_at_end = out.filled().len() == before;
            this.take(out, before);
            if is_at_end || out.filled().len() > before {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Framed<S> {
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

    /// What hyper reads of a client that sends pieces of this size, and why the last request was refused.
    async fn passed_on(sent: &str, size: usize) -> (String, Option<Refusal>) {
        let (mut client, server) = duplex(size);
        let mut framed = Framed::new(server, Duration::ZERO);
        let refused = framed.refused();
        let (sent, mut read) = (sent.to_owned(), Vec::new());
        let sending = async move {
            let _ = client.write_all(sent.as_bytes()).await;
        };
        let reading = async {
            let ended = tokio::time::timeout(Duration::from_millis(200), framed.read_to_end(&mut read)).await;
            assert!(ended.is_ok() || refused.get().is_some());
        };
        tokio::join!(reading, async {
            let _ = tokio::time::timeout(Duration::from_millis(200), sending).await;
        });
        (String::from_utf8(read).unwrap(), refused.get().copied())
    }

    #[tokio::test]
    async fn what_is_well_passes_however_it_comes() {
        let all = [FIRST, SECOND, THIRD, THIRD, SECOND, FIRST].concat();
        for size in [1, 2, 3, 7, 40, 100, 10_000] {
            assert_eq!(passed_on(&all, size).await, (all.clone(), None), "pieces of {size}");
        }
    }

    #[tokio::test]
    async fn a_head_that_is_wrong_has_a_stand_in_in_its_place_and_nothing_follows() {
        let wrong = THIRD.replace("\r\n\r\n", "\n\r\n");
        for size in [1, 7, 10_000] {
            let (read, refused) = passed_on(&[FIRST, SECOND, &wrong, THIRD].concat(), size).await;
            let expected = [FIRST, SECOND, str::from_utf8(EMPTY_REQUEST).unwrap()].concat();
            assert_eq!((read, refused), (expected, Some(Refusal::BareLf)), "pieces of {size}");
        }
    }

    #[tokio::test]
    async fn a_chunk_that_is_wrong_ends_the_body() {
        for wrong in [SECOND.replace("5\r", "5;a\r"), SECOND.replace("5\r", "5"), SECOND.replace("\r\n\r\n0", "\r\n0")]
        {
            let (mut client, server) = duplex(10_000);
            client.write_all(wrong.replace("0\r\n\r\n", "0\r\nX: y\r\n\r\n").as_bytes()).await.unwrap();
            let failed = Framed::new(server, Duration::ZERO).read_to_end(&mut Vec::new()).await.unwrap_err();
            assert_eq!(failed.kind(), io::ErrorKind::InvalidData);
        }
    }

    #[tokio::test]
    async fn the_end_waits_for_who_is_still_sending_and_for_nobody_else() {
        for (sent, waits) in [(&FIRST[..FIRST.len() - 1], true), (FIRST, false)] {
            let (mut client, server) = duplex(10_000);
            let mut framed = Framed::new(server, Duration::from_secs(20));
            client.write_all(sent.as_bytes()).await.unwrap();
            let mut read = vec![0; sent.len()];
            framed.read_exact(&mut read).await.unwrap();
            let ended = tokio::time::timeout(Duration::from_millis(50), framed.shutdown()).await;
            assert_eq!(ended.is_err(), waits);
            drop(client);
            framed.shutdown().await.unwrap();
        }
    }
}
