//! What is counted of an arm in a namespace. All counts are whole numbers, so they can be added and taken back in any
//! order.

use crate::definition::Definition;
use crate::error::AnalyticsError;
use crate::fixed::{Fixed, Tally};
use crate::numeric::linear::packed_length;
use serde::{Deserialize, Serialize};

/// Time buckets that are kept.
pub const BUCKETS_MAX: u64 = 32;

/// The counts of an arm in a namespace.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ArmTally {
    /// Decisions, with those whose rewards are still open.
    pub decisions: i64,
    /// The whole reward, for ever.
    pub whole: Tally,
    /// Each reward where it came, scaled to 0..=1, for ever.
    pub rewards: Vec<Tally>,
    /// The newest time buckets, oldest first, without empty ones.
    pub buckets: Vec<Bucket>,
    /// The sums of linear regression; empty where the policy is not linear.
    pub linear: LinearTally,
}

/// A time bucket: decisions of `index * bucket_ms .. (index + 1) * bucket_ms`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Bucket {
    /// Its position in time.
    pub index: u64,
    /// The whole reward.
    pub whole: Tally,
    /// For each rail the values and those above its limit.
    pub rails: Vec<RailTally>,
}

/// How many values a rail has seen, and how many were above its limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RailTally {
    /// Values.
    pub count: i64,
    /// Values above the limit.
    pub above: i64,
}

/// Σ x xᵀ as a packed lower triangle, and Σ r x.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LinearTally {
    /// Σ xᵢ xⱼ, row by row, up to the diagonal.
    pub moments: Vec<Fixed>,
    /// Σ r xᵢ.
    pub products: Vec<Fixed>,
}

/// What a settled decision adds.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Settled {
    pub bucket: u64,
    /// In 0..=1.
    pub whole: f64,
    /// Each reward that came, in 0..=1.
    pub rewards: Vec<Option<f64>>,
    /// For each rail whether the value was above the limit, where it came.
    pub rails: Vec<Option<bool>>,
    pub features: Vec<f64>,
}

impl ArmTally {
    /// Empty counts.
    pub(crate) fn new(definition: &Definition) -> Self {
        let features = if definition.is_linear() { definition.features } else { 0 };
        Self {
            rewards: vec![Tally::default(); definition.rewards.len()],
            linear: LinearTally {
                moments: vec![Fixed::default(); packed_length(features)],
                products: vec![Fixed::default(); features],
            },
            ..Self::default()
        }
    }

    /// Adds a settled decision `times` times. Buckets older than those kept at `newest_bucket` are left alone.
    pub(crate) fn add(&mut self, settled: &Settled, newest_bucket: u64, times: i64) {
        let whole = Tally::of(settled.whole);
        self.whole.add(&whole, times);
        for (tally, value) in self.rewards.iter_mut().zip(&settled.rewards) {
            if let Some(value) = value {
                tally.add(&Tally::of(*value), times);
            }
        }
        self.linear.add(&settled.features, settled.whole, times);
        if settled.bucket + BUCKETS_MAX > newest_bucket {
            self.add_to_bucket(settled, &whole, times);
        }
    }

    fn add_to_bucket(&mut self, settled: &Settled, whole: &Tally, times: i64) {
        let position = self.bucket_position(settled.bucket, settled.rails.len());
        let bucket = &mut self.buckets[position];
        bucket.whole.add(whole, times);
        for (tally, above) in bucket.rails.iter_mut().zip(&settled.rails) {
            if let Some(above) = above {
                tally.count += times;
                tally.above += i64::from(*above) * times;
            }
        }
        if bucket.is_zero() {
            self.buckets.remove(position);
        }
    }

    /// Where the bucket of this index is, made where it was missing.
    pub(crate) fn bucket_position(&mut self, index: u64, rails: usize) -> usize {
        // The newest bucket is nearly always the one.
        if self.buckets.last().is_some_and(|bucket| bucket.index == index) {
            return self.buckets.len() - 1;
        }
        match self.buckets.binary_search_by_key(&index, |bucket| bucket.index) {
            Ok(position) => position,
            Err(position) => {
                let rails = vec![RailTally::default(); rails];
                self.buckets.insert(position, Bucket { index, whole: Tally::default(), rails });
                position
            }
        }
    }

    /// Forgets the buckets that are older than those kept at `newest_bucket`.
    pub(crate) fn forget(&mut self, newest_bucket: u64) {
        let old = self.buckets.iter().take_while(|bucket| bucket.index + BUCKETS_MAX <= newest_bucket).count();
        if old > 0 {
            self.buckets.drain(..old);
        }
    }

    /// Adds another's counts `times` times, as far as its buckets are kept at `newest_bucket`.
    pub(crate) fn add_tally(&mut self, other: &Self, newest_bucket: u64, times: i64) {
        self.decisions += other.decisions * times;
        self.whole.add(&other.whole, times);
        for (tally, other) in self.rewards.iter_mut().zip(&other.rewards) {
            tally.add(other, times);
        }
        self.linear.add_sums(&other.linear, times);
        for bucket in other.buckets.iter().filter(|bucket| bucket.index + BUCKETS_MAX > newest_bucket) {
            let position = self.bucket_position(bucket.index, bucket.rails.len());
            self.buckets[position].add(bucket, times);
        }
        self.buckets.retain(|bucket| !bucket.is_zero());
    }

    /// Refuses what no events can have given.
    pub(crate) fn validate(&self, definition: &Definition) -> Result<(), AnalyticsError> {
        let shape = Self::new(definition);
        let fits = self.rewards.len() == shape.rewards.len()
            && self.linear.moments.len() == shape.linear.moments.len()
            && self.linear.products.len() == shape.linear.products.len()
            && self.buckets.len() <= BUCKETS_MAX as usize
            && self.buckets.windows(2).all(|pair| pair[0].index < pair[1].index)
            && self.buckets.iter().all(|bucket| bucket.index < 1 << 53 && bucket.rails.len() == definition.rails.len())
            && (0..1 << 48).contains(&self.decisions);
        if !fits {
            return Err(AnalyticsError::SnapshotCorrupt(
                "an arm's counts have another shape than the definition's".into(),
            ));
        }
        self.whole.validate()?;
        self.rewards.iter().try_for_each(Tally::validate)?;
        let rails = self.buckets.iter().flat_map(|bucket| &bucket.rails);
        if !rails.into_iter().all(|rail| (0..1 << 48).contains(&rail.count) && (0..=rail.count).contains(&rail.above)) {
            return Err(AnalyticsError::SnapshotCorrupt("a rail's counts are impossible".into()));
        }
        self.buckets.iter().try_for_each(|bucket| bucket.whole.validate())
    }
}

impl Bucket {
    fn is_zero(&self) -> bool {
        self.whole.is_zero() && self.rails.iter().all(|rail| *rail == RailTally::default())
    }

    fn add(&mut self, other: &Self, times: i64) {
        self.whole.add(&other.whole, times);
        for (tally, other) in self.rails.iter_mut().zip(&other.rails) {
            tally.count += other.count * times;
            tally.above += other.above * times;
        }
    }
}

impl LinearTally {
    fn add(&mut self, features: &[f64], reward: f64, times: i64) {
        let mut moments = self.moments.iter_mut();
        for (row, (left, product)) in features.iter().zip(&mut self.products).enumerate() {
            product.add(Fixed::nearest(left * reward), times);
            for (right, moment) in features[..=row].iter().zip(&mut moments) {
                moment.add(Fixed::nearest(left * right), times);
            }
        }
    }

    fn add_sums(&mut self, other: &Self, times: i64) {
        for (sum, other) in self.moments.iter_mut().zip(&other.moments) {
            sum.add(*other, times);
        }
        for (sum, other) in self.products.iter_mut().zip(&other.products) {
            sum.add(*other, times);
        }
    }
}
