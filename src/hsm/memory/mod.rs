//! The memory that the service shares with one worker process, through which commands go and answers come back.
//!
//! ```text
//! service                                             worker process
//!   puts a command into a mailbox, wakes a thread ──────▶   the thread takes it, makes its calls to the HSM,
//!   takes all answers that are there           ◀──────   puts the answer there, calls the service
//! ```
//!
//! Nobody stands in between. Queues, deadlines and fairness are the service's (`dispatch`); here is only what crosses.

mod bells;
mod layout;
mod mailboxes;
mod moment;
#[cfg(test)]
mod round_trips;
mod shared_memory;
mod stage;

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
};

use rustix::pipe::{PipeFlags, pipe_with};
use tokio::net::unix::pipe::Receiver;

use shared_memory::SharedMemory;

pub(in crate::hsm) use bells::Bells;
pub(in crate::hsm) use layout::{AHEAD, LANES, Layout, MAILBOX_BYTES};
pub use layout::{Lane, MAX_SESSIONS};
pub(in crate::hsm) use mailboxes::{Corrupted, Mailboxes};
pub(in crate::hsm) use moment::Moment;
pub(in crate::hsm) use stage::{Stage, Turn};

/// The number of file descriptors that make a memory: of the memory itself, and of the pipe.
const FILES: usize = 2;

/// One end of the memory that a service and a worker process share.
pub(in crate::hsm) struct Memory {
    shared: SharedMemory,
    /// The end of a pipe by which a worker process calls the service.
    caller: OwnedFd,
    layout: Layout,
    seed: u64,
}

/// What comes to a worker process first.
pub(in crate::hsm) struct SentMemory {
    file: OwnedFd,
    caller: OwnedFd,
}

impl Memory {
    /// New memory for a worker process with so many workers, and the end of the pipe by which the process calls; `seed` is what
    /// makes its checksums like no others. Must be called in a runtime.
    pub(in crate::hsm) fn create(workers: usize, seed: u64) -> io::Result<(Self, Receiver)> {
        let layout = Layout::new(workers);
        let shared = SharedMemory::create(mailboxes::words(layout.all_mailboxes()))?;
        let (called, caller) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        let memory = Self { shared, caller, layout, seed }.checked()?;
        Ok((memory, Receiver::from_owned_fd(called)?))
    }

    /// New memory that nobody is called by.
    #[cfg(test)]
    pub(in crate::hsm) fn for_tests(workers: usize) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
        let _entered = runtime.enter();
        Self::create(workers, 7).unwrap().0
    }

    /// Writes into the bytes of a mailbox, as a module may that has lost its way.
    #[cfg(test)]
    pub(in crate::hsm) fn corrupt(&self, mailbox: usize) {
        self.mailboxes().corrupt(mailbox);
    }

    /// Sends it to the worker process at the other end of the socket.
    pub(in crate::hsm) fn send(&self, socket: &UnixStream) -> io::Result<()> {
        let files = [self.shared.file(), self.caller.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FILES))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !control.push(SendAncillaryMessage::ScmRights(&files)) {
            return Err(io::Error::other("no room for the file descriptors"));
        }
        rustix::net::sendmsg(socket, &[IoSlice::new(&[0])], &mut control, SendFlags::empty())?;
        Ok(())
    }

    fn checked(self) -> io::Result<Self> {
        let is_large = self.shared.long_words().len() >= mailboxes::words(self.layout.all_mailboxes());
        match is_large && self.shared.short_words().1.len() >= self.layout.all_threads() {
            true => Ok(self),
            false => Err(io::Error::new(io::ErrorKind::InvalidData, "the memory is too small")),
        }
    }

    pub(in crate::hsm) fn layout(&self) -> Layout {
        self.layout
    }

    pub(in crate::hsm) fn mailboxes(&self) -> Mailboxes<'_> {
        Mailboxes::new(self.shared.long_words(), self.layout.all_mailboxes(), self.seed)
    }

    pub(in crate::hsm) fn bells(&self) -> Bells<'_> {
        let (called, threads) = self.shared.short_words();
        Bells::new(called, threads)
    }

    /// Calls the service to take the answers that are there.
    pub(in crate::hsm) fn call_service(&self) {
        self.bells().call(&self.caller);
    }
}

impl SentMemory {
    /// Tells the worker process at the other end of the socket that it gets none.
    pub(in crate::hsm) fn send_none(socket: &UnixStream) -> io::Result<()> {
        rustix::net::send(socket, &[0], SendFlags::empty())?;
        Ok(())
    }

    /// Receives what [`Memory::send`] has sent; `None` if it was nothing.
    pub(in crate::hsm) fn receive(socket: &UnixStream) -> io::Result<Option<Self>> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FILES))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut byte = [0];
        rustix::net::recvmsg(socket, &mut [IoSliceMut::new(&mut byte)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
        let rights = control.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(files) => Some(files.collect::<Vec<_>>()),
            _ => None,
        });
        let files = rights.and_then(|files| <[OwnedFd; FILES]>::try_from(files).ok());
        Ok(files.map(|[file, caller]| Self { file, caller }))
    }

    /// The memory; the service says how many workers there are, and the seed.
    ///
    /// # Errors
    /// If it is no memory for so many.
    pub(in crate::hsm) fn open(self, workers: usize, seed: u64) -> io::Result<Memory> {
        let Self { file, caller } = self;
        Memory { shared: SharedMemory::map(file)?, caller, layout: Layout::new(workers), seed }.checked()
    }
}
