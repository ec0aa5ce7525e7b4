//! The probability of each of several independent quantities to be the largest: Thompson sampling's choice in closed
//! form, up to quadrature.
//!
//! P(i is largest) = ∫ fᵢ(x) ∏ⱼ≠ᵢ Fⱼ(x) dx. The line is walked from the top down in cells as wide as the narrowest
//! density there allows, with Gauss's three points a cell and the collocation rule of the same points for the
//! distribution functions (Butcher 1964), so no special function is called. Beta densities are taken at y = asin √x,
//! where they are close to normal ones of the same width anywhere in 0..1. The absolute error is below 1e-6 for up to
//! ten arms (a test compares with SciPy), and the results sum to one.

use super::special::{exp_rough, ln_beta};
use libm::log;
use std::f64::consts::{FRAC_PI_2, LN_2, PI};

/// Cell widths, in units of the narrowest density's scale.
const CELL: f64 = 0.75;
/// Densities are cut where their tail has about 1e-10 of the mass.
const REACH: f64 = 6.4;

const ROOT_15: f64 = 3.872_983_346_207_417;
const POINTS: [f64; 3] = [0.5 - ROOT_15 / 10.0, 0.5, 0.5 + ROOT_15 / 10.0];
const WEIGHTS: [f64; 3] = [5.0 / 18.0, 8.0 / 18.0, 5.0 / 18.0];
/// Row k integrates the parabola through the three points from the k-th point to the cell's upper end.
const UPPER: [[f64; 3]; 3] = [
    [WEIGHTS[0] - 5.0 / 36.0, WEIGHTS[1] - (2.0 / 9.0 - ROOT_15 / 15.0), WEIGHTS[2] - (5.0 / 36.0 - ROOT_15 / 30.0)],
    [WEIGHTS[0] - (5.0 / 36.0 + ROOT_15 / 24.0), WEIGHTS[1] - 2.0 / 9.0, WEIGHTS[2] - (5.0 / 36.0 - ROOT_15 / 24.0)],
    [WEIGHTS[0] - (5.0 / 36.0 + ROOT_15 / 30.0), WEIGHTS[1] - (2.0 / 9.0 + ROOT_15 / 15.0), WEIGHTS[2] - 5.0 / 36.0],
];

/// A density on a line: exp(`constant` + `first` u + `second` v) between `low` and `high`, where (u, v) are
/// (ln sin y, ln cos y) for a beta density and (x, x²) for a normal one.
#[derive(Debug, Clone, Copy)]
pub struct Density {
    low: f64,
    high: f64,
    scale: f64,
    constant: f64,
    first: f64,
    second: f64,
    centre: f64,
}

/// Which line the densities of one call lie on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    /// 0..1, taken at asin √x.
    Unit,
    /// All numbers.
    Real,
}

impl Density {
    /// Beta(`a`, `b`), both at least 1.
    pub fn beta(a: f64, b: f64) -> Self {
        let (first, second) = (2.0 * a - 1.0, 2.0 * b - 1.0);
        let mode = libm::atan2(first.sqrt(), second.sqrt());
        // The curvature of the logarithm is at least (√first + √second)² everywhere, so the cut is a bound.
        let reach = REACH / (first.sqrt() + second.sqrt());
        Self {
            low: (mode - reach).max(0.0),
            high: (mode + reach).min(FRAC_PI_2),
            scale: 0.5 / (a + b - 1.0).sqrt(),
            constant: LN_2 - ln_beta(a, b),
            first,
            second,
            centre: 0.0,
        }
    }

    /// Normal(`mean`, `deviation`²); the deviation is above 0.
    pub fn normal(mean: f64, deviation: f64) -> Self {
        Self {
            low: mean - REACH * deviation,
            high: mean + REACH * deviation,
            scale: deviation,
            constant: -0.5 * log(2.0 * PI) - log(deviation),
            first: 0.0,
            second: -0.5 / (deviation * deviation),
            centre: mean,
        }
    }
}

/// Memory for [`probabilities`], reused from call to call.
#[derive(Debug, Clone, Default)]
pub struct Workspace {
    contenders: Vec<Contender>,
    before: Vec<[f64; 3]>,
}

#[derive(Debug, Clone)]
struct Contender {
    index: usize,
    density: Density,
    /// The distribution function at the top of the current cell.
    upper: f64,
    /// The density, then the distribution function, at the cell's three points.
    density_at: [f64; 3],
    distribution_at: [f64; 3],
    probability: f64,
}

/// Fills `result` with the probability of each density's quantity to be the largest. `densities` is not empty and all
/// are of `line`.
pub fn probabilities(line: Line, densities: &[Density], workspace: &mut Workspace, result: &mut Vec<f64>) {
    result.clear();
    result.resize(densities.len(), 0.0);
    // Below the highest of the lower cuts that quantity has no mass, so nothing below it can be the largest.
    let floor = densities.iter().map(|density| density.low).fold(f64::NEG_INFINITY, f64::max);
    let contenders = &mut workspace.contenders;
    contenders.clear();
    contenders.extend(densities.iter().enumerate().filter(|(_, density)| density.high > floor).map(
        |(index, density)| Contender {
            index,
            density: *density,
            upper: 1.0,
            density_at: [0.0; 3],
            distribution_at: [1.0; 3],
            probability: 0.0,
        },
    ));
    if let [only] = contenders.as_slice() {
        result[only.index] = 1.0;
        return;
    }
    walk(line, floor, contenders, &mut workspace.before);
    let total: f64 = contenders.iter().map(|contender| contender.probability).sum();
    for contender in contenders.iter() {
        result[contender.index] = contender.probability / total;
    }
}

/// Walks from the top to `floor`. Each cell is at least `CELL` scales of a density that ends within `2 REACH` scales,
/// so there are at most `2 REACH / CELL + 1` cells a contender.
fn walk(line: Line, floor: f64, contenders: &mut [Contender], before: &mut Vec<[f64; 3]>) {
    let mut top = contenders.iter().map(|contender| contender.density.high).fold(f64::NEG_INFINITY, f64::max);
    while top > floor {
        let bottom = (top - step(top, contenders)).max(floor);
        for contender in contenders.iter_mut() {
            contender.density_at = [0.0; 3];
        }
        let width = top - bottom;
        evaluate(line, bottom, width, contenders);
        let reach = add_cell(width, contenders, before);
        if reach < 1e-11 || bottom >= top {
            break;
        }
        top = bottom;
    }
}

/// How far down the next cell may go: by the narrowest density that lives at `top`, and not past another's upper end.
fn step(top: f64, contenders: &[Contender]) -> f64 {
    let mut step = f64::INFINITY;
    for contender in contenders {
        step = step.min((CELL * contender.density.scale).max(top - contender.density.high));
    }
    step
}

/// The densities at the cell's points.
fn evaluate(line: Line, bottom: f64, width: f64, contenders: &mut [Contender]) {
    for (point, offset) in POINTS.iter().enumerate() {
        let x = bottom + width * offset;
        let (first, second) = match line {
            Line::Unit => {
                let (sine, cosine) = libm::sincos(x);
                (log(sine), log(cosine))
            }
            Line::Real => (0.0, 0.0),
        };
        for contender in contenders.iter_mut() {
            let density = &contender.density;
            if x > density.high {
                continue;
            }
            let second = match line {
                Line::Unit => second,
                Line::Real => (x - density.centre) * (x - density.centre),
            };
            contender.density_at[point] = exp_rough(density.constant + density.first * first + density.second * second);
        }
    }
}

/// Adds the cell to every contender's probability. Returns the product of all distribution functions at its bottom.
fn add_cell(width: f64, contenders: &mut [Contender], before: &mut Vec<[f64; 3]>) -> f64 {
    before.clear();
    let mut product = [1.0; 3];
    let mut bottom = 1.0;
    for contender in contenders.iter_mut() {
        before.push(product);
        let density = contender.density_at;
        for point in 0..3 {
            let rule = &UPPER[point];
            let mass = width * (rule[0] * density[0] + rule[1] * density[1] + rule[2] * density[2]);
            contender.distribution_at[point] = (contender.upper - mass).max(0.0);
            product[point] *= contender.distribution_at[point];
        }
        let mass = width * (WEIGHTS[0] * density[0] + WEIGHTS[1] * density[1] + WEIGHTS[2] * density[2]);
        contender.upper = (contender.upper - mass).max(0.0);
        bottom *= contender.upper;
    }
    let mut after = [1.0; 3];
    for (contender, before) in contenders.iter_mut().zip(before.iter()).rev() {
        for point in 0..3 {
            let others = before[point] * after[point];
            contender.probability += width * WEIGHTS[point] * contender.density_at[point] * others;
            after[point] *= contender.distribution_at[point];
        }
    }
    bottom
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Keyed;

    fn best(line: Line, densities: &[Density]) -> Vec<f64> {
        let mut result = Vec::new();
        probabilities(line, densities, &mut Workspace::default(), &mut result);
        result
    }

    fn assert_close(actual: &[f64], expected: &[f64], tolerance: f64) {
        for (a, e) in actual.iter().zip(expected) {
            assert!((a - e).abs() < tolerance, "{actual:?} is not {expected:?}");
        }
    }

    #[test]
    fn two_coins_have_the_closed_form() {
        // P(Beta(a,b) > Beta(c,d)) by the finite sum over the first's successes (Cook 2005), in exact fractions.
        assert_close(&best(Line::Unit, &[Density::beta(1.0, 1.0), Density::beta(1.0, 1.0)]), &[0.5, 0.5], 1e-12);
        assert_close(
            &best(Line::Unit, &[Density::beta(2.0, 1.0), Density::beta(1.0, 2.0)]),
            &[5.0 / 6.0, 1.0 / 6.0],
            1e-6,
        );
        let p = 1.0 / 101.0; // P(Beta(1,100) > Beta(1,1)) = E[1 - ...] = 1/101
        assert_close(&best(Line::Unit, &[Density::beta(1.0, 100.0), Density::beta(1.0, 1.0)]), &[p, 1.0 - p], 1e-6);
    }

    #[test]
    fn ten_coins_of_all_widths_have_scipys_probabilities() {
        // scipy.integrate.quad of beta.pdf times the others' beta.cdf, piecewise, to 1e-12.
        let arms = [
            (1.0, 1.0, 0.6290678303374113),
            (3.0, 9.0, 0.09152665526430158),
            (12.0, 88.0, 9.834011606588963e-07),
            (40.0, 160.0, 8.714961448141864e-05),
            (25.5, 74.5, 0.020397726823905723),
            (2.0, 50.0, 3.543177844338949e-08),
            (300.0, 700.0, 0.07636696950976801),
            (1.0, 30.0, 2.8306493816368328e-06),
            (7.0, 15.0, 0.17795417130058078),
            (1000.0, 2600.0, 0.004595647667230314),
        ];
        let densities: Vec<Density> = arms.iter().map(|(a, b, _)| Density::beta(*a, *b)).collect();
        let expected: Vec<f64> = arms.iter().map(|(_, _, p)| *p).collect();
        assert_close(&best(Line::Unit, &densities), &expected, 1e-6);
    }

    #[test]
    fn normal_quantities_have_the_closed_form() {
        let expected = crate::numeric::special::normal_cdf(1.0 / 5f64.sqrt());
        let actual = best(Line::Real, &[Density::normal(1.0, 2.0), Density::normal(0.0, 1.0)]);
        assert_close(&actual, &[expected, 1.0 - expected], 1e-6);
    }

    #[test]
    fn densities_of_very_different_widths_are_resolved() {
        // A coin known to 1e-4 against one that is not known: P = 1 - its mean, up to the narrow one's width.
        let actual = best(Line::Unit, &[Density::beta(1e7, 1e7), Density::beta(1.0, 1.0)]);
        assert_close(&actual, &[0.5, 0.5], 1e-6);
        let actual = best(Line::Unit, &[Density::beta(9e7, 1e7), Density::beta(1.0, 1.0), Density::beta(1.0, 50.0)]);
        assert_close(&actual[1..2], &[0.1], 1e-5);
    }

    #[test]
    fn many_equal_arms_share_evenly() {
        for count in [10, 100] {
            let actual = best(Line::Unit, &vec![Density::beta(3.0, 7.0); count]);
            assert_close(&actual, &vec![1.0 / count as f64; count], 1e-12);
        }
    }

    #[test]
    fn the_probabilities_agree_with_sampling_for_random_arms() {
        let mut random = Keyed::new(11, 0);
        for _ in 0..10 {
            let arms: Vec<(f64, f64)> = (0..5).map(|_| (random.uniform(), 0.05 + random.uniform())).collect();
            let densities: Vec<Density> =
                arms.iter().map(|(mean, deviation)| Density::normal(*mean, *deviation)).collect();
            let actual = best(Line::Real, &densities);
            let mut wins = [0.0; 5];
            const DRAWS: usize = 40_000;
            for _ in 0..DRAWS {
                let draws: Vec<f64> = arms.iter().map(|(m, d)| m + d * random.normal()).collect();
                let largest = (0..5).max_by(|l, r| draws[*l].total_cmp(&draws[*r])).unwrap();
                wins[largest] += 1.0 / DRAWS as f64;
            }
            assert_close(&actual, &wins, 0.012);
        }
    }
}
