//! Policies that look at a context's features: one ridge regression an arm.

use crate::definition::Policy;
use crate::numeric::best::{Density, Line, Workspace, probabilities};
use crate::numeric::linear::{Cholesky, dot, packed_length};
use crate::tally::LinearTally;

/// A ridge regression, solved.
#[derive(Debug, Clone)]
pub struct Fit {
    factor: Cholesky,
    weights: Vec<f64>,
}

impl Fit {
    /// Solves the regression of an arm's sums.
    pub fn new(tally: &LinearTally, ridge: f64) -> Self {
        let dimension = tally.products.len();
        let mut moments: Vec<f64> = tally.moments.iter().map(|sum| sum.value()).collect();
        for index in 0..dimension {
            moments[packed_length(index) + index] += ridge;
        }
        let (factor, _) = Cholesky::factor(&moments, dimension, 1e-9 * ridge);
        let mut weights: Vec<f64> = tally.products.iter().map(|sum| sum.value()).collect();
        factor.solve(&mut weights);
        Self { factor, weights }
    }

    /// The expected reward.
    pub fn mean(&self, features: &[f64]) -> f64 {
        dot(&self.weights, features)
    }

    /// √(xᵀ A⁻¹ x): the deviation of the mean where rewards deviate by one.
    pub fn deviation(&self, features: &[f64]) -> f64 {
        self.factor.inverse_form(features).sqrt()
    }
}

/// Fills `result` with the probability of each of the arms, of which there is at least one.
pub fn choose(policy: &Policy, fits: &[&Fit], features: &[f64], workspace: &mut Workspace, result: &mut Vec<f64>) {
    match *policy {
        Policy::LinThompson { scale, .. } => {
            let density = |fit: &&Fit| Density::normal(fit.mean(features), (scale * fit.deviation(features)).max(1e-9));
            probabilities(Line::Real, &fits.iter().map(density).collect::<Vec<_>>(), workspace, result);
        }
        Policy::LinUcb { width, .. } => {
            let bounds = fits.iter().map(|fit| fit.mean(features) + width * fit.deviation(features));
            super::share_among_largest(&bounds.collect::<Vec<_>>(), result);
        }
        _ => unreachable!("the other policies do not look at features"),
    }
}
