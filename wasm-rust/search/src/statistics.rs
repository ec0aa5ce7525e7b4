//! Sums over scores that do not depend on the order in which they came. Scores are counted in whole units, so adding
//! them is exact, and any order of results gives the same state, bit for bit.

/// Units of a score of 1.
const UNITS: f64 = (1u64 << 30) as f64;
/// Bits that a squared score drops, so that a sum of 2^24 of them fits.
const SQUARE_SHIFT: u32 = 20;
/// Units of a squared score of 1.
const SQUARE_UNITS: f64 = (1u64 << (60 - SQUARE_SHIFT)) as f64;

/// A score in whole units, and its square.
#[inline]
fn units(score: f64) -> (u64, u64) {
    let units = (score * UNITS + 0.5) as u64;
    (units, (units * units + (1 << (SQUARE_SHIFT - 1))) >> SQUARE_SHIFT)
}

/// Count, sum and sum of squares of scores in [0, 1], and how many more are on their way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    sum: u64,
    squares: u64,
    /// Scores counted.
    pub count: u32,
    /// Trials asked whose score has not come.
    pub pending: u32,
}

impl Statistics {
    /// The statistics of one score.
    #[inline]
    pub fn of(score: f64) -> Self {
        let (sum, squares) = units(score);
        Self { sum, squares, count: 1, pending: 0 }
    }

    /// The same scores, with so many trials on their way.
    pub fn with_pending(self, pending: u32) -> Self {
        Self { pending, ..self }
    }

    /// Counts one more score.
    #[inline]
    pub fn add(&mut self, score: f64) {
        *self = self.with(&Self::of(score));
    }

    /// Both together.
    #[inline]
    pub fn with(&self, other: &Self) -> Self {
        Self {
            sum: self.sum + other.sum,
            squares: self.squares + other.squares,
            count: self.count + other.count,
            pending: self.pending + other.pending,
        }
    }

    /// What is left without `part`, which must be a part of it.
    #[inline]
    pub fn without(&self, part: &Self) -> Self {
        Self {
            sum: self.sum - part.sum,
            squares: self.squares - part.squares,
            count: self.count - part.count,
            pending: self.pending - part.pending,
        }
    }

    /// Sum of the scores.
    #[inline]
    pub fn total(&self) -> f64 {
        self.sum as f64 * (1.0 / UNITS)
    }

    /// Mean of the scores; 0 where there is none.
    #[inline]
    pub fn mean(&self) -> f64 {
        if self.count == 0 { 0.0 } else { self.total() / f64::from(self.count) }
    }

    /// Sum of the squared deviations from the mean.
    #[inline]
    pub fn deviations(&self) -> f64 {
        (self.squares as f64 * (1.0 / SQUARE_UNITS) - self.total() * self.mean()).max(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(scores: &[f64]) -> Statistics {
        let mut statistics = Statistics::default();
        scores.iter().for_each(|&score| statistics.add(score));
        statistics
    }

    #[test]
    fn moments_are_those_of_the_scores() {
        let statistics = of(&[0.8, 0.0, 0.2]);
        assert!((statistics.mean() - 1.0 / 3.0).abs() < 1e-9);
        assert!((statistics.deviations() - (0.68 - 1.0 / 3.0)).abs() < 1e-9);
        assert_eq!(of(&[]).mean(), 0.0);
        assert!(of(&[0.3; 1000]).deviations() < 1e-6);
    }

    #[test]
    fn order_and_grouping_do_not_matter() {
        let scores: Vec<f64> = (0..1000).map(|index| f64::from(index * 7919 % 1000) / 999.0).collect();
        let backwards: Vec<f64> = scores.iter().rev().copied().collect();
        assert_eq!(of(&scores), of(&backwards));
        assert_eq!(of(&scores[..300]).with(&of(&scores[300..])), of(&scores));
        assert_eq!(of(&scores).without(&of(&scores[300..])), of(&scores[..300]));
    }
}
