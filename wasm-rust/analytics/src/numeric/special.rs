//! Special functions and the divergence of two coins.

use libm::{erfc, exp, lgamma, log, log1p};
use std::f64::consts::{PI, SQRT_2};

/// The logarithm of the beta function; `a` and `b` are above 0.
pub fn ln_beta(a: f64, b: f64) -> f64 {
    lgamma(a) + lgamma(b) - lgamma(a + b)
}

/// The distribution function of the standard normal distribution.
pub fn normal_cdf(x: f64) -> f64 {
    0.5 * erfc(-x / SQRT_2)
}

/// The quantile of the standard normal distribution for `p` in 0..1, exact to a few units of the last place.
pub fn normal_quantile(p: f64) -> f64 {
    if p <= 0.0 {
        return f64::NEG_INFINITY;
    }
    if p >= 1.0 {
        return f64::INFINITY;
    }
    let tail = p.min(1.0 - p);
    // Abramowitz and Stegun 26.2.23 starts within 4.5e-4; Halley's iteration triples the digits each time.
    let t = (-2.0 * log(tail)).sqrt();
    let numerator = 2.515_517 + t * (0.802_853 + t * 0.010_328);
    let denominator = 1.0 + t * (1.432_788 + t * (0.189_269 + t * 0.001_308));
    let mut x = numerator / denominator - t;
    for _ in 0..2 {
        let error = (normal_cdf(x) - tail) * (2.0 * PI).sqrt() * exp(0.5 * x * x);
        x -= error / (1.0 + 0.5 * x * error);
    }
    if p < 0.5 { x } else { -x }
}

/// e to the power of `x`, with a relative error below 1e-9; 0 below -700. Cheap, for sums of many terms.
pub fn exp_rough(x: f64) -> f64 {
    if x < -700.0 {
        return 0.0;
    }
    let x = x.min(700.0);
    // Adding and taking away 1.5 * 2^52 rounds to a whole number.
    const ROUND: f64 = 6_755_399_441_055_744.0;
    let whole = x * std::f64::consts::LOG2_E + ROUND - ROUND;
    let rest = x - whole * std::f64::consts::LN_2;
    let mut sum = 1.0 / 40_320.0;
    for factor in [1.0 / 5_040.0, 1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        sum = sum * rest + factor;
    }
    sum * f64::from_bits(((whole as i64 + 1_023) as u64) << 52)
}

/// The regularised incomplete beta function: the distribution function of Beta(`a`, `b`) at `x`.
pub fn beta_cdf(a: f64, b: f64, x: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    if x >= 1.0 {
        return 1.0;
    }
    let front = exp(a * log(x) + b * log1p(-x) - ln_beta(a, b));
    // The fraction converges fast below the mean; above it the complement does.
    if x < (a + 1.0) / (a + b + 2.0) {
        front * beta_fraction(a, b, x) / a
    } else {
        1.0 - front * beta_fraction(b, a, 1.0 - x) / b
    }
}

/// The continued fraction of the incomplete beta function, by Lentz's method.
fn beta_fraction(a: f64, b: f64, x: f64) -> f64 {
    const STEPS_MAX: usize = 10_000;
    const TINY: f64 = 1e-300;
    let away = |value: f64| if value.abs() < TINY { TINY } else { value };
    let mut c = 1.0;
    let mut d = 1.0 / away(1.0 - (a + b) * x / (a + 1.0));
    let mut result = d;
    for step in 1..STEPS_MAX {
        let m = step as f64;
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        d = 1.0 / away(1.0 + even * d);
        c = away(1.0 + even / c);
        result *= d * c;
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        d = 1.0 / away(1.0 + odd * d);
        c = away(1.0 + odd / c);
        let factor = d * c;
        result *= factor;
        if (factor - 1.0).abs() < 1e-15 {
            break;
        }
    }
    result
}

/// The quantile of Beta(`a`, `b`), by bisection to 2^-50.
pub fn beta_quantile(a: f64, b: f64, p: f64) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..50 {
        let middle = 0.5 * (low + high);
        if beta_cdf(a, b, middle) < p { low = middle } else { high = middle }
    }
    0.5 * (low + high)
}

/// Kullback and Leibler's divergence of a coin of mean `p` from one of mean `q`, both in 0..=1.
pub fn coin_divergence(p: f64, q: f64) -> f64 {
    term(p, q) + term(1.0 - p, 1.0 - q)
}

fn term(p: f64, q: f64) -> f64 {
    if p <= 0.0 {
        0.0
    } else if q <= 0.0 {
        f64::INFINITY
    } else {
        p * log(p / q)
    }
}

/// The largest `q` above `mean` whose divergence from it is at most `budget`, from above and to 1e-12.
pub fn divergence_upper(mean: f64, budget: f64) -> f64 {
    const STEPS_MAX: usize = 50;
    if mean >= 1.0 || budget <= 0.0 {
        return mean.max(0.0);
    }
    // Two bounds that are never below the root: Pinsker's, and the one that the failures alone give.
    let entropy = if mean > 0.0 { mean * log(mean) } else { 0.0 };
    let far = 1.0 - (1.0 - mean) * exp((entropy - budget) / (1.0 - mean));
    let mut q = far.min(mean + (0.5 * budget).sqrt());
    // The divergence is convex, so Newton's steps come down to the root and never pass it.
    for _ in 0..STEPS_MAX {
        let slope = (q - mean) / (q * (1.0 - q));
        let step = (coin_divergence(mean, q) - budget) / slope;
        if !step.is_finite() || step <= 1e-12 {
            break;
        }
        q -= step;
    }
    q.clamp(mean, 1.0)
}

/// The smallest `q` below `mean` whose divergence from it is at most `budget`, from below and to 1e-12.
pub fn divergence_lower(mean: f64, budget: f64) -> f64 {
    1.0 - divergence_upper(1.0 - mean, budget)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(actual: f64, expected: f64, tolerance: f64) {
        assert!((actual - expected).abs() <= tolerance * expected.abs().max(1.0), "{actual} is not {expected}");
    }

    #[test]
    fn the_normal_quantile_has_scipys_values() {
        // scipy.stats.norm.ppf
        for (p, expected) in [
            (0.975, 1.959963984540054),
            (0.5, 0.0),
            (1e-10, -6.361340902404056),
            (0.999, 3.090232306167813),
            (0.2, -0.8416212335729142),
        ] {
            close(normal_quantile(p), expected, 1e-12);
        }
    }

    #[test]
    fn the_beta_distribution_has_scipys_values() {
        // scipy.stats.beta.cdf and .ppf
        for (a, b, x, expected) in [
            (2.0, 3.0, 0.4, 0.5248),
            (1.0, 1.0, 0.3, 0.3),
            (10.5, 200.25, 0.05, 0.542635932779512),
            (3000.0, 7000.0, 0.31, 0.9850563286366903),
        ] {
            close(beta_cdf(a, b, x), expected, 1e-9);
        }
        close(beta_quantile(8.0, 93.0, 0.95), 0.12745801558297026, 1e-9);
    }

    #[test]
    fn the_rough_exponential_is_within_a_billionth() {
        for step in -6_900..7_000 {
            let x = f64::from(step) * 0.1;
            let exact = exp(x);
            assert!((exp_rough(x) - exact).abs() <= 1e-9 * exact.max(1e-300), "{x}");
        }
    }

    #[test]
    fn divergence_bounds_invert_the_divergence() {
        close(coin_divergence(0.5, 0.25), 0.14384103622589045, 1e-14);
        assert_eq!(coin_divergence(0.0, 0.0), 0.0);
        assert_eq!(coin_divergence(1.0, 0.0), f64::INFINITY);
        for (mean, budget) in [(0.0, 0.3), (0.3, 0.02), (0.9, 1.0), (1.0, 0.1)] {
            let upper = divergence_upper(mean, budget);
            let lower = divergence_lower(mean, budget);
            assert!(lower <= mean && mean <= upper);
            for bound in [upper, lower] {
                if bound > 1e-9 && bound < 1.0 - 1e-9 {
                    close(coin_divergence(mean, bound), budget, 1e-8);
                }
            }
        }
    }
}
