//! Numbers by chance that depend on a seed, a stream and a position alone: whatever else runs, and however often a sequence
//! is begun anew, its n-th number is the same.

/// A counter-based generator: each number is the hash of its place (Salmon et al. 2011, "Parallel random numbers: as easy
/// as 1, 2, 3"), with the finaliser of SplitMix64 (Steele, Lea and Flood 2014) as the hash. Not for secrets.
#[derive(Debug, Clone)]
pub struct Random {
    key: u64,
    position: u64,
}

fn mix(mut value: u64) -> u64 {
    value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ (value >> 31)
}

const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

impl Random {
    /// The generator of a seed's stream, at position 0.
    pub fn new(seed: u64, stream: u64) -> Self {
        let key = mix(mix(seed.wrapping_add(STEP)) ^ mix(stream.wrapping_mul(STEP).wrapping_add(1)));
        Self { key, position: 0 }
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.position += 1;
        mix(self.key.wrapping_add(self.position.wrapping_mul(STEP)))
    }

    /// The next number in [0, 1), in steps of 2⁻⁵³.
    pub fn unit(&mut self) -> f64 {
        (self.number() >> 11) as f64 * (1.0 / (1_u64 << 53) as f64)
    }

    /// The next number below `bound`, which is over 0. Uneven by less than `bound` / 2⁶⁴.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.number()) * u128::from(bound)) >> 64) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_and_a_stream_give_the_same_numbers_and_others_do_not() {
        let numbers = |seed, stream| -> Vec<u64> {
            let mut random = Random::new(seed, stream);
            (0..8).map(|_| random.number()).collect()
        };
        assert_eq!(numbers(1, 2), numbers(1, 2));
        assert_ne!(numbers(1, 2), numbers(2, 1));
        assert_ne!(numbers(0, 0), numbers(0, 1));
    }

    #[test]
    fn numbers_are_spread_evenly() {
        const DRAWS: u32 = 160_000;
        let mut random = Random::new(3, 0);
        let mut counts = [0_u32; 16];
        for _ in 0..DRAWS {
            counts[(random.unit() * 16.0) as usize] += 1;
        }
        let expected = f64::from(DRAWS) / 16.0;
        let chi_square: f64 = counts.iter().map(|&count| (f64::from(count) - expected).powi(2) / expected).sum();
        // 15 degrees of freedom: 37.7 is passed by chance once in a thousand.
        assert!(chi_square < 37.7, "{chi_square}");
    }
}
