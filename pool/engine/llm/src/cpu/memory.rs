//! Memory that threads share while a step runs.

use engine_core::{EngineError, Reason};
use memmap2::MmapMut;
use std::marker::PhantomData;
use std::ops::Range;

/// From this size on, memory is aligned to pages of 2 MB, which the system then uses where it can: weights are read from end
/// to end for each token, and with pages of 4 KB that is slower by half.
const HUGE_PAGE: usize = 2 << 20;

/// Numbers that several threads read and write, in parts that do not overlap; zero at first, and not held in memory until
/// they are touched.
#[derive(Debug)]
pub struct SharedBuffer<T> {
    map: Option<MmapMut>,
    start: *mut T,
    length: usize,
    element: PhantomData<T>,
}

// SAFETY: it is plain memory of numbers; who may touch which part at what time is agreed by its users (see `part`).
unsafe impl<T: Send> Send for SharedBuffer<T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for SharedBuffer<T> {}

/// Types for which all bytes zero is a value, and which need no drop.
pub trait Number: Copy + Send + Sync + 'static {}
impl Number for u8 {}
impl Number for i8 {}
impl Number for u16 {}
impl Number for f32 {}

impl<T: Number> SharedBuffer<T> {
    /// `length` zeros.
    pub fn new(length: usize) -> Result<Self, EngineError> {
        if length == 0 {
            return Ok(Self { map: None, start: std::ptr::dangling_mut(), length, element: PhantomData });
        }
        let too_much = || {
            let message = format!("The system has no {length} times {} bytes of memory.", size_of::<T>());
            EngineError::new(Reason::MemoryExceeded, message)
        };
        let bytes = length.checked_mul(size_of::<T>()).ok_or_else(too_much)?;
        let alignment = if bytes >= HUGE_PAGE { HUGE_PAGE } else { 1 };
        let mut map = MmapMut::map_anon(bytes + alignment - 1).map_err(|_| too_much())?;
        #[cfg(target_os = "linux")]
        if alignment == HUGE_PAGE {
            // Without huge pages it is slower, not wrong.
            let _ = map.advise(memmap2::Advice::HugePage);
        }
        let offset = map.as_ptr().align_offset(alignment);
        let start = map.as_mut_ptr().wrapping_add(offset).cast();
        Ok(Self { map: Some(map), start, length, element: PhantomData })
    }

    /// Elements.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Bytes held.
    pub fn bytes(&self) -> u64 {
        self.map.as_ref().map_or(0, |map| map.len() as u64)
    }

    /// The first element.
    pub fn pointer(&self) -> *mut T {
        self.start
    }

    /// Elements to read and write.
    ///
    /// # Safety
    /// While the reference lives, nobody else writes to these elements, or reads them if this one writes.
    #[allow(clippy::mut_from_ref, reason = "the caller answers for parts not overlapping")]
    pub unsafe fn part(&self, range: Range<usize>) -> &mut [T] {
        assert!(range.start <= range.end && range.end <= self.length, "a part beyond the buffer");
        // SAFETY: within the mapping (checked above), zeros at first, and not aliased by contract.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(range.start), range.len()) }
    }
}
