//! Frames of plain data over a socket pair.
//!
//! A frame is its length (4 bytes, little-endian) and a [`postcard`](https://postcard.jamesmunns.com/wire-format) message.
//! PINs pass here: every buffer is overwritten with zeros when it is done with.

use std::io;

use parking_lot::{Mutex, MutexGuard};
use serde::{Serialize, de::DeserializeOwned};
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::sync::Notify;
use zeroize::Zeroizing;

/// The longest frame that is believed.
const MAX_FRAME_BYTES: usize = 1024 * 1024;
const LENGTH_BYTES: usize = 4;
const READ_BYTES: usize = 64 * 1024;

/// One end of the socket pair. Whoever sends writes, and takes with it what others have put beside it meanwhile.
pub(super) struct Port {
    stream: UnixStream,
    outbox: Mutex<Outbox>,
    /// The socket is full, and somebody has to go on when it is not.
    blocked: Notify,
}

#[derive(Default)]
struct Outbox {
    bytes: Buffer,
    /// Takes the place of `bytes` while they are written.
    spare: Buffer,
    /// True if somebody is writing, who will also write what is put here now.
    is_being_written: bool,
}

impl Outbox {
    /// Puts the rest of a batch before the bytes that have come meanwhile; an empty one is the next spare, unless it grew large.
    fn take_back(&mut self, batch: Buffer) {
        if !batch.is_empty() {
            self.bytes.put_before(batch);
        } else if batch.bytes.len() <= READ_BYTES {
            self.spare = batch;
        }
    }
}

impl Port {
    pub(super) fn new(stream: UnixStream) -> Self {
        Self { stream, outbox: Mutex::default(), blocked: Notify::new() }
    }

    /// Sends a message; what does not fit into the socket now goes when [`Self::unblock`] sees room.
    pub(super) fn send(&self, message: &impl Serialize) -> io::Result<()> {
        let mut outbox = self.outbox();
        outbox.bytes.push(message)?;
        if outbox.is_being_written {
            return Ok(());
        }
        outbox.is_being_written = true;
        drop(outbox);
        self.write()
    }

    fn write(&self) -> io::Result<()> {
        let mut outbox = self.outbox();
        while !outbox.bytes.is_empty() {
            let spare = std::mem::take(&mut outbox.spare);
            let mut batch = std::mem::replace(&mut outbox.bytes, spare);
            drop(outbox);
            let written = self.write_some(&batch);
            batch.consume(*written.as_ref().unwrap_or(&0));
            outbox = self.outbox();
            outbox.take_back(batch);
            match written {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.blocked.notify_one();
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
        outbox.is_being_written = false;
        Ok(())
    }

    fn write_some(&self, batch: &Buffer) -> io::Result<usize> {
        self.stream.try_io(Interest::WRITABLE, || Ok(rustix::io::write(&self.stream, batch.as_slice())?))
    }

    /// Goes on writing whenever the socket was full and has room again. Runs as long as the port is used.
    pub(super) async fn unblock(&self) -> io::Result<()> {
        loop {
            self.blocked.notified().await;
            self.stream.writable().await?;
            self.write()?;
        }
    }

    fn outbox(&self) -> MutexGuard<'_, Outbox> {
        self.outbox.lock()
    }

    /// Reads what there is; `false` at the end of the conversation.
    pub(super) async fn fill(&self, inbox: &mut Inbox) -> io::Result<bool> {
        loop {
            self.stream.readable().await?;
            let room = inbox.bytes.room();
            match self.stream.try_io(Interest::READABLE, || Ok(rustix::io::read(&self.stream, room)?)) {
                Ok(0) => return Ok(false),
                Ok(read) => {
                    inbox.bytes.end += read;
                    return Ok(true);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// Bytes that have been read and are no whole message yet.
#[derive(Default)]
pub(super) struct Inbox {
    bytes: Buffer,
}

impl Inbox {
    /// The next message, if it is whole.
    pub(super) fn next<T: DeserializeOwned>(&mut self) -> io::Result<Option<T>> {
        let Some((length, rest)) = self.bytes.as_slice().split_first_chunk::<LENGTH_BYTES>() else { return Ok(None) };
        let length = u32::from_le_bytes(*length) as usize;
        if length > MAX_FRAME_BYTES {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a frame is longer than any message"));
        }
        let Some(frame) = rest.get(..length) else { return Ok(None) };
        let message = postcard::from_bytes(frame).map_err(io::Error::other)?;
        self.bytes.consume(LENGTH_BYTES + length);
        Ok(Some(message))
    }
}

/// Bytes that are overwritten wherever they have been.
#[derive(Default)]
struct Buffer {
    bytes: Zeroizing<Vec<u8>>,
    begin: usize,
    end: usize,
}

impl Buffer {
    fn as_slice(&self) -> &[u8] {
        self.bytes.get(self.begin..self.end).unwrap_or_default()
    }

    fn is_empty(&self) -> bool {
        self.begin == self.end
    }

    fn push(&mut self, message: &impl Serialize) -> io::Result<()> {
        let length = postcard::experimental::serialized_size(message).map_err(io::Error::other)?;
        let prefix = u32::try_from(length).ok().filter(|_| length <= MAX_FRAME_BYTES);
        let prefix = prefix.ok_or_else(|| io::Error::other("a message is longer than any frame"))?;
        let frame = self.reserve(LENGTH_BYTES + length);
        let (head, body) = frame.split_at_mut(LENGTH_BYTES);
        head.copy_from_slice(&prefix.to_le_bytes());
        postcard::to_slice(message, body).map_err(io::Error::other)?;
        self.end += LENGTH_BYTES + length;
        Ok(())
    }

    /// Room for `len` more bytes, after the end.
    fn reserve(&mut self, len: usize) -> &mut [u8] {
        if self.bytes.len() < self.end + len {
            let used = self.as_slice().len();
            let mut larger = Zeroizing::new(vec![0; (2 * used).max(used + len).max(4096)]);
            larger[..used].copy_from_slice(self.as_slice());
            (self.bytes, self.begin, self.end) = (larger, 0, used);
        }
        &mut self.bytes[self.end..self.end + len]
    }

    /// Room to read into.
    fn room(&mut self) -> &mut [u8] {
        self.reserve(READ_BYTES)
    }

    fn consume(&mut self, len: usize) {
        self.begin += len;
        if self.begin == self.end {
            // Nothing is kept longer than it is needed.
            zeroize::Zeroize::zeroize(&mut self.bytes[..self.end]);
            (self.begin, self.end) = (0, 0);
        }
    }

    fn put_before(&mut self, mut first: Self) {
        let len = self.as_slice().len();
        first.reserve(len).copy_from_slice(self.as_slice());
        first.end += len;
        *self = first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::SecretBytes;

    /// Longer and longer, so that the socket fills, buffers grow and some are too large to be kept.
    fn texts(sender: usize) -> impl Iterator<Item = String> {
        (0..60).map(move |n| format!("{sender}/{n}/{}", "x".repeat(n * n * 25)))
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_several_send_at_once_arrives_whole_and_each_ones_in_order() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (port, other) = (std::sync::Arc::new(Port::new(ours)), Port::new(theirs));
        let unblocking = tokio::spawn({
            let port = std::sync::Arc::clone(&port);
            async move { port.unblock().await }
        });
        for sender in 0..4 {
            let port = std::sync::Arc::clone(&port);
            tokio::spawn(async move {
                for text in texts(sender) {
                    port.send(&text).unwrap();
                    tokio::task::yield_now().await;
                }
            });
        }
        let (mut inbox, mut expected) = (Inbox::default(), [0, 1, 2, 3].map(texts));
        for _ in 0..4 * 60 {
            let text: String = loop {
                match inbox.next().unwrap() {
                    Some(text) => break text,
                    None => assert!(other.fill(&mut inbox).await.unwrap()),
                }
            };
            let sender = usize::from(text.as_bytes()[0] - b'0');
            assert_eq!(expected[sender].next(), Some(text));
        }
        unblocking.abort();
    }

    #[test]
    fn a_buffer_that_is_done_with_holds_nothing_and_is_kept_unless_it_grew_large() {
        for (length, is_kept) in [(100, true), (READ_BYTES + 1, false)] {
            let mut outbox = Outbox::default();
            outbox.bytes.push(&"x".repeat(length)).unwrap();
            let mut batch = std::mem::take(&mut outbox.bytes);
            batch.consume(batch.as_slice().len());
            assert!(batch.bytes.iter().all(|byte| *byte == 0));
            outbox.take_back(batch);
            assert_eq!((outbox.spare.bytes.is_empty(), outbox.bytes.is_empty()), (!is_kept, true));
        }
    }

    #[test]
    fn secret_bytes_are_written_for_processes_and_not_for_people() {
        let secret = SecretBytes::from(b"attack at dawn".to_vec());
        let sent = postcard::to_allocvec(&secret).expect("bytes");
        assert_eq!(postcard::from_bytes::<SecretBytes>(&sent).expect("bytes").expose(), secret.expose());
        assert!(serde_json::to_string(&secret).is_err());
        assert!(serde_json::from_str::<SecretBytes>("[97]").is_err());
    }
}
