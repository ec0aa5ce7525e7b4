//! Logarithm and exponential from the four basic operations alone, so that every host gives the same bits: a search
//! that was begun natively goes on in WebAssembly with the same decisions. Both are free of branches and tables, which
//! lets the compiler put two or more of them into one vector.

use std::f64::consts::{LN_2, LOG2_E};

/// 1.5 · 2^52: added to a small number it rounds it to an integer, which then stands in the low bits.
const ROUNDER: f64 = 6_755_399_441_055_744.0;
const MANTISSA_BITS: u32 = 52;
/// The natural logarithm of 2 in two parts; the first has so few bits that its product with an exponent is exact.
const LN_2_HIGH: f64 = 0.693_147_180_485_539_1;
const LN_2_LOW: f64 = 7.440_617_110_012_397e-11;
/// `exp` holds its argument within these bounds, where its result is a normal number.
const EXPONENT_LIMIT: f64 = 700.0;

/// 1/k! for k from 0.
const INVERSE_FACTORIALS: [f64; 14] = {
    let mut inverse = [1.0; 14];
    let (mut term, mut factorial) = (1, 1.0);
    while term < 14 {
        factorial *= term as f64;
        inverse[term] = 1.0 / factorial;
        term += 1;
    }
    inverse
};

/// The natural logarithm of a positive, normal number, to within 1e-15 of it (absolute near 1, relative elsewhere).
#[inline(always)]
pub fn ln(x: f64) -> f64 {
    let bits = x.to_bits();
    let above_root_half = bits.wrapping_sub(std::f64::consts::FRAC_1_SQRT_2.to_bits()) as i64;
    let exponent = above_root_half >> MANTISSA_BITS;
    let mantissa = f64::from_bits(bits.wrapping_sub((exponent as u64) << MANTISSA_BITS));
    let exponent = f64::from_bits(ROUNDER.to_bits().wrapping_add(exponent as u64)) - ROUNDER;
    exponent * LN_2 + ln_near_one(mantissa)
}

/// By the series of 2·artanh((m − 1)/(m + 1)), for m from √½ to √2.
#[inline(always)]
fn ln_near_one(mantissa: f64) -> f64 {
    let s = (mantissa - 1.0) / (mantissa + 1.0);
    let z = s * s;
    let mut series = 1.0 / 21.0;
    for divisor in [19.0, 17.0, 15.0, 13.0, 11.0, 9.0, 7.0, 5.0, 3.0] {
        series = series * z + 1.0 / divisor;
    }
    2.0 * s * (series * z + 1.0)
}

/// e to the power of a number, to within a relative 1e-15. Beyond ±700 it is held at e^±700.
#[inline(always)]
pub fn exp(x: f64) -> f64 {
    let x = x.clamp(-EXPONENT_LIMIT, EXPONENT_LIMIT);
    let rounded = x * LOG2_E + ROUNDER;
    let power = rounded - ROUNDER;
    let rest = (x - power * LN_2_HIGH) - power * LN_2_LOW;
    let mut series = INVERSE_FACTORIALS[13];
    for term in (0..13).rev() {
        series = series * rest + INVERSE_FACTORIALS[term];
    }
    let scale = (rounded.to_bits() << MANTISSA_BITS).wrapping_add(1.0f64.to_bits());
    series * f64::from_bits(scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_logarithm_is_the_systems_to_fifteen_digits() {
        for step in 1..200_000u32 {
            let x = f64::from(step) * 1e-4;
            let error = (ln(x) - x.ln()).abs();
            assert!(error <= 2e-15 * (1.0 + x.ln().abs()), "ln({x}) is off by {error}");
        }
        for power in -300..300 {
            let x = 10f64.powi(power);
            assert!((ln(x) - x.ln()).abs() <= 1e-15 * x.ln().abs(), "ln(1e{power})");
        }
        assert_eq!(ln(1.0), 0.0);
    }

    #[test]
    fn the_exponential_is_the_systems_to_fourteen_digits() {
        for step in -70_000..70_000i32 {
            let x = f64::from(step) * 0.01;
            let error = (exp(x) / x.exp() - 1.0).abs();
            assert!(error <= 1e-14, "exp({x}) is off by {error}");
        }
        assert_eq!(exp(0.0), 1.0);
        assert!(exp(-1e9) > 0.0 && exp(1e9).is_finite());
    }
}
