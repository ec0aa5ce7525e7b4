//! What each setting of each parameter adds to the reward: main effects, by least squares over the arms' means with the
//! arms' counts as weights.

use crate::experiment::Arm;
use crate::numeric::linear::{Cholesky, dot, packed_length};
use crate::tally::ArmTally;
use libm::log;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// Settings that are looked at; further ones are left out.
pub const LEVELS_MAX: usize = 64;

/// What a setting adds, relative to the mean of the parameter's settings (weighted by how often they were used).
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Effect {
    /// The parameter.
    pub parameter: String,
    /// The setting, as text.
    pub setting: String,
    /// Rewards under it.
    pub count: i64,
    /// What it adds to the reward.
    pub effect: f64,
    /// The interval's lower end.
    pub low: f64,
    /// The interval's upper end. The intervals are asymptotic confidence sequences: they may be looked at at any time.
    pub high: f64,
    /// Whether the arms do not tell this parameter's settings from another's; then the effect is one of many that fit.
    pub confounded: bool,
}

/// A parameter's settings, each with its column; the first setting has none, for it is what the others differ from.
struct Parameter<'a> {
    name: &'a str,
    settings: Vec<String>,
    first_column: usize,
}

/// The effects in one namespace. Parameters with one setting have none.
pub(super) fn effects(arms: &[Arm], tallies: &[ArmTally], alpha: f64) -> Vec<Effect> {
    let seen: Vec<(&Arm, &ArmTally)> = arms.iter().zip(tallies).filter(|(_, tally)| tally.whole.count > 0).collect();
    let (parameters, columns) = parameters(&seen);
    if parameters.is_empty() {
        return Vec::new();
    }
    let total: f64 = seen.iter().map(|(_, tally)| tally.whole.count as f64).sum();
    let rows: Vec<Vec<f64>> = seen.iter().map(|(arm, _)| row(arm, &parameters, columns)).collect();
    let (factor, lifted, coefficients) = solve(&seen, &rows, columns, total);
    let scale = residual_deviation(&seen, total) * sequence_factor(total, alpha);
    let mut effects = Vec::new();
    for parameter in &parameters {
        let counts = counts(&seen, parameter);
        for setting in 0..parameter.settings.len() {
            let contrast = contrast(parameter, setting, &counts, columns);
            let effect = dot(&contrast, &coefficients);
            let reach = scale * factor.inverse_form(&contrast).sqrt();
            effects.push(Effect {
                parameter: parameter.name.to_owned(),
                setting: parameter.settings[setting].clone(),
                count: counts[setting],
                effect,
                low: effect - reach,
                high: effect + reach,
                confounded: lifted > 0,
            });
        }
    }
    effects
}

fn parameters<'a>(seen: &[(&'a Arm, &ArmTally)]) -> (Vec<Parameter<'a>>, usize) {
    let mut settings: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for (arm, _) in seen {
        for (name, setting) in &arm.settings {
            settings.entry(name).or_default().insert(setting.label());
        }
    }
    // Column 0 is the mean of the arms that have every parameter's first setting.
    let mut columns = 1;
    let mut parameters = Vec::new();
    for (name, settings) in settings {
        if settings.len() > 1 && columns + settings.len() - 1 <= LEVELS_MAX {
            parameters.push(Parameter { name, settings: settings.into_iter().collect(), first_column: columns });
            columns += parameters.last().map_or(0, |parameter| parameter.settings.len()) - 1;
        }
    }
    (parameters, columns)
}

fn level(arm: &Arm, parameter: &Parameter) -> Option<usize> {
    let label = arm.settings.get(parameter.name)?.label();
    parameter.settings.binary_search(&label).ok()
}

fn row(arm: &Arm, parameters: &[Parameter], columns: usize) -> Vec<f64> {
    let mut row = vec![0.0; columns];
    row[0] = 1.0;
    for parameter in parameters {
        // An arm without the parameter counts as one with its first setting.
        if let Some(level) = level(arm, parameter).filter(|level| *level > 0) {
            row[parameter.first_column + level - 1] = 1.0;
        }
    }
    row
}

fn solve(seen: &[(&Arm, &ArmTally)], rows: &[Vec<f64>], columns: usize, total: f64) -> (Cholesky, usize, Vec<f64>) {
    let mut moments = vec![0.0; packed_length(columns)];
    let mut products = vec![0.0; columns];
    for ((_, tally), row) in seen.iter().zip(rows) {
        let count = tally.whole.count as f64;
        for left in 0..columns {
            products[left] += row[left] * tally.whole.sum.value();
            for right in 0..=left {
                moments[packed_length(left) + right] += count * row[left] * row[right];
            }
        }
    }
    let (factor, lifted) = Cholesky::factor(&moments, columns, 1e-6 * total);
    factor.solve(&mut products);
    (factor, lifted, products)
}

/// The deviation of rewards around their arm's mean.
fn residual_deviation(seen: &[(&Arm, &ArmTally)], total: f64) -> f64 {
    let squares: f64 = seen.iter().map(|(_, tally)| tally.whole.variance() * (tally.whole.count as f64 - 1.0)).sum();
    let freedom = (total - seen.len() as f64).max(1.0);
    // Two pseudo-rewards half a range apart keep a handful of equal rewards from looking certain.
    ((squares + 0.125) / (freedom + 2.0)).sqrt()
}

fn counts(seen: &[(&Arm, &ArmTally)], parameter: &Parameter) -> Vec<i64> {
    let mut counts = vec![0; parameter.settings.len()];
    for (arm, tally) in seen {
        if let Some(level) = level(arm, parameter) {
            counts[level] += tally.whole.count;
        }
    }
    counts
}

/// The setting's column less the weighted mean of the parameter's columns.
fn contrast(parameter: &Parameter, setting: usize, counts: &[i64], columns: usize) -> Vec<f64> {
    let mut contrast = vec![0.0; columns];
    let total: i64 = counts.iter().sum();
    for other in 1..counts.len() {
        contrast[parameter.first_column + other - 1] =
            f64::from(other == setting) - counts[other] as f64 / total as f64;
    }
    contrast
}

/// By how many standard errors the asymptotic confidence sequence of Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas
/// (2024) reaches at a count: √(2 (tρ² + 1) / (tρ²) ln(√(tρ² + 1) / α)), tightest near 1,000 rewards.
fn sequence_factor(count: f64, alpha: f64) -> f64 {
    let spread = count * 0.01;
    (2.0 * (spread + 1.0) / spread * log((spread + 1.0).sqrt() / alpha)).sqrt()
}
