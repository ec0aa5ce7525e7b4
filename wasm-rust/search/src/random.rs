//! The search's own source of chance: xoshiro256++ (Blackman and Vigna, 2018), and the distributions drawn from it. All
//! is made of the four operations, the square root and [`crate::mathematics`], so a seed means the same on every host.

use crate::mathematics::{exp, ln};

/// A generator. Its four words are all of its state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Random {
    words: [u64; 4],
}

impl Random {
    /// The generator of a seed. The words come from splitmix64, so that near seeds give unrelated sequences.
    pub fn from_seed(seed: u64) -> Self {
        let mut state = seed;
        Self { words: std::array::from_fn(|_| splitmix(&mut state)) }
    }

    /// The generator in a state that [`Random::words`] gave; none for the one state that yields zeros alone.
    pub fn from_words(words: [u64; 4]) -> Option<Self> {
        words.iter().any(|&word| word != 0).then_some(Self { words })
    }

    /// The whole state.
    pub fn words(&self) -> [u64; 4] {
        self.words
    }

    /// 64 random bits.
    #[inline]
    pub fn bits(&mut self) -> u64 {
        let [a, b, c, d] = self.words;
        let result = a.wrapping_add(d).rotate_left(23).wrapping_add(a);
        let (c, d) = (c ^ a, d ^ b);
        self.words = [a ^ d, b ^ c, c ^ (b << 17), d.rotate_left(45)];
        result
    }

    /// Uniform in [0, 1).
    #[inline]
    pub fn uniform(&mut self) -> f64 {
        (self.bits() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    /// A point of the unit disc without its centre: its first coordinate and its squared radius. Both coordinates come
    /// from one draw, with 32 bits each.
    #[inline]
    fn disc(&mut self) -> (f64, f64) {
        const UNIT: f64 = 1.0 / (1u64 << 31) as f64;
        loop {
            let bits = self.bits();
            let (x, y) = (f64::from((bits >> 32) as i32) * UNIT, f64::from(bits as i32) * UNIT);
            let squared = x * x + y * y;
            if squared > 0.0 && squared <= 1.0 {
                return (x, squared);
            }
        }
    }

    /// Standard normal, by Marsaglia's polar method.
    #[inline]
    pub fn normal(&mut self) -> f64 {
        let (x, squared) = self.disc();
        x * (-2.0 * ln(squared) / squared).sqrt()
    }

    /// Student's t with `freedom` > 0 degrees, by Bailey's polar method (Mathematics of Computation 62, 1994), which
    /// needs no chi-square.
    #[inline]
    pub fn student(&mut self, freedom: f64) -> f64 {
        let (x, squared) = self.disc();
        student_at(freedom, x, squared)
    }

    /// Student's t where it is above a bar, none where it is not: the same draw as [`Random::student`], which mostly
    /// needs no logarithm to be seen below. With w the squared radius, t² ≤ freedom·(w^(−2/freedom) − 1), and by
    /// Bernoulli's inequality that reaches the bar's square only where w·(1 + bar²/2) < 1, from two degrees on.
    #[inline]
    pub fn student_above(&mut self, freedom: f64, bar: f64) -> Option<f64> {
        let (x, squared) = self.disc();
        if bar >= 0.0 && (x <= 0.0 || freedom >= 2.0 && squared * (1.0 + 0.5 * bar * bar) >= 1.0) {
            return None;
        }
        let drawn = student_at(freedom, x, squared);
        (drawn > bar).then_some(drawn)
    }

    /// Gamma of a shape above 0 and scale 1, by Marsaglia and Tsang's squeeze (2000).
    pub fn gamma(&mut self, shape: f64) -> f64 {
        if shape < 1.0 {
            let above = 1.0 - self.uniform();
            return self.gamma(shape + 1.0) * exp(ln(above) / shape);
        }
        let d = shape - 1.0 / 3.0;
        let c = 1.0 / (9.0 * d).sqrt();
        loop {
            let x = self.normal();
            let root = 1.0 + c * x;
            if root <= 0.0 {
                continue;
            }
            let cube = root * root * root;
            let above = 1.0 - self.uniform();
            if ln(above) < 0.5 * x * x + d * (1.0 - cube + ln(cube)) {
                return d * cube;
            }
        }
    }

    /// Beta with both parameters above 0.
    pub fn beta(&mut self, a: f64, b: f64) -> f64 {
        let x = self.gamma(a);
        x / (x + self.gamma(b))
    }
}

/// Student's t from a point of the disc.
#[inline]
fn student_at(freedom: f64, x: f64, squared: f64) -> f64 {
    x * (freedom * (exp(-2.0 / freedom * ln(squared)) - 1.0) / squared).sqrt()
}

fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DRAWS: u32 = 400_000;
    const SEED: u64 = 7;

    /// Mean and variance of many draws.
    fn moments(draw: impl Fn(&mut Random) -> f64) -> (f64, f64) {
        let mut random = Random::from_seed(SEED);
        let (mut sum, mut squares) = (0.0, 0.0);
        for _ in 0..DRAWS {
            let x = draw(&mut random);
            sum += x;
            squares += x * x;
        }
        let mean = sum / f64::from(DRAWS);
        (mean, squares / f64::from(DRAWS) - mean * mean)
    }

    fn assert_moments(name: &str, found: (f64, f64), expected: (f64, f64)) {
        let tolerance = 0.01 * expected.1.sqrt().max(1.0);
        assert!((found.0 - expected.0).abs() < tolerance, "{name}: mean {} not {}; seed {SEED}", found.0, expected.0);
        assert!((found.1 / expected.1 - 1.0).abs() < 0.03, "{name}: variance {} not {}", found.1, expected.1);
    }

    #[test]
    fn each_distribution_has_its_mean_and_variance() {
        assert_moments("uniform", moments(Random::uniform), (0.5, 1.0 / 12.0));
        assert_moments("normal", moments(Random::normal), (0.0, 1.0));
        for freedom in [6.0, 30.0] {
            assert_moments("student", moments(|random| random.student(freedom)), (0.0, freedom / (freedom - 2.0)));
        }
        for shape in [0.5, 1.0, 7.5] {
            assert_moments("gamma", moments(|random| random.gamma(shape)), (shape, shape));
        }
        for (a, b) in [(0.5, 0.5), (3.2, 1.8)] {
            let (sum, mean) = (a + b, a / (a + b));
            assert_moments("beta", moments(|random| random.beta(a, b)), (mean, mean * (1.0 - mean) / (sum + 1.0)));
        }
    }

    /// With one degree of freedom it is Cauchy's, a quarter of which lies above 1.
    #[test]
    fn students_t_has_the_tails_of_its_degrees_of_freedom() {
        let (above, _) = moments(|random| f64::from(u8::from(random.student(1.0) > 1.0)));
        assert!((above - 0.25).abs() < 0.003, "{above}; seed {SEED}");
    }

    #[test]
    fn a_draw_above_a_bar_is_the_plain_draw() {
        let (mut plain, mut barred) = (Random::from_seed(SEED), Random::from_seed(SEED));
        for index in 0..200_000u32 {
            let freedom = [1.0, 1.5, 2.0, 3.0, 7.0, 400.0][index as usize % 6];
            let bar = [-1.0, 0.0, 0.1, 0.7, 2.0, 9.0, f64::NEG_INFINITY][index as usize % 7];
            let drawn = plain.student(freedom);
            assert_eq!(
                barred.student_above(freedom, bar),
                (drawn > bar).then_some(drawn),
                "{freedom}, {bar}; seed {SEED}"
            );
        }
    }

    #[test]
    fn the_sequence_of_a_seed_is_fixed() {
        let mut random = Random::from_seed(1);
        let first: Vec<u64> = (0..3).map(|_| random.bits()).collect();
        let mut again = Random::from_words(Random::from_seed(1).words()).expect("not all zero");
        assert_eq!(first, (0..3).map(|_| again.bits()).collect::<Vec<_>>());
        assert!(Random::from_words([0; 4]).is_none());
    }
}
