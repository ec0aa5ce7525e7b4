//! The sum of all bytes: the operation by which the boundary is measured, and so as fast as memory is read.

/// The sum of all bytes.
#[cfg(target_arch = "x86_64")]
pub fn sum(bytes: &[u8]) -> u64 {
    /// Fewer bytes than this are over before the wider instructions pay.
    const WIDE_BYTES_MIN: usize = 1024;
    if bytes.len() >= WIDE_BYTES_MIN && std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2.
        return unsafe { sum_avx2(bytes) };
    }
    // SAFETY: SSE2 is part of every x86-64.
    unsafe { sum_sse2(bytes) }
}

/// As [`sum_sse2`], with twice as many bytes in each instruction.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn sum_avx2(bytes: &[u8]) -> u64 {
    use std::arch::x86_64::{
        __m256i, _mm256_add_epi64, _mm256_loadu_si256, _mm256_sad_epu8, _mm256_setzero_si256, _mm256_storeu_si256,
    };
    const ACCUMULATORS: usize = 8;
    const LANE_BYTES: usize = size_of::<__m256i>();
    let zero = _mm256_setzero_si256();
    let mut sums = [zero; ACCUMULATORS];
    let (rounds, rest) = bytes.as_chunks::<{ ACCUMULATORS * LANE_BYTES }>();
    for round in rounds {
        for (sum, lane) in sums.iter_mut().zip(round.as_chunks::<LANE_BYTES>().0) {
            // SAFETY: a lane is 32 readable bytes, and this load needs no alignment.
            let lane = unsafe { _mm256_loadu_si256(lane.as_ptr().cast()) };
            *sum = _mm256_add_epi64(*sum, _mm256_sad_epu8(lane, zero));
        }
    }
    let mut total = zero;
    for sum in sums {
        total = _mm256_add_epi64(total, sum);
    }
    let mut quarters = [0_u64; 4];
    // SAFETY: four numbers of 64 bits are writable, and this store needs no alignment.
    unsafe { _mm256_storeu_si256(quarters.as_mut_ptr().cast(), total) };
    quarters.iter().sum::<u64>() + sum_portable(rest)
}

/// Sums of absolute differences to zero, which add eight bytes into 64 bits; four at once hide their latency.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "sse2")]
fn sum_sse2(bytes: &[u8]) -> u64 {
    use std::arch::x86_64::{
        __m128i, _mm_add_epi64, _mm_cvtsi128_si64, _mm_loadu_si128, _mm_sad_epu8, _mm_setzero_si128, _mm_srli_si128,
    };
    const ACCUMULATORS: usize = 4;
    let zero = _mm_setzero_si128();
    let mut sums = [zero; ACCUMULATORS];
    let (rounds, rest) = bytes.as_chunks::<{ ACCUMULATORS * size_of::<__m128i>() }>();
    for round in rounds {
        for (sum, lane) in sums.iter_mut().zip(round.as_chunks::<{ size_of::<__m128i>() }>().0) {
            // SAFETY: a lane is 16 readable bytes, and this load needs no alignment.
            let lane = unsafe { _mm_loadu_si128(lane.as_ptr().cast()) };
            *sum = _mm_add_epi64(*sum, _mm_sad_epu8(lane, zero));
        }
    }
    let mut total = zero;
    for sum in sums {
        total = _mm_add_epi64(total, sum);
    }
    let low = _mm_cvtsi128_si64(total).cast_unsigned();
    let high = _mm_cvtsi128_si64(_mm_srli_si128::<8>(total)).cast_unsigned();
    low + high + sum_portable(rest)
}

/// The sum of all bytes.
#[cfg(not(target_arch = "x86_64"))]
pub fn sum(bytes: &[u8]) -> u64 {
    sum_portable(bytes)
}

/// Lanes of 16 bits side by side, which the compiler turns into vector instructions.
fn sum_portable(bytes: &[u8]) -> u64 {
    const LANES: usize = 64;
    /// A lane holds the sum of 256 bytes of 255.
    const BLOCK_BYTES: usize = 256 * LANES;
    let sum_block = |block: &[u8]| {
        let mut lanes = [0_u16; LANES];
        let (rounds, rest) = block.as_chunks::<LANES>();
        for round in rounds {
            for (lane, byte) in lanes.iter_mut().zip(round) {
                *lane += u16::from(*byte);
            }
        }
        let lanes = lanes.into_iter().map(u64::from).sum::<u64>();
        lanes + rest.iter().map(|byte| u64::from(*byte)).sum::<u64>()
    };
    bytes.chunks(BLOCK_BYTES).map(sum_block).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_lane_overflows_and_no_byte_is_left_out() {
        for length in [0, 1, 15, 16, 63, 64, 65, 255, 1023, 1024, 1025, 1279, 16_383, 16_384, 16_385, 1_000_003] {
            let highest = vec![255; length];
            let mixed: Vec<u8> = (0..length).map(|index| (index * 7 % 251) as u8).collect();
            for bytes in [highest, mixed] {
                let expected: u64 = bytes.iter().map(|byte| u64::from(*byte)).sum();
                assert_eq!(sum(&bytes), expected, "{length} bytes");
                assert_eq!(sum_portable(&bytes), expected, "{length} bytes, portable");
            }
        }
    }
}
