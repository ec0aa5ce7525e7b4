//! Sums that do not depend on the order of what is added: whole multiples of 2^-24 in 64 bits.
//!
//! Floating sums differ with the order, so two isolates that saw the same feedback would drift apart. Whole numbers do
//! not, can be taken back exactly, and stay exact in JSON up to 2^53 (a sum of 536 million).

use crate::error::AnalyticsError;
use serde::{Deserialize, Serialize};

const ONE: f64 = (1u64 << 24) as f64;
/// Summands are clamped to this size: 2^38.
const SIZE_MAX: f64 = (1u64 << 38) as f64;

/// A sum or a summand, in multiples of 2^-24.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fixed(i64);

impl Fixed {
    /// The nearest multiple. `value` is finite and at most 2^38 in size; anything else is clamped there.
    pub fn nearest(value: f64) -> Self {
        Self((value.clamp(-SIZE_MAX, SIZE_MAX) * ONE).round_ties_even() as i64)
    }

    /// Its value.
    pub fn value(self) -> f64 {
        self.0 as f64 / ONE
    }

    /// Adds `other` `times` times; wraps after 2^63, which no honest sum reaches.
    pub fn add(&mut self, other: Self, times: i64) {
        self.0 = self.0.wrapping_add(other.0.wrapping_mul(times));
    }
}

/// Count, sum and sum of squares of rewards in 0..=1.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Tally {
    /// How many.
    pub count: i64,
    /// Their sum.
    pub sum: Fixed,
    /// The sum of their squares.
    pub squares: Fixed,
}

impl Tally {
    /// The tally of one value.
    pub fn of(value: f64) -> Self {
        Self { count: 1, sum: Fixed::nearest(value), squares: Fixed::nearest(value * value) }
    }

    /// Adds another tally `times` times (-1 takes it back).
    pub fn add(&mut self, other: &Self, times: i64) {
        self.count = self.count.wrapping_add(other.count.wrapping_mul(times));
        self.sum.add(other.sum, times);
        self.squares.add(other.squares, times);
    }

    /// The mean; 0 where there is nothing.
    pub fn mean(&self) -> f64 {
        if self.count > 0 { self.sum.value() / self.count as f64 } else { 0.0 }
    }

    /// The sample variance; 0 below two values.
    pub fn variance(&self) -> f64 {
        if self.count < 2 {
            return 0.0;
        }
        let count = self.count as f64;
        ((self.squares.value() - self.sum.value() * self.sum.value() / count) / (count - 1.0)).max(0.0)
    }

    /// Whether it is empty.
    pub fn is_zero(&self) -> bool {
        *self == Self::default()
    }

    /// Refuses what no sequence of rewards in 0..=1 can have given.
    pub fn validate(&self) -> Result<(), AnalyticsError> {
        let (count, sum, squares) = (self.count as f64, self.sum.value(), self.squares.value());
        let slack = count / ONE + 1.0;
        let possible = (0..1 << 48).contains(&self.count)
            && (0.0..=count + slack).contains(&sum)
            && (0.0..=sum + slack).contains(&squares);
        if possible { Ok(()) } else { Err(AnalyticsError::SnapshotCorrupt("a tally is impossible".to_owned())) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_does_not_depend_on_order_and_can_be_taken_back() {
        let values: Vec<f64> = (0..1000).map(|n| (n as f64 * 0.618_033_988_749) % 1.0).collect();
        let sum = |values: &mut dyn Iterator<Item = &f64>| {
            let mut tally = Tally::default();
            for value in values {
                tally.add(&Tally::of(*value), 1);
            }
            tally
        };
        let forward = sum(&mut values.iter());
        assert_eq!(forward, sum(&mut values.iter().rev()));
        let mut emptied = forward;
        for value in &values {
            emptied.add(&Tally::of(*value), -1);
        }
        assert!(emptied.is_zero());
        assert!((forward.mean() - values.iter().sum::<f64>() / 1000.0).abs() < 1e-7);
    }

    #[test]
    fn impossible_tallies_are_refused() {
        let broken = Tally { count: 1, sum: Fixed::nearest(5.0), squares: Fixed::nearest(1.0) };
        assert!(broken.validate().is_err());
        assert!(Tally { count: -1, ..Tally::default() }.validate().is_err());
        assert!(Tally::of(0.3).validate().is_ok());
    }
}
