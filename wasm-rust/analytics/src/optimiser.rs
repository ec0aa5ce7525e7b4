//! A Bayesian optimiser for points of a mixed space: a Gaussian process over at most 256 observations, and the point of
//! the largest expected improvement (Mockus 1978) among some candidates.
//!
//! The kernel is squared exponential with a length a dimension; options of a choice are all equally far apart. Lengths
//! and noise are those of the largest marginal likelihood on a grid, fitted to the first 8, 16, 32 and then 64
//! observations, so they are a pure function of the observations and cost little. Rewards are noisy, so improvement is
//! over the largest posterior mean of an observed point, not over the largest reward.

use crate::definition::{Definition, Dimension, DimensionKind, Policy};
use crate::event::DecisionId;
use crate::numeric::linear::{Cholesky, dot};
use crate::numeric::special::normal_cdf;
use crate::observation::{Observation, Observations};
use crate::random::Keyed;
use libm::{exp, log};
use std::f64::consts::PI;

/// Candidates drawn evenly over the space, and as many near good points.
const CANDIDATES: usize = 20;
/// Candidates of the largest mean whose deviation is computed.
const FINALISTS: usize = 10;
const LENGTHS: [f64; 6] = [0.1, 0.2, 0.4, 0.8, 1.6, 3.2];
const NOISES: [f64; 7] = [0.01, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0];
/// Observations that lengths and noise are fitted to.
const FITTED_MAX: usize = 64;

/// Whether a point lies in the space.
pub fn is_point(space: &[Dimension], point: &[f64]) -> bool {
    space.len() == point.len() && space.iter().zip(point).all(|(dimension, value)| dimension.holds(*value))
}

impl Dimension {
    fn holds(&self, value: f64) -> bool {
        match &self.kind {
            DimensionKind::Number { low, high, whole, .. } => {
                (*low..=*high).contains(&value) && (!whole || value == value.round_ties_even())
            }
            DimensionKind::Choice { options } => {
                value >= 0.0 && value < options.len() as f64 && value == value.round_ties_even()
            }
        }
    }

    /// The value's place in 0..=1; a choice's position stays as it is.
    fn encode(&self, value: f64) -> f64 {
        match &self.kind {
            DimensionKind::Number { low, high, logarithmic: true, .. } => log(value / low) / log(high / low),
            DimensionKind::Number { low, high, .. } => (value - low) / (high - low),
            DimensionKind::Choice { .. } => value,
        }
    }

    /// The value at a place in 0..=1.
    fn decode(&self, place: f64) -> f64 {
        let place = place.clamp(0.0, 1.0);
        match &self.kind {
            DimensionKind::Number { low, high, logarithmic, whole } => {
                let value = if *logarithmic { low * exp(place * log(high / low)) } else { low + place * (high - low) };
                let value = if *whole { value.round_ties_even() } else { value };
                // A range without a whole number keeps its bound.
                value.clamp(*low, *high)
            }
            DimensionKind::Choice { options } => (place * options.len() as f64).floor().min(options.len() as f64 - 1.0),
        }
    }

    fn is_choice(&self) -> bool {
        matches!(self.kind, DimensionKind::Choice { .. })
    }

    fn random(&self, random: &mut Keyed) -> f64 {
        self.decode(random.uniform())
    }

    /// A value near another: another option now and then, else a step of a tenth of the range.
    fn near(&self, value: f64, random: &mut Keyed) -> f64 {
        match &self.kind {
            DimensionKind::Choice { .. } if random.uniform() < 0.2 => self.random(random),
            DimensionKind::Choice { .. } => value,
            DimensionKind::Number { .. } => self.decode(self.encode(value) + 0.1 * random.normal()),
        }
    }
}

/// The process, fitted to the observations so far. Made anew where they are not a continuation of those it knows.
#[derive(Debug, Clone, Default)]
pub struct Model {
    keys: Vec<(u64, DecisionId)>,
    rewards: Vec<f64>,
    points: Vec<Vec<f64>>,
    kernel: Kernel,
    factor: Cholesky,
    /// (R + noise I)⁻¹ (rewards - mean).
    weights: Vec<f64>,
    mean: f64,
    variance: f64,
}

#[derive(Debug, Clone, Default)]
struct Kernel {
    choices: Vec<bool>,
    lengths: Vec<f64>,
    /// The noise's variance relative to the function's.
    noise: f64,
}

impl Kernel {
    fn new(space: &[Dimension]) -> Self {
        Self { choices: space.iter().map(Dimension::is_choice).collect(), lengths: vec![0.4; space.len()], noise: 0.3 }
    }

    fn correlation(&self, left: &[f64], right: &[f64]) -> f64 {
        let mut exponent = 0.0;
        for (index, length) in self.lengths.iter().enumerate() {
            let distance =
                if self.choices[index] { f64::from(left[index] != right[index]) } else { left[index] - right[index] };
            exponent += (distance / length) * (distance / length);
        }
        exp(-0.5 * exponent)
    }

    fn factor(&self, points: &[Vec<f64>]) -> Cholesky {
        let mut factor = Cholesky::default();
        for (index, point) in points.iter().enumerate() {
            self.append(&mut factor, &points[..index], point);
        }
        factor
    }

    fn append(&self, factor: &mut Cholesky, before: &[Vec<f64>], point: &[f64]) {
        let covariances: Vec<f64> = before.iter().map(|other| self.correlation(other, point)).collect();
        factor.append(&covariances, 1.0 + self.noise, 1e-9);
    }

    /// The logarithm of the marginal likelihood, with the function's variance at its best, and of a prior that prefers
    /// lengths of half the range.
    fn ln_likelihood(&self, points: &[Vec<f64>], centred: &[f64]) -> f64 {
        let factor = self.factor(points);
        let count = points.len() as f64;
        let variance = (factor.inverse_form(centred) / count).max(1e-12);
        let prior: f64 = self.lengths.iter().map(|length| log(length / 0.5) * log(length / 0.5)).sum();
        -0.5 * (count * log(variance) + factor.ln_determinant() + prior)
    }

    /// Two rounds of the best value of each length and of the noise in turn.
    fn fit(&mut self, points: &[Vec<f64>], centred: &[f64]) {
        for _ in 0..2 {
            for index in 0..self.lengths.len() {
                self.improve(points, centred, &LENGTHS, |kernel, value| kernel.lengths[index] = value);
            }
            self.improve(points, centred, &NOISES, |kernel, value| kernel.noise = value);
        }
    }

    fn improve(&mut self, points: &[Vec<f64>], centred: &[f64], values: &[f64], set: impl Fn(&mut Self, f64)) {
        let mut best = f64::NEG_INFINITY;
        let mut chosen = self.clone();
        for value in values {
            let mut kernel = self.clone();
            set(&mut kernel, *value);
            let likelihood = kernel.ln_likelihood(points, centred);
            if likelihood > best {
                (best, chosen) = (likelihood, kernel);
            }
        }
        *self = chosen;
    }
}

impl Model {
    /// Takes up the observations.
    pub(crate) fn update(&mut self, space: &[Dimension], observations: &Observations) {
        let observations = observations.as_slice();
        let known = self.keys.len();
        let continues = known <= observations.len()
            && self.kernel.lengths.len() == space.len()
            && observations.iter().zip(self.keys.iter().zip(&self.rewards)).all(|(observation, (key, reward))| {
                (observation.at_ms, observation.id) == *key && observation.reward == *reward
            });
        if continues && known == observations.len() {
            return;
        }
        if !continues {
            *self = Self { kernel: Kernel::new(space), ..Self::default() };
        }
        for observation in &observations[self.keys.len()..] {
            self.take(space, observation);
        }
        self.weigh();
    }

    fn take(&mut self, space: &[Dimension], observation: &Observation) {
        let encoded: Vec<f64> = space.iter().zip(&observation.point).map(|(d, value)| d.encode(*value)).collect();
        self.kernel.append(&mut self.factor, &self.points, &encoded);
        self.keys.push((observation.at_ms, observation.id));
        self.rewards.push(observation.reward);
        self.points.push(encoded);
        let count = self.points.len();
        if count.is_power_of_two() && (8..=FITTED_MAX).contains(&count) {
            let (mean, centred) = centre(&self.rewards);
            self.mean = mean;
            self.kernel.fit(&self.points, &centred);
            self.factor = self.kernel.factor(&self.points);
        }
    }

    fn weigh(&mut self) {
        let (mean, centred) = centre(&self.rewards);
        let mut weights = centred.clone();
        self.factor.solve(&mut weights);
        self.variance = (dot(&weights, &centred) / centred.len().max(1) as f64).max(1e-12);
        (self.mean, self.weights) = (mean, weights);
    }

    /// The largest posterior mean of an observed point, and which.
    fn best(&self) -> Option<(usize, f64)> {
        // At an observed point the mean is the reward less what the model takes for noise.
        let mean = |index: usize| self.rewards[index] - self.kernel.noise * self.weights[index];
        (0..self.rewards.len()).map(|index| (index, mean(index))).max_by(|left, right| left.1.total_cmp(&right.1))
    }

    fn correlations(&self, encoded: &[f64]) -> Vec<f64> {
        self.points.iter().map(|point| self.kernel.correlation(point, encoded)).collect()
    }

    fn posterior_mean(&self, correlations: &[f64]) -> f64 {
        self.mean + dot(correlations, &self.weights)
    }

    fn deviation(&self, mut correlations: Vec<f64>) -> f64 {
        self.factor.solve_half(&mut correlations);
        (self.variance * (1.0 - dot(&correlations, &correlations)).max(0.0)).sqrt()
    }
}

fn centre(rewards: &[f64]) -> (f64, Vec<f64>) {
    let mean = rewards.iter().sum::<f64>() / rewards.len().max(1) as f64;
    (mean, rewards.iter().map(|reward| reward - mean).collect())
}

/// The next point to try.
pub(crate) fn suggest(
    definition: &Definition,
    observations: &Observations,
    model: &mut Model,
    random: &mut Keyed,
) -> Vec<f64> {
    let space = &definition.space;
    let Policy::Optimise { initial } = definition.policy else { return Vec::new() };
    model.update(space, observations);
    let candidates = candidates(space, observations, model, random);
    let encoded: Vec<Vec<f64>> = candidates.iter().map(|point| encode(space, point)).collect();
    let chosen = if observations.as_slice().len() < initial as usize {
        most_distant(model, &encoded[..CANDIDATES])
    } else {
        most_promising(model, &encoded)
    };
    candidates[chosen].clone()
}

/// The observed point of the largest posterior mean, with that mean and its deviation.
pub(crate) fn best_point(
    definition: &Definition,
    observations: &Observations,
    model: &mut Model,
) -> Option<(Vec<f64>, f64, f64)> {
    model.update(&definition.space, observations);
    let (index, mean) = model.best()?;
    let deviation = model.deviation(model.correlations(&model.points[index]));
    Some((observations.as_slice()[index].point.clone(), mean, deviation))
}

fn encode(space: &[Dimension], point: &[f64]) -> Vec<f64> {
    space.iter().zip(point).map(|(dimension, value)| dimension.encode(*value)).collect()
}

/// Points anywhere, then points near the three best and near the last.
fn candidates(space: &[Dimension], observations: &Observations, model: &Model, random: &mut Keyed) -> Vec<Vec<f64>> {
    let mut points: Vec<Vec<f64>> =
        (0..CANDIDATES).map(|_| space.iter().map(|dimension| dimension.random(random)).collect()).collect();
    let mean = |index: &usize| model.rewards[*index] - model.kernel.noise * model.weights[*index];
    let mut good: Vec<usize> = (0..model.rewards.len()).collect();
    good.sort_by(|left, right| mean(right).total_cmp(&mean(left)));
    good.truncate(3);
    for turn in 0..if good.is_empty() { 0 } else { CANDIDATES } {
        let centre = &observations.as_slice()[good[turn % good.len()]].point;
        points.push(space.iter().zip(centre).map(|(dimension, value)| dimension.near(*value, random)).collect());
    }
    points
}

/// The candidate whose nearest observation is the least alike.
fn most_distant(model: &Model, candidates: &[Vec<f64>]) -> usize {
    let alike = |candidate: &Vec<f64>| model.correlations(candidate).into_iter().fold(0.0, f64::max);
    let alikeness: Vec<f64> = candidates.iter().map(alike).collect();
    (0..candidates.len()).min_by(|left, right| alikeness[*left].total_cmp(&alikeness[*right])).unwrap_or(0)
}

/// The candidate of the largest expected improvement, among those of the largest means and some of the others.
fn most_promising(model: &Model, candidates: &[Vec<f64>]) -> usize {
    let best = model.best().map_or(0.0, |(_, mean)| mean);
    let correlations: Vec<Vec<f64>> = candidates.iter().map(|candidate| model.correlations(candidate)).collect();
    let means: Vec<f64> = correlations.iter().map(|row| model.posterior_mean(row)).collect();
    let mut order: Vec<usize> = (0..candidates.len()).collect();
    order.sort_by(|left, right| means[*right].total_cmp(&means[*left]));
    // The first few are of the even ones: they keep the model honest where it knows nothing.
    let finalists = (0..FINALISTS / 2).chain(order.into_iter().take(FINALISTS));
    let improvement =
        |index: usize| expected_improvement(means[index] - best, model.deviation(correlations[index].clone()));
    let scored = finalists.map(|index| (index, improvement(index)));
    scored.max_by(|left, right| left.1.total_cmp(&right.1)).map_or(0, |(index, _)| index)
}

/// E[max(0, X)] of a normal X.
fn expected_improvement(mean: f64, deviation: f64) -> f64 {
    if deviation <= 0.0 {
        return mean.max(0.0);
    }
    let z = mean / deviation;
    mean * normal_cdf(z) + deviation * exp(-0.5 * z * z) / (2.0 * PI).sqrt()
}
