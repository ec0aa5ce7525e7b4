//! Mapped memory, and checked access to it.

use crate::layout::Piece;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU32, AtomicU64};

/// Whether a mapping may be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Reading alone.
    Read,
    /// Reading and writing.
    ReadWrite,
}

/// A memfd, mapped until it is dropped.
pub struct Region {
    start: *mut u8,
    length: usize,
    access: Access,
    file: OwnedFd,
}

// SAFETY: the mapping belongs to the region until it is dropped; all access goes through checked methods.
unsafe impl Send for Region {}
// SAFETY: as above; what is written while others read is atomic, or handed over by a queue.
unsafe impl Sync for Region {}

impl Region {
    /// Maps the whole of `file`, which must be sealed against shrinking: reading beyond a file's end kills the process.
    pub fn map(file: OwnedFd, access: Access) -> io::Result<Self> {
        // SAFETY: fcntl on a descriptor that we own.
        let seals = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GET_SEALS) };
        if seals < 0 || seals & libc::F_SEAL_SHRINK == 0 {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "shared memory must be sealed against shrinking"));
        }
        let length = file_length(file.as_fd())?;
        if length == 0 {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "shared memory is empty"));
        }
        let protection = match access {
            Access::Read => libc::PROT_READ,
            Access::ReadWrite => libc::PROT_READ | libc::PROT_WRITE,
        };
        // SAFETY: a new mapping at an address that the kernel chooses; it replaces nothing.
        let start =
            unsafe { libc::mmap(std::ptr::null_mut(), length, protection, libc::MAP_SHARED, file.as_raw_fd(), 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Self { start: start.cast(), length, access, file })
    }

    /// Bytes mapped.
    pub fn length(&self) -> usize {
        self.length
    }

    /// Whether `piece` lies inside.
    pub fn contains(&self, piece: Piece) -> bool {
        piece.offset.checked_add(piece.length).is_some_and(|end| end <= self.length as u64)
    }

    /// The bytes of `piece`, or `None` where it does not lie inside.
    ///
    /// # Safety
    /// The protocol must give these bytes to this process for reading as long as the slice lives: the other process does
    /// not write them in that time. (Were it to break that, values read could change; no bound would be overrun.)
    pub unsafe fn slice(&self, piece: Piece) -> Option<&[u8]> {
        if !self.contains(piece) {
            return None;
        }
        // SAFETY: `contains` put the piece inside the mapping; nobody writes it, by the caller's promise.
        Some(unsafe { std::slice::from_raw_parts(self.start.add(piece.offset as usize), piece.length as usize) })
    }

    /// The address of `piece` for writing, or `None` where it does not lie inside, or the region is for reading.
    pub fn pointer(&self, piece: Piece) -> Option<*mut u8> {
        if self.access == Access::Read || !self.contains(piece) {
            return None;
        }
        // SAFETY: inside the mapping.
        Some(unsafe { self.start.add(piece.offset as usize) })
    }

    /// Copies a value out of shared memory, once: what is checked is what is used.
    pub(crate) fn read<T: Copy>(&self, offset: usize) -> Option<T> {
        if !self.contains(Piece { offset: offset as u64, length: size_of::<T>() as u64 }) {
            return None;
        }
        // SAFETY: inside the mapping; `T` is a plain structure of integers (this is crate-private), any bytes are valid.
        Some(unsafe { self.start.add(offset).cast::<T>().read_unaligned() })
    }

    /// Copies a value into shared memory; false where it does not fit.
    pub(crate) fn write<T: Copy>(&self, offset: usize, value: T) -> bool {
        match self.pointer(Piece { offset: offset as u64, length: size_of::<T>() as u64 }) {
            // SAFETY: inside a writable mapping.
            Some(target) => unsafe { target.cast::<T>().write_unaligned(value) },
            None => return false,
        }
        true
    }

    /// A word that both processes change.
    ///
    /// # Panics
    /// Where `offset` is not a multiple of 4 inside the region: offsets are constants of the layout.
    pub fn word(&self, offset: usize) -> &AtomicU32 {
        assert!(offset.is_multiple_of(4) && offset + 4 <= self.length && self.access == Access::ReadWrite);
        // SAFETY: aligned (mappings begin at a page), inside, and only ever used as an atomic.
        unsafe { AtomicU32::from_ptr(self.start.add(offset).cast()) }
    }

    /// The integers of the header, which nobody changes after the start.
    pub fn read_u32(&self, offset: usize) -> Option<u32> {
        self.read(offset)
    }

    /// As [`Self::read_u32`].
    pub fn read_u64(&self, offset: usize) -> Option<u64> {
        self.read(offset)
    }

    /// As [`Self::read_u32`].
    pub fn read_bytes<const LENGTH: usize>(&self, offset: usize) -> Option<[u8; LENGTH]> {
        self.read(offset)
    }

    /// Gives the pages of `piece` back to the system; they read as zeros afterwards. `piece` is cut to whole pages.
    pub fn give_back(&self, piece: Piece) -> io::Result<()> {
        if !self.contains(piece) || piece.length == 0 {
            return Ok(());
        }
        let (offset, length) = (piece.offset as libc::off_t, piece.length as libc::off_t);
        let mode = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
        // SAFETY: a system call on a descriptor that we own; the length of the file stays.
        match unsafe { libc::fallocate(self.file.as_raw_fd(), mode, offset, length) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: our own mapping; borrowed slices cannot outlive the region.
        unsafe { libc::munmap(self.start.cast(), self.length) };
    }
}

fn file_length(file: BorrowedFd<'_>) -> io::Result<usize> {
    let mut status = std::mem::MaybeUninit::<libc::stat>::uninit();
    // SAFETY: fstat fills the structure where it returns 0.
    if unsafe { libc::fstat(file.as_raw_fd(), status.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: filled.
    let length = unsafe { status.assume_init() }.st_size;
    usize::try_from(length).map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "a length below zero"))
}

/// A sealed memfd of `length` bytes: what the server makes, for tests of this side.
pub fn memory_for_tests(length: usize) -> io::Result<OwnedFd> {
    use std::os::fd::FromRawFd;
    // SAFETY: a fresh descriptor, owned from here on.
    let file = unsafe {
        let file = libc::memfd_create(c"treeline-test".as_ptr(), libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING);
        if file < 0 {
            return Err(io::Error::last_os_error());
        }
        OwnedFd::from_raw_fd(file)
    };
    // SAFETY: system calls on our descriptor.
    let failed = unsafe {
        libc::ftruncate(file.as_raw_fd(), length as libc::off_t) != 0
            || libc::fcntl(file.as_raw_fd(), libc::F_ADD_SEALS, libc::F_SEAL_SHRINK | libc::F_SEAL_GROW) != 0
    };
    if failed { Err(io::Error::last_os_error()) } else { Ok(file) }
}

const _: () = assert!(size_of::<AtomicU64>() == 8 && size_of::<usize>() == 8, "64-bit machines only");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_outside_is_refused_whatever_its_numbers() {
        let region = Region::map(memory_for_tests(8192).unwrap(), Access::ReadWrite).unwrap();
        let outside = [(8192, 1), (0, 8193), (u64::MAX, 1), (1, u64::MAX), (u64::MAX, u64::MAX), (8191, 2)];
        for (offset, length) in outside {
            let piece = Piece { offset, length };
            assert!(!region.contains(piece) && region.pointer(piece).is_none(), "{piece:?}");
            // SAFETY: nobody else writes.
            assert!(unsafe { region.slice(piece) }.is_none());
        }
        assert!(region.contains(Piece { offset: 8192, length: 0 }));
    }

    #[test]
    fn memory_that_could_shrink_is_refused() {
        let file = tempfile_without_seals();
        assert!(Region::map(file, Access::Read).is_err());
    }

    fn tempfile_without_seals() -> OwnedFd {
        use std::os::fd::FromRawFd;
        // SAFETY: a fresh descriptor.
        unsafe {
            let file = libc::memfd_create(c"treeline-test".as_ptr(), libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING);
            libc::ftruncate(file, 4096);
            OwnedFd::from_raw_fd(file)
        }
    }

    #[test]
    fn a_region_for_reading_gives_no_pointer() {
        let region = Region::map(memory_for_tests(4096).unwrap(), Access::Read).unwrap();
        assert!(region.pointer(Piece { offset: 0, length: 1 }).is_none());
        assert!(!region.write(0, 1_u32));
    }
}
