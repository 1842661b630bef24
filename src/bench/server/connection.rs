//! A connection that is kept: requests over it, one after the other, and their answers.

use std::{io, ops::Range, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

use super::endpoint::{Endpoint, Stream};

/// Longer than any deadline of a server.
const PATIENCE: Duration = Duration::from_secs(60);
/// Most answers; longer ones grow it.
const BUFFER_BYTES: usize = 16 * 1024;
/// A list of a thousand keys is the longest answer.
const MAX_ANSWER_BYTES: usize = 1024 * 1024;

/// A connection to a server, with the answer that it read last. It is made with the first request, and again with the next one if
/// the server has ended it.
pub struct Connection {
    endpoint: Endpoint,
    stream: Option<Stream>,
    buffer: Vec<u8>,
    body: Range<usize>,
}

/// The beginning of an answer.
struct Head {
    status: u16,
    body: Range<usize>,
    /// True if the server ends the connection after this answer.
    is_last: bool,
}

impl Connection {
    /// A connection to this server, not made yet.
    pub fn to(endpoint: &Endpoint) -> Self {
        Self { endpoint: endpoint.clone(), stream: None, buffer: vec![0; BUFFER_BYTES], body: 0..0 }
    }

    /// Sends a request, reads the whole answer, and answers its status.
    ///
    /// # Errors
    /// If the connection cannot be made or is lost, or nothing is answered for a minute.
    pub async fn ask(&mut self, request: &[u8]) -> io::Result<u16> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => self.endpoint.connect().await?,
        };
        let head = timeout(PATIENCE, self.converse(&mut stream, request)).await??;
        self.body = head.body;
        if !head.is_last {
            self.stream = Some(stream);
        }
        Ok(head.status)
    }

    /// The body of the last answer.
    pub fn body(&self) -> &[u8] {
        self.buffer.get(self.body.clone()).unwrap_or_default()
    }

    async fn converse(&mut self, stream: &mut Stream, request: &[u8]) -> io::Result<Head> {
        stream.write_all(request).await?;
        stream.flush().await?;
        let mut filled = 0;
        let head = loop {
            filled += self.read(stream, filled).await?;
            if let Some(head) = head(self.buffer.get(..filled).unwrap_or_default())? {
                break head;
            }
        };
        while filled < head.body.end {
            filled += self.read(stream, filled).await?;
        }
        Ok(head)
    }

    /// Reads more behind what is filled already.
    async fn read(&mut self, stream: &mut Stream, filled: usize) -> io::Result<usize> {
        if filled == self.buffer.len() {
            if filled >= MAX_ANSWER_BYTES {
                return Err(io::Error::other("an answer that does not end"));
            }
            self.buffer.resize(2 * filled, 0);
        }
        match stream.read(self.buffer.get_mut(filled..).unwrap_or_default()).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            read => Ok(read),
        }
    }
}

/// The head of an answer, once it is there.
fn head(answer: &[u8]) -> io::Result<Option<Head>> {
    let Some(end) = answer.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
    let wrong = || io::Error::other("an answer that is not HTTP/1.1 with a content-length");
    let text = str::from_utf8(answer.get(..end).unwrap_or_default()).map_err(|_| wrong())?;
    let mut lines = text.lines();
    let status =
        lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()).ok_or_else(wrong)?;
    let (mut length, mut is_last) = (None, false);
    for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
        if name.eq_ignore_ascii_case("content-length") {
            length = value.parse::<usize>().ok();
        } else if name.eq_ignore_ascii_case("connection") {
            is_last = value.eq_ignore_ascii_case("close");
        }
    }
    let length = length.filter(|length| *length <= MAX_ANSWER_BYTES).ok_or_else(wrong)?;
    Ok(Some(Head { status, body: end + 4..end + 4 + length, is_last }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_has_a_status_a_length_and_perhaps_an_end() {
        let read =
            |text: &str| head(text.as_bytes()).map(|head| head.map(|head| (head.status, head.body, head.is_last)));
        assert_eq!(read("HTTP/1.1 200 OK\r\nContent-Length: 5").expect("a part"), None);
        let whole = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe";
        assert_eq!(read(whole).expect("a head"), Some((200, 38..43, false)));
        let last = "HTTP/1.1 503 X\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
        assert_eq!(read(last).expect("a head"), Some((503, last.len()..last.len(), true)));
        assert!(read("HTTP/1.1 200 OK\r\n\r\n").is_err() && read("SSH-2.0\r\n\r\n").is_err());
        let endless = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", usize::MAX);
        assert!(read(&endless).is_err());
    }
}
