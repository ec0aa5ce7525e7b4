//! What of an arm's past counts now, and which arms the rails exclude. Both are pure functions of the time buckets, so
//! they do not depend on the order in which events came.

use crate::definition::{Definition, Drift, Rail};
use crate::numeric::special::{beta_cdf, coin_divergence};
use crate::tally::{ArmTally, Bucket, RailTally};
use libm::{exp2, log};

/// How many rewards count, their sum and the sum of their squares.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Evidence {
    /// How many, old ones in part.
    pub count: f64,
    /// Their sum.
    pub sum: f64,
    /// The sum of their squares.
    pub squares: f64,
}

impl Evidence {
    fn add(&mut self, bucket: &Bucket, weight: f64) {
        self.count += weight * bucket.whole.count as f64;
        self.sum += weight * bucket.whole.sum.value();
        self.squares += weight * bucket.whole.squares.value();
    }
}

/// What of an arm's past counts in the bucket `now`.
pub fn evidence(definition: &Definition, tally: &ArmTally, now: u64) -> Evidence {
    let mut evidence = Evidence::default();
    match definition.drift {
        Drift::Stationary => {
            let whole = &tally.whole;
            evidence = Evidence { count: whole.count as f64, sum: whole.sum.value(), squares: whole.squares.value() };
        }
        Drift::Window { buckets } => {
            let kept = tally.buckets.iter().filter(|bucket| bucket.index + u64::from(buckets) > now);
            kept.for_each(|bucket| evidence.add(bucket, 1.0));
        }
        Drift::Discount { half_life_ms } => {
            let buckets_in_half_life = half_life_ms as f64 / definition.bucket_ms as f64;
            for bucket in &tally.buckets {
                let age = now.saturating_sub(bucket.index) as f64;
                evidence.add(bucket, exp2(-age / buckets_in_half_life));
            }
        }
        Drift::Detect { delta } => {
            let since = last_change(&tally.buckets, delta);
            tally.buckets[since..].iter().for_each(|bucket| evidence.add(bucket, 1.0));
        }
    }
    evidence
}

/// The position of the first bucket after the last change of the mean; 0 where none is seen.
///
/// The generalised likelihood ratio for rewards in 0..=1 (Besson, Kaufmann, Maillard and Seznec 2022), over the splits
/// between buckets only: fewer splits can only lower the rate of false alarms.
pub fn last_change(buckets: &[Bucket], delta: f64) -> usize {
    let mut start = 0;
    while let Some(split) = strongest_split(&buckets[start..], delta) {
        start += split;
    }
    start
}

/// The split of the largest ratio above the threshold ln(3 n √n / δ).
fn strongest_split(buckets: &[Bucket], delta: f64) -> Option<usize> {
    let sums = |buckets: &[Bucket]| {
        buckets.iter().fold((0.0, 0.0), |(count, sum), bucket| {
            (count + bucket.whole.count as f64, sum + bucket.whole.sum.value())
        })
    };
    let (count, sum) = sums(buckets);
    if count < 2.0 {
        return None;
    }
    let threshold = log(3.0 * count * count.sqrt() / delta);
    let mean = (sum / count).clamp(0.0, 1.0);
    let (mut count_before, mut sum_before) = (0.0, 0.0);
    let mut strongest = None;
    let mut ratio_max = threshold;
    for (position, bucket) in buckets.iter().enumerate().take(buckets.len().saturating_sub(1)) {
        count_before += bucket.whole.count as f64;
        sum_before += bucket.whole.sum.value();
        let (count_after, sum_after) = (count - count_before, sum - sum_before);
        if count_before <= 0.0 || count_after <= 0.0 {
            continue;
        }
        let before = (sum_before / count_before).clamp(0.0, 1.0);
        let after = (sum_after / count_after).clamp(0.0, 1.0);
        let ratio = count_before * coin_divergence(before, mean) + count_after * coin_divergence(after, mean);
        if ratio > ratio_max {
            (ratio_max, strongest) = (ratio, Some(position + 1));
        }
    }
    strongest
}

/// Whether a rail excludes the arm in the bucket `now`.
pub fn is_excluded(definition: &Definition, tally: &ArmTally, now: u64) -> bool {
    let kept = || tally.buckets.iter().filter(|bucket| bucket.index + crate::tally::BUCKETS_MAX > now);
    definition.rails.iter().enumerate().any(|(position, rail)| judge(rail, kept().map(|bucket| bucket.rails[position])))
}

/// Walks through the buckets in time: out once the bound is above what is allowed, in once it is below with the margin.
fn judge(rail: &Rail, buckets: impl Iterator<Item = RailTally>) -> bool {
    let allowed = 1.0 - rail.quantile;
    let mut seen = RailTally::default();
    let mut out = false;
    for bucket in buckets {
        seen.count += bucket.count;
        seen.above += bucket.above;
        if seen.count < i64::from(rail.trials) {
            continue;
        }
        out = !bound_is_below(seen, if out { allowed * (1.0 - rail.margin) } else { allowed }, rail.confidence);
    }
    out
}

/// Whether Clopper and Pearson's upper bound of the share of values above the limit is at most `share`.
fn bound_is_below(seen: RailTally, share: f64, confidence: f64) -> bool {
    seen.above < seen.count && beta_cdf(seen.above as f64 + 1.0, (seen.count - seen.above) as f64, share) >= confidence
}
