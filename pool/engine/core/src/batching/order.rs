//! Who goes first.

use std::cmp::Reverse;
use std::time::{Duration, Instant};

/// After this time a call goes before all of higher priority, so that none waits for ever.
pub const AGED_AFTER: Duration = Duration::from_millis(500);

/// A waiting call, as far as its turn depends on it.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// Higher goes first.
    pub priority: u8,
    /// When it came.
    pub since: Instant,
}

/// The places' indices, first to go first: aged ones, then by priority, each in the order that they came.
pub fn best_first(places: impl Iterator<Item = Place>, now: Instant) -> Vec<usize> {
    let key = |place: Place| {
        let aged = now.saturating_duration_since(place.since) >= AGED_AFTER;
        (Reverse(if aged { u16::MAX } else { u16::from(place.priority) }), place.since)
    };
    let mut keyed: Vec<_> = places.map(key).zip(0..).collect();
    keyed.sort();
    keyed.into_iter().map(|(_, index)| index).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn priority_goes_first_until_age_does() {
        let start = Instant::now();
        let at = |milliseconds: u64| start + Duration::from_millis(milliseconds);
        let places =
            [(0, 0), (5, 100), (255, 300), (5, 50)].map(|(priority, since)| Place { priority, since: at(since) });
        assert_eq!(best_first(places.into_iter(), at(310)), [2, 3, 1, 0]);
        assert_eq!(best_first(places.into_iter(), at(500)), [0, 2, 3, 1]);
        assert_eq!(best_first(places.into_iter(), at(900)), [0, 3, 1, 2]);
    }
}
