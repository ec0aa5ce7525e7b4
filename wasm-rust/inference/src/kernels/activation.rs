//! Exponential and GELU by polynomials of our own, so that every host gives the same bits.

use super::lanes::{F32x4, I32x4};

/// Below this the exponential is taken as that of this value, which is still a normal float.
const EXPONENT_MIN: f32 = -87.0;

/// 2ˣ on -½..=½: Chebyshev fit of degree 5, relative error below 1.1e-7.
#[allow(clippy::approx_constant)] // Close to ln 2, but a fit: all six go together.
const EXP2: [f32; 6] = [1.000_000_1, 0.693_147_2, 0.240_221_07, 0.055_503_27, 0.009_676_042, 0.001_340_043_7];

/// The normal distribution function as ½ + x·P(x²)/Q(x²) on |x| ≤ 5: weighted least squares over GELU's error, which
/// stays below 1e-7 in exact arithmetic and below 4e-6 in 32-bit floats.
const GELU_BOUND: f32 = 5.0;
const GELU_P: [f32; 5] = [0.398_940_95, 0.050_539_36, 0.005_577_442, 0.000_327_267_85, 6.181_459e-6];
const GELU_Q: [f32; 6] = [1.0, 0.293_335_82, 0.037_890_32, 0.002_763_603, 0.000_118_677_69, 5.335_707e-7];

#[inline(always)]
fn polynomial<const TERMS: usize>(terms: &[f32; TERMS], x: F32x4) -> F32x4 {
    let last = F32x4::splat(terms[TERMS - 1]);
    terms[..TERMS - 1].iter().rev().fold(last, |sum, &term| sum.mul(x).add(F32x4::splat(term)))
}

/// eˣ for x ≤ 0, with x held to -87 and above. Relative error below 1e-5, and below 1.5e-6 from -16 on.
#[inline(always)]
pub fn exponential_of_negative(x: F32x4) -> F32x4 {
    let scaled = x.max(F32x4::splat(EXPONENT_MIN)).mul(F32x4::splat(std::f32::consts::LOG2_E));
    let (whole, place) = scaled.round_in_place();
    // Moved up into the exponent, the place's own high bits fall out.
    let power = place.shift_to_exponent().add(I32x4::splat(127 << 23)).bits();
    polynomial(&EXP2, scaled.sub(whole)).mul(power)
}

/// The Gaussian error linear unit x·Φ(x), the exact one and not its tanh form. Absolute error below 5e-6 for |x| < 16.
#[inline(always)]
pub fn gelu(x: F32x4) -> F32x4 {
    let held = x.max(F32x4::splat(-GELU_BOUND)).min(F32x4::splat(GELU_BOUND));
    let square = held.mul(held);
    let half = held.mul(polynomial(&GELU_P, square)).div(polynomial(&GELU_Q, square));
    x.mul(F32x4::splat(0.5).add(half))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Φ by the series of its error function, in 64-bit floats: slow and obvious.
    fn normal_distribution(x: f64) -> f64 {
        let (mut term, mut sum) = (x, x);
        for k in 1..200 {
            term *= x * x / (2 * k + 1) as f64;
            sum += term;
        }
        0.5 + sum * (-x * x / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt()
    }

    #[test]
    fn exponential_is_within_its_bound_of_the_true_one() {
        for step in -87_000..=0 {
            let x = step as f32 / 1000.0;
            let got = exponential_of_negative(F32x4::splat(x)).lanes()[0] as f64;
            let relative = (got / (x as f64).exp() - 1.0).abs();
            assert!(relative < 8e-6, "exp({x}) is off by {relative:e}");
        }
    }

    #[test]
    fn exponential_of_a_softmax_argument_is_within_a_millionth() {
        for step in -16_000..=0 {
            let x = step as f32 / 1000.0;
            let got = exponential_of_negative(F32x4::splat(x)).lanes()[0] as f64;
            let relative = (got / (x as f64).exp() - 1.0).abs();
            assert!(relative < 1.5e-6, "exp({x}) is off by {relative:e}");
        }
    }

    #[test]
    fn gelu_is_within_its_bound_of_the_true_one() {
        for step in -8_000..8_000 {
            let x = step as f32 / 1000.0;
            let got = gelu(F32x4::splat(x)).lanes()[0] as f64;
            let off = (got - x as f64 * normal_distribution(x as f64)).abs();
            assert!(off < 5e-6, "gelu({x}) is off by {off:e}");
        }
    }

    #[test]
    fn values_that_are_no_numbers_do_not_trap() {
        for x in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX] {
            exponential_of_negative(F32x4::splat(x)).lanes();
            gelu(F32x4::splat(x)).lanes();
        }
    }
}
