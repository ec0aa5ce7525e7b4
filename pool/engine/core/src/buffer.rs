//! Bytes of our own, in whichever memory the transport wants them.
//!
//! A transport that shares memory with the caller gives an [`OutputMemory`] along in the `CallContext`. Whoever makes a
//! reply takes its memory from there, and writes the result once, where the caller reads it. Everyone else gets the heap.

use std::any::Any;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

#[cfg(target_endian = "big")]
compile_error!("Tensors are little-endian on every boundary, and are handed over as they lie.");

/// A piece of memory with an owner. Dropping it gives the memory back; a transport that hands it to the other side takes
/// it out with [`Buffer::into_segment`] first, and finds its own type again through [`Any`].
pub trait Segment: Any + Send + Sync {
    /// The bytes, always the same and at the same address.
    fn bytes(&self) -> &[u8];
    /// The bytes, for writing.
    fn bytes_mut(&mut self) -> &mut [u8];
}

/// Gives memory for what a call answers with. Called from any thread, also after the call's caller went away.
pub trait OutputMemory: Send + Sync {
    /// Memory of exactly `length` bytes, of any content, aligned to 8 bytes or more. None where there is no room: the
    /// heap is used then, and the transport copies.
    fn reserve(&self, length: usize) -> Option<Box<dyn Segment>>;
}

/// Bytes of our own. Reads and writes like a slice; where they lie is the allocator's affair.
pub struct Buffer(Place);

enum Place {
    Heap(Vec<u8>),
    Segment(Box<dyn Segment>),
}

impl Buffer {
    /// `length` bytes in `memory`, or on the heap where there is none or it is full. The content is arbitrary: write all
    /// of it.
    pub fn reserve(memory: Option<&Arc<dyn OutputMemory>>, length: usize) -> Self {
        match memory.and_then(|memory| memory.reserve(length)) {
            Some(segment) if segment.bytes().len() == length => Self(Place::Segment(segment)),
            _ => Self(Place::Heap(vec![0; length])),
        }
    }

    /// A copy of `bytes` in `memory`, or on the heap.
    pub fn copy_into(memory: Option<&Arc<dyn OutputMemory>>, bytes: &[u8]) -> Self {
        let Some(mut segment) = memory.and_then(|memory| memory.reserve(bytes.len())) else {
            return Self::from(bytes.to_vec());
        };
        match segment.bytes_mut() {
            room if room.len() == bytes.len() => room.copy_from_slice(bytes),
            _ => return Self::from(bytes.to_vec()),
        }
        Self(Place::Segment(segment))
    }

    /// The segment that the transport gave, so that it can hand it on; or, where the bytes lie elsewhere, the buffer.
    pub fn into_segment<S: Segment>(self) -> Result<Box<S>, Self> {
        match self.0 {
            Place::Segment(segment) if (segment.as_ref() as &dyn Any).is::<S>() => {
                let any: Box<dyn Any> = segment;
                any.downcast::<S>().map_err(|_| unreachable!("the type was just looked at"))
            }
            place => Err(Self(place)),
        }
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Place::Heap(bytes) => bytes,
            Place::Segment(segment) => segment.bytes(),
        }
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        match &mut self.0 {
            Place::Heap(bytes) => bytes,
            Place::Segment(segment) => segment.bytes_mut(),
        }
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl Default for Buffer {
    fn default() -> Self {
        Self(Place::Heap(Vec::new()))
    }
}

/// A copy on the heap.
impl Clone for Buffer {
    fn clone(&self) -> Self {
        Self(Place::Heap(self.to_vec()))
    }
}

impl PartialEq for Buffer {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = if matches!(self.0, Place::Heap(_)) { "heap" } else { "segment" };
        write!(formatter, "Buffer({} bytes, {place})", self.len())
    }
}

impl From<Vec<u8>> for Buffer {
    fn from(bytes: Vec<u8>) -> Self {
        Self(Place::Heap(bytes))
    }
}

/// Numbers whose bytes have no gaps and whose every bit pattern is a value.
mod number {
    /// Only the types below.
    pub trait Number: Copy + Send + Sync + 'static {}
    impl Number for f32 {}
    impl Number for f64 {}
    impl Number for i32 {}
    impl Number for i64 {}
    impl Number for u32 {}
    impl Number for u64 {}
}
pub(crate) use number::Number;

/// A vector of numbers as bytes, where it lies.
struct Numbers<N>(Vec<N>);

impl<N: Number> Segment for Numbers<N> {
    fn bytes(&self) -> &[u8] {
        bytes_of(&self.0)
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        let length = size_of_val(self.0.as_slice());
        // SAFETY: the vector's memory is that many initialised bytes without padding (`Number`), u8 has no alignment,
        // any bytes written are valid numbers, and the borrow of self covers the slice.
        unsafe { std::slice::from_raw_parts_mut(self.0.as_mut_ptr().cast(), length) }
    }
}

/// The numbers' bytes, where they lie.
pub(crate) fn bytes_of<N: Number>(numbers: &[N]) -> &[u8] {
    // SAFETY: the slice's memory is that many initialised bytes without padding (`Number`), and u8 has no alignment.
    unsafe { std::slice::from_raw_parts(numbers.as_ptr().cast(), size_of_val(numbers)) }
}

/// The bytes as numbers, where they lie; none where they are not aligned, or not a whole number of them.
pub(crate) fn numbers_of_mut<N: Number>(bytes: &mut [u8]) -> Option<&mut [N]> {
    // SAFETY: every bit pattern is a valid number (`Number`).
    let (before, numbers, after) = unsafe { bytes.align_to_mut::<N>() };
    (before.is_empty() && after.is_empty()).then_some(numbers)
}

/// Without a copy.
impl<N: Number> From<Vec<N>> for Buffer {
    fn from(numbers: Vec<N>) -> Self {
        Self(Place::Segment(Box::new(Numbers(numbers))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[derive(Debug)]
    struct Counted(Vec<u8>);
    impl Segment for Counted {
        fn bytes(&self) -> &[u8] {
            &self.0
        }
        fn bytes_mut(&mut self) -> &mut [u8] {
            &mut self.0
        }
    }

    struct Room(AtomicUsize);
    impl OutputMemory for Room {
        fn reserve(&self, length: usize) -> Option<Box<dyn Segment>> {
            self.0
                .try_update(Ordering::Relaxed, Ordering::Relaxed, |room| room.checked_sub(length))
                .ok()
                .map(|_| Box::new(Counted(vec![0xff; length])) as Box<dyn Segment>)
        }
    }

    #[test]
    fn a_buffer_lies_in_the_output_memory_until_it_is_full_and_on_the_heap_then() {
        let room: Arc<dyn OutputMemory> = Arc::new(Room(AtomicUsize::new(10)));
        let first = Buffer::copy_into(Some(&room), b"12345678");
        let second = Buffer::copy_into(Some(&room), b"12345678");
        assert_eq!(first, second);
        assert_eq!(first.into_segment::<Counted>().ok().map(|segment| segment.0), Some(b"12345678".to_vec()));
        let second = second.into_segment::<Counted>().expect_err("there was no room");
        assert_eq!(&second[..], b"12345678");
    }

    #[test]
    fn a_vector_of_numbers_becomes_a_buffer_where_it_lies() {
        let numbers = vec![1.0_f32, -2.5, f32::NAN];
        let address = numbers.as_ptr().cast::<u8>();
        let mut buffer = Buffer::from(numbers);
        assert_eq!(buffer.as_ptr(), address);
        assert_eq!(buffer[..4], 1.0_f32.to_le_bytes());
        buffer[4..8].copy_from_slice(&7.0_f32.to_le_bytes());
        assert_eq!(numbers_of_mut::<f32>(&mut buffer).expect("aligned")[1], 7.0);
        assert!(numbers_of_mut::<f32>(&mut buffer[1..5]).is_none());
        assert!(numbers_of_mut::<f32>(&mut buffer[..3]).is_none());
        assert!(buffer.into_segment::<Counted>().is_err());
    }
}
