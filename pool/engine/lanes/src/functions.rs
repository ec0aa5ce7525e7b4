//! Functions by polynomials, the same on all processors up to rounding.

#![allow(unsafe_op_in_unsafe_fn, reason = "one reason for all of it, told at the crate's head")]

use crate::Lanes;

/// Below this, the exponential is taken as at it; beyond the other end likewise. Results stay normal floats.
const EXPONENT_MIN: f32 = -87.0;
const EXPONENT_MAX: f32 = 88.0;
/// ln 2 in two parts, of which the first has few enough digits to be multiplied exactly (Cody and Waite 1980).
const LN_2_HIGH: f32 = 0.693_359_4;
const LN_2_LOW: f32 = -2.121_944_4e-4;

/// eˣ, to about two units in the last place.
#[inline(always)]
pub unsafe fn exponential<L: Lanes>(value: L::Floats) -> L::Floats {
    let value = L::minimum(L::maximum(value, L::splat(EXPONENT_MIN)), L::splat(EXPONENT_MAX));
    let power = L::round(L::multiply(value, L::splat(std::f32::consts::LOG2_E)));
    let whole = L::to_floats(power);
    let rest = L::multiply_add(whole, L::splat(-LN_2_HIGH), value);
    let rest = L::multiply_add(whole, L::splat(-LN_2_LOW), rest);
    // Taylor's series to the sixth power; the rest is at most ln 2 / 2, where the next term is below 1.2e-7.
    let mut sum = L::splat(1.0 / 720.0);
    for coefficient in [1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        sum = L::multiply_add(sum, rest, L::splat(coefficient));
    }
    L::scale_by_power(sum, power)
}

/// The normal distribution function as ½ + x·P(x²)/Q(x²) on |x| ≤ 5, a weighted least-squares fit over GELU's error, as in
/// the crate `inference`.
const GELU_BOUND: f32 = 5.0;
const GELU_P: [f32; 5] = [0.398_940_95, 0.050_539_36, 0.005_577_442, 0.000_327_267_85, 6.181_459e-6];
const GELU_Q: [f32; 6] = [1.0, 0.293_335_82, 0.037_890_32, 0.002_763_603, 0.000_118_677_69, 5.335_707e-7];

/// The Gaussian error linear unit x·Φ(x), the exact one and not its tanh form; absolute error below 5e-6 for |x| < 16.
#[inline(always)]
pub unsafe fn gelu<L: Lanes>(value: L::Floats) -> L::Floats {
    let held = L::minimum(L::maximum(value, L::splat(-GELU_BOUND)), L::splat(GELU_BOUND));
    let square = L::multiply(held, held);
    let numerator = L::multiply(held, polynomial::<L, 5>(&GELU_P, square));
    let half = L::divide(numerator, polynomial::<L, 6>(&GELU_Q, square));
    L::multiply(value, L::add(L::splat(0.5), half))
}

#[inline(always)]
unsafe fn polynomial<L: Lanes, const TERMS: usize>(terms: &[f32; TERMS], value: L::Floats) -> L::Floats {
    let mut sum = L::splat(terms[TERMS - 1]);
    for term in (0..TERMS - 1).rev() {
        sum = L::multiply_add(sum, value, L::splat(terms[term]));
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::portable::Portable;

    #[test]
    fn the_exponential_is_within_three_units_in_the_last_place() {
        for step in -87_000..=88_000 {
            let value = step as f32 / 1000.0;
            // SAFETY: any processor has what the portable lanes need.
            let found = unsafe { exponential::<Portable>(Portable::splat(value)) }[0];
            let relative = (f64::from(found) / f64::from(value).exp() - 1.0).abs();
            assert!(relative < 4e-7, "e^{value} is off by {relative:e}");
        }
    }

    #[test]
    fn gelu_is_within_its_bound_of_the_series() {
        for step in -8_000..8_000 {
            let value = f64::from(step) / 1000.0;
            // The normal distribution by the series of its error function: slow and obvious.
            let (mut term, mut sum) = (value, value);
            for k in 1..200 {
                term *= value * value / f64::from(2 * k + 1);
                sum += term;
            }
            let expected = value * (0.5 + sum * (-value * value / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt());
            // SAFETY: any processor has what the portable lanes need.
            let found = unsafe { gelu::<Portable>(Portable::splat(value as f32)) }[0];
            assert!((f64::from(found) - expected).abs() < 5e-6, "gelu({value})");
        }
    }
}
