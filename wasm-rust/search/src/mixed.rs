//! AB-MCTS-M's mixed model, solved exactly. The scores of group j are y = α_j + σ_y ε, the groups' means α_j = μ + σ_α z,
//! with a normal prior on μ and half-normal ones on both deviations. Given the deviations everything else is Gaussian,
//! so a two-dimensional grid over them is the whole posterior: no sampler, no convergence to wait for. Groups of equal
//! size enter by their sums, so that the cost grows with the number of different sizes alone.

use crate::mathematics::{exp, ln};
use crate::options::MixedPrior;
use crate::random::Random;
use crate::statistics::Statistics;

/// Points of the grid on each axis. With 96 the chances of the tests' moves differ by less than 0.0005.
const POINTS: usize = 24;
/// Multiples of a half-normal's scale up to which it is integrated; beyond lies 1 in 2,000.
const SCALES_MAX: f64 = 3.5;
/// Points of the search for the range of σ_y that matters.
const RANGE_POINTS: usize = 64;
/// How far below its maximum, in ln, the likelihood of σ_y is left out: e^−18 is 1.5e-8.
const RANGE_DEPTH: f64 = 18.0;
/// Products of variances are taken to their logarithm before they could leave the range of floating point.
const FACTORS_MAX: u32 = 16;

type Line = [f64; POINTS];

/// Groups with the same number of scores.
#[derive(Clone, Debug, PartialEq)]
struct Pool {
    /// Scores in each group.
    size: u32,
    /// Groups.
    groups: u32,
    /// Sum of the groups' means.
    means: f64,
    /// Sum of their squares.
    squares: f64,
}

/// What the model needs of the data.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Groups {
    /// In ascending order of size, so that the sums do not depend on how the groups came.
    pools: Vec<Pool>,
    /// Squared deviations of all scores from their groups' means.
    within: f64,
    /// Scores less groups: the degrees of freedom of `within`.
    freedom: f64,
}

impl Groups {
    /// Adds a group. One without scores adds nothing.
    pub fn add(&mut self, group: &Statistics) {
        if group.count == 0 {
            return;
        }
        let mean = group.mean();
        self.within += group.deviations();
        self.freedom += f64::from(group.count - 1);
        let place = self.pools.binary_search_by_key(&group.count, |pool| pool.size).unwrap_or_else(|place| {
            self.pools.insert(place, Pool { size: group.count, groups: 0, means: 0.0, squares: 0.0 });
            place
        });
        let pool = &mut self.pools[place];
        pool.groups += 1;
        pool.means += mean;
        pool.squares += mean * mean;
    }
}

/// The posterior over both deviations, with the belief about μ at each point.
#[derive(Clone, Debug)]
pub struct MixedModel {
    /// The weights of all points up to each, row by row of σ_y.
    cumulative: Vec<f64>,
    /// The mean of μ at each point.
    means: Vec<f64>,
    /// The precision of μ at each point.
    precisions: Vec<f64>,
    noise_deviations: Line,
    group_deviations: Line,
}

/// One point of the grid with a mean drawn there.
struct Point {
    mean: f64,
    group_deviation: f64,
    noise_deviation: f64,
}

impl MixedModel {
    /// Solves the model for the data.
    pub fn solve(prior: &MixedPrior, groups: &Groups) -> Self {
        let (group_deviations, group_weights) = group_axis(prior);
        let (noise_deviations, noise_weights) = noise_axis(prior, groups);
        let mut model = Self {
            cumulative: Vec::with_capacity(POINTS * POINTS),
            means: Vec::with_capacity(POINTS * POINTS),
            precisions: Vec::with_capacity(POINTS * POINTS),
            noise_deviations,
            group_deviations,
        };
        for noise in noise_deviations {
            model.solve_row(prior, groups, noise);
        }
        model.accumulate(&group_weights, &noise_weights);
        model
    }

    /// The logarithm of the likelihood for each deviation between groups, at one deviation within.
    fn solve_row(&mut self, prior: &MixedPrior, groups: &Groups, noise: f64) {
        let noise_variance = noise * noise;
        let prior_precision = 1.0 / (prior.mean_deviation * prior.mean_deviation);
        let mut precision = [prior_precision; POINTS];
        let mut weighted = [prior.mean * prior_precision; POINTS];
        let mut squares = [prior.mean * prior.mean * prior_precision; POINTS];
        let mut volumes = LogProducts::default();
        for pool in &groups.pools {
            let within = noise_variance / f64::from(pool.size);
            let count = f64::from(pool.groups);
            let variances = self.group_deviations.map(|deviation| deviation * deviation + within);
            for point in 0..POINTS {
                let inverse = 1.0 / variances[point];
                precision[point] += count * inverse;
                weighted[point] += pool.means * inverse;
                squares[point] += pool.squares * inverse;
            }
            volumes.multiply(&variances, pool.groups);
        }
        volumes.multiply(&precision, 1);
        let volume = volumes.logarithms();
        let within = -groups.freedom * ln(noise) - groups.within / (2.0 * noise_variance);
        for point in 0..POINTS {
            let mean = weighted[point] / precision[point];
            let misfit = squares[point] - mean * weighted[point];
            self.cumulative.push(within - 0.5 * (volume[point] + misfit));
            self.means.push(mean);
            self.precisions.push(precision[point]);
        }
    }

    /// Turns the logarithms into weights, and each weight into the sum of all up to it.
    fn accumulate(&mut self, group_weights: &Line, noise_weights: &Line) {
        let greatest = self.cumulative.iter().fold(f64::NEG_INFINITY, |greatest, &value| greatest.max(value));
        for (row, noise_weight) in self.cumulative.chunks_exact_mut(POINTS).zip(noise_weights) {
            for (value, group_weight) in row.iter_mut().zip(group_weights) {
                *value = exp(*value - greatest) * group_weight * noise_weight;
            }
        }
        let mut sum = 0.0;
        for value in &mut self.cumulative {
            sum += *value;
            *value = sum;
        }
    }

    fn draw_point(&self, random: &mut Random) -> Point {
        let total = self.cumulative[self.cumulative.len() - 1];
        let target = random.uniform() * total;
        let index = self.cumulative.partition_point(|&sum| sum <= target).min(self.cumulative.len() - 1);
        Point {
            mean: self.means[index],
            group_deviation: self.group_deviations[index % POINTS],
            noise_deviation: self.noise_deviations[index / POINTS],
        }
        .with_mean_drawn(self.precisions[index], random)
    }

    /// Draws a score of a group that there is: its next score.
    pub fn draw_known(&self, group: &Statistics, pending_share: f64, random: &mut Random) -> f64 {
        let point = self.draw_point(random);
        let (between, noise) =
            (point.group_deviation * point.group_deviation, point.noise_deviation * point.noise_deviation);
        let expected = f64::from(group.pending);
        let count = f64::from(group.count) + expected;
        let total = group.total() + expected * pending_share * group.mean();
        let scale = 1.0 / (noise + count * between);
        let mean = (point.mean * noise + total * between) * scale;
        let deviation = (between * noise * scale + noise).sqrt();
        mean + deviation * random.normal()
    }

    /// Draws the first score of a group that there is not yet. `pending` such groups are on their way.
    pub fn draw_new(&self, pending: u32, pending_share: f64, random: &mut Random) -> f64 {
        let point = self.draw_point(random);
        let variance = point.group_deviation * point.group_deviation + point.noise_deviation * point.noise_deviation;
        let pull = if pending == 0 { 1.0 } else { pull_of_new(pending, pending_share) };
        point.mean * pull + variance.sqrt() * random.normal()
    }
}

/// How far groups on their way pull the mean of a new one, as if the groups' mean weighed as much as one group.
fn pull_of_new(pending: u32, pending_share: f64) -> f64 {
    let pending = f64::from(pending);
    (1.0 + pending * pending_share) / (1.0 + pending)
}

impl Point {
    fn with_mean_drawn(mut self, precision: f64, random: &mut Random) -> Self {
        self.mean += random.normal() / precision.sqrt();
        self
    }
}

/// Sums of logarithms, of which several are taken at once as that of a product.
struct LogProducts {
    products: Line,
    sums: Line,
    factors: u32,
}

impl Default for LogProducts {
    fn default() -> Self {
        Self { products: [1.0; POINTS], sums: [0.0; POINTS], factors: 0 }
    }
}

impl LogProducts {
    /// Adds `times` the logarithms of the values.
    fn multiply(&mut self, values: &Line, times: u32) {
        if times > 2 {
            let times = f64::from(times);
            for (sum, value) in self.sums.iter_mut().zip(values) {
                *sum += times * ln(*value);
            }
            return;
        }
        for _ in 0..times {
            for (product, value) in self.products.iter_mut().zip(values) {
                *product *= value;
            }
        }
        self.factors += times;
        if self.factors >= FACTORS_MAX {
            self.take();
        }
    }

    fn take(&mut self) {
        for (sum, product) in self.sums.iter_mut().zip(&mut self.products) {
            *sum += ln(*product);
            *product = 1.0;
        }
        self.factors = 0;
    }

    fn logarithms(mut self) -> Line {
        self.take();
        self.sums
    }
}

/// The deviations between groups: the middles of cells that are narrow near zero, and the prior's weights of the cells.
fn group_axis(prior: &MixedPrior) -> (Line, Line) {
    let scale = prior.group_deviation;
    let middle = |point: usize| (point as f64 + 0.5) / POINTS as f64;
    let deviations = std::array::from_fn(|point| scale * SCALES_MAX * middle(point) * middle(point));
    let weights = std::array::from_fn(|point| half_normal(deviations[point], scale) * middle(point));
    (deviations, weights)
}

/// The deviations within a group: even in their logarithm, over the range outside of which the scores' spread within
/// their groups leaves no weight.
fn noise_axis(prior: &MixedPrior, groups: &Groups) -> (Line, Line) {
    let (low, high) = noise_range(prior, groups);
    let step = (high - low) / POINTS as f64;
    let deviations = std::array::from_fn(|point| exp(low + step * (point as f64 + 0.5)));
    let weights =
        std::array::from_fn(|point| half_normal(deviations[point], prior.noise_deviation) * deviations[point]);
    (deviations, weights)
}

/// The range of ln σ_y.
fn noise_range(prior: &MixedPrior, groups: &Groups) -> (f64, f64) {
    let (least, most) = (ln(prior.noise_least), ln(prior.noise_deviation * SCALES_MAX));
    if groups.freedom == 0.0 {
        return (least, most);
    }
    let step = (most - least) / RANGE_POINTS as f64;
    let at = |point: usize| least + step * point as f64;
    let likelihood = |point: usize| -groups.freedom * at(point) - 0.5 * groups.within * exp(-2.0 * at(point));
    let values: [f64; RANGE_POINTS + 1] = std::array::from_fn(likelihood);
    let bar = values.iter().fold(f64::NEG_INFINITY, |greatest, &value| greatest.max(value)) - RANGE_DEPTH;
    let first = values.iter().position(|&value| value >= bar).unwrap_or(0);
    let last = values.iter().rposition(|&value| value >= bar).unwrap_or(RANGE_POINTS);
    (at(first.saturating_sub(1)), at((last + 1).min(RANGE_POINTS)))
}

/// Half-normal density but for its constant.
fn half_normal(value: f64, scale: f64) -> f64 {
    let ratio = value / scale;
    exp(-0.5 * ratio * ratio)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DRAWS: u32 = 100_000;
    const SEED: u64 = 11;

    fn of(scores: &[f64]) -> Statistics {
        let mut statistics = Statistics::default();
        scores.iter().for_each(|&score| statistics.add(score));
        statistics
    }

    fn solve(groups: &[Statistics]) -> MixedModel {
        let mut data = Groups::default();
        groups.iter().for_each(|group| data.add(group));
        MixedModel::solve(&MixedPrior::default(), &data)
    }

    /// How often each of "a new group" and the known ones has the greatest draw.
    fn shares(groups: &[Statistics]) -> Vec<f64> {
        let model = solve(groups);
        let mut random = Random::from_seed(SEED);
        let mut wins = vec![0u32; groups.len() + 1];
        for _ in 0..DRAWS {
            let mut draws = vec![model.draw_new(0, 1.0, &mut random)];
            draws.extend(groups.iter().map(|group| model.draw_known(group, 1.0, &mut random)));
            let best = (0..draws.len()).max_by(|&a, &b| draws[a].total_cmp(&draws[b])).expect("not empty");
            wins[best] += 1;
        }
        wins.iter().map(|&count| f64::from(count) / f64::from(DRAWS)).collect()
    }

    fn assert_near(found: &[f64], expected: &[f64], tolerance: f64) {
        for (one, other) in found.iter().zip(expected) {
            assert!((one - other).abs() <= tolerance, "{found:?} is not {expected:?}; seed {SEED}");
        }
    }

    /// The reference is ±0.002, the draws' own deviation is 0.0016.
    #[test]
    fn the_chance_of_each_move_is_the_published_one() {
        assert_near(&shares(&[of(&[0.4])]), &[0.524, 0.476], 0.006);
        let three = [of(&[0.8, 0.8, 1.0]), of(&[0.0]), of(&[0.2, 0.3])];
        assert_near(&shares(&three), &[0.201, 0.699, 0.043, 0.057], 0.006);
    }

    #[test]
    fn pass_and_fail_scores_leave_a_posterior() {
        let model = solve(&[of(&[1.0; 5]), of(&[0.0; 3]), of(&[1.0; 2])]);
        let mut random = Random::from_seed(SEED);
        let draws: Vec<f64> = (0..1000).map(|_| model.draw_known(&of(&[1.0; 5]), 1.0, &mut random)).collect();
        let mean = draws.iter().sum::<f64>() / 1000.0;
        assert!((mean - 1.0).abs() < 0.01, "{mean}; seed {SEED}");
    }

    #[test]
    fn the_order_of_groups_does_not_matter() {
        let groups = [of(&[0.5]), of(&[0.25, 0.75]), of(&[0.125]), of(&[0.5, 0.5])];
        let (mut forwards, mut backwards) = (Groups::default(), Groups::default());
        groups.iter().for_each(|group| forwards.add(group));
        groups.iter().rev().for_each(|group| backwards.add(group));
        assert_eq!(forwards, backwards);
    }

    #[test]
    fn pending_trials_lower_what_is_drawn() {
        let model = solve(&[of(&[0.8, 0.7]), of(&[0.6])]);
        let mean = |pending: u32| {
            let mut random = Random::from_seed(SEED);
            let waiting = of(&[0.8, 0.7]).with_pending(pending);
            let sum: f64 = (0..10_000)
                .map(|_| model.draw_known(&waiting, 0.5, &mut random) + model.draw_new(pending, 0.5, &mut random))
                .sum();
            sum / 10_000.0
        };
        assert!(mean(4) < mean(0) - 0.05);
    }
}
