//! Numbers that look random and depend on their key alone: the same key gives the same numbers on every host.

/// A counter-based generator: SplitMix64 (Steele, Lea and Flood 2014) over a mixed key.
#[derive(Debug, Clone)]
pub struct Keyed {
    state: u64,
}

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

impl Keyed {
    /// A generator for one decision of one experiment.
    pub fn new(seed: u32, id: u128) -> Self {
        let low = mix(id as u64 ^ mix(u64::from(seed) ^ GOLDEN));
        Self { state: mix((id >> 64) as u64 ^ low) }
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(GOLDEN);
        mix(self.state)
    }

    /// The next number in 0..1: a multiple of 2^-53, uniform.
    pub fn uniform(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// A standard normal number, by its quantile function.
    pub fn normal(&mut self) -> f64 {
        let centred = ((self.bits() >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
        crate::numeric::special::normal_quantile(centred)
    }
}

fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mixing_is_splitmix64() {
        // The first outputs of the reference generator for the state 1234567.
        let mut generator = Keyed { state: 1_234_567 };
        assert_eq!(generator.bits(), 6_457_827_717_110_365_317);
        assert_eq!(generator.bits(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn neighbouring_ids_give_uniform_numbers_without_correlation() {
        let numbers: Vec<f64> = (0..100_000u128).map(|id| Keyed::new(7, id).uniform()).collect();
        let mean = numbers.iter().sum::<f64>() / 1e5;
        let lag = numbers.windows(2).map(|pair| (pair[0] - 0.5) * (pair[1] - 0.5)).sum::<f64>() / 1e5;
        assert!((mean - 0.5).abs() < 0.004, "{mean}");
        assert!(lag.abs() < 0.002, "{lag}");
    }
}
