//! Memory that the service and a worker process share: an anonymous file, mapped by both.
//!
//! It is only ever seen as atomic words, so a module that writes over it in the worker process changes values and nothing
//! else. Its size is sealed, so no access to it can fail.

#![allow(unsafe_code, reason = "mapping a file; every block says why it is sound")]

use std::ffi::c_void;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::atomic::{AtomicU32, AtomicU64};

use rustix::fs::{MemfdFlags, SealFlags};
use rustix::mm::{Advice, MapFlags, ProtFlags};

/// Bytes at the beginning that are words of 32 bits; the rest are words of 64.
const SHORT_WORDS_BYTES: usize = 4096;

/// A mapping of shared memory.
pub(super) struct SharedMemory {
    begin: NonNull<c_void>,
    bytes: usize,
    file: OwnedFd,
}

// SAFETY: everything behind the pointer is atomic words, which all threads may use; the mapping goes with the value only.
unsafe impl Send for SharedMemory {}
// SAFETY: as above.
unsafe impl Sync for SharedMemory {}

impl SharedMemory {
    /// New memory of zeros with room for so many words of 64 bits.
    pub(super) fn create(long_words: usize) -> io::Result<Self> {
        let file = rustix::fs::memfd_create(c"strongroom", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        rustix::fs::ftruncate(&file, (SHORT_WORDS_BYTES + long_words * size_of::<u64>()) as u64)?;
        rustix::fs::fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
        Self::map(file)
    }

    /// The memory that another process has created.
    pub(super) fn map(file: OwnedFd) -> io::Result<Self> {
        let bytes = usize::try_from(rustix::fs::fstat(&file)?.st_size).map_err(io::Error::other)?;
        if bytes < SHORT_WORDS_BYTES || !rustix::fs::fcntl_get_seals(&file)?.contains(SealFlags::SHRINK) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "not the memory of a service"));
        }
        // SAFETY: a new mapping at an address that the kernel chooses takes no memory that is in use.
        let begin = unsafe {
            rustix::mm::mmap(ptr::null_mut(), bytes, ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED, &file, 0)?
        };
        let begin = NonNull::new(begin).ok_or_else(|| io::Error::other("mapped at zero"))?;
        let memory = Self { begin, bytes, file };
        // Plaintexts pass here, which no core dump is to have.
        // SAFETY: the range is the mapping, and the advice changes nothing in it.
        unsafe { rustix::mm::madvise(begin.as_ptr(), bytes, Advice::LinuxDontDump)? };
        Ok(memory)
    }

    /// The file, for the other process.
    pub(super) fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// The words of 32 bits, which threads of both processes can wait for: the first, and the others.
    pub(super) fn short_words(&self) -> (&AtomicU32, &[AtomicU32]) {
        // SAFETY: the range is at the beginning of a page, within the mapping (`map` has seen to it) and there as long as
        // `self`; zeros are atomics, and nobody has a view of it that is not atomic.
        let words: &[AtomicU32; SHORT_WORDS_BYTES / size_of::<u32>()] = unsafe { self.begin.cast().as_ref() };
        let [first, others @ ..] = words;
        (first, others)
    }

    /// The words of 64 bits.
    pub(super) fn long_words(&self) -> &[AtomicU64] {
        let count = (self.bytes - SHORT_WORDS_BYTES) / size_of::<u64>();
        // SAFETY: as above; it begins at a multiple of eight, for the mapping begins at one of the page size.
        unsafe { slice::from_raw_parts(self.begin.as_ptr().byte_add(SHORT_WORDS_BYTES).cast(), count) }
    }
}

impl Drop for SharedMemory {
    fn drop(&mut self) {
        // SAFETY: it is this value's own mapping, and every view of it borrows the value. A mapping that cannot be taken away
        // stays, which costs memory only.
        let _ = unsafe { rustix::mm::munmap(self.begin.as_ptr(), self.bytes) };
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;

    #[test]
    fn what_one_mapping_writes_the_other_reads() {
        let ours = SharedMemory::create(100).unwrap();
        let theirs = SharedMemory::map(ours.file().try_clone_to_owned().unwrap()).unwrap();
        assert_eq!((theirs.short_words().1.len(), theirs.long_words().len()), (1023, 100));
        ours.long_words()[99].store(u64::MAX, Ordering::Release);
        theirs.short_words().1[1022].store(7, Ordering::Release);
        assert_eq!(theirs.long_words()[99].load(Ordering::Acquire), u64::MAX);
        assert_eq!(ours.short_words().1[1022].load(Ordering::Acquire), 7);
    }

    #[test]
    fn a_file_whose_size_may_change_is_refused() {
        let file = rustix::fs::memfd_create(c"other", MemfdFlags::CLOEXEC).unwrap();
        rustix::fs::ftruncate(&file, 8192).unwrap();
        assert!(SharedMemory::map(file).is_err());
    }
}
