//! Logits as weights, and a token by its weight. A step pays this once a sequence, over the whole vocabulary: loops are
//! written so that the compiler turns them into vector instructions.

/// Values that are looked at together.
const LANES: usize = 16;
/// Weights whose sum is kept, so that a walk to a token can leap.
const GROUP: usize = 256;
/// Each round of gathering candidates takes weights down to this share of the round before: e^-6.
const GATHER_FACTOR: f32 = 0.002_478_752_2;

/// The largest value; NaN is none. Negative infinity where there is none.
fn maximum(values: &[f32]) -> f32 {
    let larger = |a: f32, b: f32| if b > a { b } else { a };
    let (chunks, rest) = values.as_chunks::<LANES>();
    let mut lanes = [f32::NEG_INFINITY; LANES];
    for chunk in chunks {
        for (lane, &value) in lanes.iter_mut().zip(chunk) {
            *lane = larger(*lane, value);
        }
    }
    lanes.iter().chain(rest).copied().fold(f32::NEG_INFINITY, larger)
}

/// The place of the largest finite logit, the first where two are equal.
pub fn argmax(logits: &[f32]) -> Option<u32> {
    let maximum = maximum(logits);
    let found = logits.iter().position(|&logit| logit == maximum)?;
    maximum.is_finite().then_some(found as u32)
}

/// e^x for x ≤ 0 with a relative error below 3·10⁻⁷, and 0 below -87, where the result would lose precision. Without a
/// branch: x = n·ln 2 + r with |r| ≤ ln 2 / 2, the polynomial of r times 2^n.
#[inline]
fn exponential(x: f32) -> f32 {
    const SMALLEST: f32 = -87.0;
    // Adding and subtracting 1.5·2²³ rounds to a whole number.
    const ROUND: f32 = 12_582_912.0;
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    let bounded = if x > SMALLEST { x } else { SMALLEST };
    let n = (bounded * std::f32::consts::LOG2_E + ROUND) - ROUND;
    let r = (bounded - n * LN_2_HIGH) - n * LN_2_LOW;
    let tail = ((1.0 / 720.0 * r + 1.0 / 120.0) * r + 1.0 / 24.0) * r + 1.0 / 6.0;
    let polynomial = ((tail * r + 0.5) * r + 1.0) * r + 1.0;
    let power = f32::from_bits(((n as i32 + 127) as u32) << 23);
    if x > SMALLEST { polynomial * power } else { 0.0 }
}

/// Fills `weights` with e^((logit - maximum)·scale) and gives their sum. NaN weighs nothing.
pub fn exponentials(logits: &[f32], maximum: f32, scale: f32, weights: &mut Vec<f32>) -> f64 {
    weights.clear();
    weights.extend(logits.iter().map(|&logit| exponential((logit - maximum) * scale)));
    weights.chunks(GROUP).map(sum).sum()
}

/// The logarithm of the sum of all e^logit.
pub fn log_sum(logits: &[f32], scratch: &mut Vec<f32>) -> f64 {
    let maximum = maximum(logits);
    f64::from(maximum) + exponentials(logits, maximum, 1.0, scratch).ln()
}

/// The sum of at most [`GROUP`] weights; so few lose nothing in single precision.
fn sum(weights: &[f32]) -> f64 {
    let (chunks, rest) = weights.as_chunks::<LANES>();
    let mut lanes = [0.0_f32; LANES];
    for chunk in chunks {
        for (lane, &weight) in lanes.iter_mut().zip(chunk) {
            *lane += weight;
        }
    }
    f64::from(lanes.iter().chain(rest).sum::<f32>())
}

/// The weights of all tokens, and the few among which one is drawn.
#[derive(Debug, Default)]
pub struct Candidates {
    /// By token; the largest is 1.
    pub weights: Vec<f32>,
    /// Those left, in an order that depends on the weights alone.
    left: Vec<(f32, u32)>,
}

impl Candidates {
    /// The token at which the running sum of all weights passes `target`.
    pub fn pick_of_all(&self, target: f64) -> Option<u32> {
        let mut rest = target;
        for (group, weights) in self.weights.chunks(GROUP).enumerate() {
            let total = sum(weights);
            if rest >= total {
                rest -= total;
                continue;
            }
            let passed = walk(weights.iter().copied(), rest);
            // Summed one by one the group may come out a little lighter than summed by lanes: then it is its last token.
            let place = passed.or_else(|| weights.iter().rposition(|&weight| weight > 0.0))?;
            return Some((group * GROUP + place) as u32);
        }
        self.weights.iter().rposition(|&weight| weight > 0.0).map(|place| place as u32)
    }

    /// Leaves the candidates that min-p, top-k and top-p let through, in this order; `total` is the sum of all weights.
    pub fn restrict(&mut self, min_p: f32, top_k: usize, top_p: f32, total: f64) {
        let top_k = if top_k == 0 { self.weights.len() } else { top_k };
        self.gather(min_p, top_k, top_p, total);
        if top_k < self.left.len() {
            self.left.select_nth_unstable_by(top_k, heavier);
            self.left.truncate(top_k);
        }
        if top_p < 1.0 {
            let target = f64::from(top_p) * self.total_before_top_p(min_p, top_k, total);
            let length = heaviest_until(&mut self.left, target);
            self.left.truncate(length);
        }
    }

    /// What the weights sum to before top-p: gathering stops early where top-p is the only restriction.
    fn total_before_top_p(&self, min_p: f32, top_k: usize, total: f64) -> f64 {
        if min_p == 0.0 && top_k >= self.weights.len() {
            return total;
        }
        self.left.iter().map(|(weight, _)| f64::from(*weight)).sum()
    }

    /// Takes the heaviest tokens until they surely hold all that [`Self::restrict`] will leave. Most tokens weigh next to
    /// nothing, and sorting them would cost more than all the rest.
    fn gather(&mut self, min_p: f32, top_k: usize, top_p: f32, total: f64) {
        let only_top_p = min_p == 0.0 && top_k >= self.weights.len();
        let mut threshold = GATHER_FACTOR;
        loop {
            let floor = if threshold > f32::MIN_POSITIVE { threshold.max(min_p) } else { min_p.max(f32::MIN_POSITIVE) };
            self.left.clear();
            let tokens = self.weights.iter().zip(0..);
            self.left.extend(tokens.filter(|(weight, _)| **weight >= floor).map(|(weight, token)| (*weight, token)));
            let is_enough = if only_top_p {
                top_p < 1.0
                    && self.left.iter().map(|(weight, _)| f64::from(*weight)).sum::<f64>() >= f64::from(top_p) * total
            } else {
                self.left.len() >= top_k
            };
            if is_enough || floor <= min_p || floor <= f32::MIN_POSITIVE {
                return;
            }
            threshold *= GATHER_FACTOR;
        }
    }

    /// The candidate at `chance`, in [0, 1), of the running sum.
    pub fn pick(&self, chance: f64) -> Option<u32> {
        let total: f64 = self.left.iter().map(|(weight, _)| f64::from(*weight)).sum();
        let place = walk(self.left.iter().map(|(weight, _)| *weight), chance * total);
        place.map(|place| self.left[place].1).or_else(|| self.left.last().map(|candidate| candidate.1))
    }
}

fn heavier(a: &(f32, u32), b: &(f32, u32)) -> std::cmp::Ordering {
    b.0.total_cmp(&a.0).then(a.1.cmp(&b.1))
}

/// Moves the heaviest candidates to the front, as many as are needed to pass `target` together; how many these are. Halves
/// the range in which the border lies, so that a flat distribution is not sorted as a whole.
fn heaviest_until(candidates: &mut [(f32, u32)], target: f64) -> usize {
    const SORTED_MAX: usize = 64;
    let (mut start, mut end, mut rest) = (0, candidates.len(), target);
    while end - start > SORTED_MAX {
        let middle = (end - start) / 2;
        candidates[start..end].select_nth_unstable_by(middle, heavier);
        let upper: f64 = candidates[start..start + middle].iter().map(|(weight, _)| f64::from(*weight)).sum();
        if upper > rest {
            end = start + middle;
        } else {
            rest -= upper;
            start += middle;
        }
    }
    candidates[start..end].sort_unstable_by(heavier);
    let reached = walk(candidates[start..end].iter().map(|(weight, _)| *weight), rest);
    reached.map_or(end, |place| start + place + 1)
}

/// The place at which the running sum passes `target`.
fn walk(weights: impl Iterator<Item = f32>, target: f64) -> Option<usize> {
    let mut running = 0.0_f64;
    for (place, weight) in weights.enumerate() {
        running += f64::from(weight);
        if running > target {
            return Some(place);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    #[test]
    fn the_exponential_is_within_its_error() {
        let mut worst = 0.0_f64;
        for step in 0..=86_000 {
            let x = -(step as f32) / 1_000.0;
            let exact = f64::from(x).exp();
            worst = worst.max((f64::from(exponential(x)) - exact).abs() / exact);
        }
        println!("worst relative error {worst:e}");
        assert!(worst < 3e-7, "{worst:e}");
        assert_eq!((exponential(0.0), exponential(-88.0), exponential(f32::NEG_INFINITY)), (1.0, 0.0, 0.0));
        assert_eq!(exponential(f32::NAN), 0.0);
    }

    #[test]
    fn argmax_takes_the_first_of_equals_and_never_a_nan() {
        assert_eq!(argmax(&[1.0, 3.0, f32::NAN, 3.0]), Some(1));
        assert_eq!(argmax(&[f32::NAN, f32::NEG_INFINITY]), None);
        assert_eq!(argmax(&[]), None);
        let mut long = vec![0.0; 1_000];
        long[777] = 1.0;
        assert_eq!(argmax(&long), Some(777));
    }

    /// Sorts all and cuts step by step, in double precision.
    fn twin(logits: &[f32], temperature: f64, min_p: f64, top_k: usize, top_p: f64) -> Vec<u32> {
        let maximum = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let weight = |logit: f32| ((f64::from(logit) - f64::from(maximum)) / temperature).exp();
        let mut left: Vec<(f64, u32)> = logits.iter().copied().map(weight).zip(0..).collect();
        left.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        left.retain(|(weight, _)| *weight >= min_p);
        if top_k > 0 {
            left.truncate(top_k);
        }
        let total: f64 = left.iter().map(|(weight, _)| weight).sum();
        let mut running = 0.0;
        let reached = left.iter().position(|(weight, _)| {
            running += weight;
            running > top_p * total
        });
        left.truncate(reached.map_or(left.len(), |place| place + 1));
        left.into_iter().map(|(_, token)| token).collect()
    }

    #[test]
    fn restrictions_leave_what_sorting_everything_leaves() {
        let seed = 21;
        println!("seed {seed}");
        let mut random = Random::new(seed, 0);
        for round in 0..600 {
            let size = 1 + random.below(3_000) as usize;
            let spread = [0.5, 4.0, 30.0][random.below(3) as usize];
            let logits: Vec<f32> = (0..size).map(|_| (random.unit() * spread) as f32).collect();
            let temperature = [0.3_f32, 1.0, 2.0][random.below(3) as usize];
            let min_p = [0.0_f32, 0.0, 0.1, 1.0][random.below(4) as usize];
            let top_k = [0, 0, 1, 40, 5_000][random.below(5) as usize];
            let top_p = [1.0_f32, 0.9, 0.5, 0.999][random.below(4) as usize];
            let is_unrestricted = min_p == 0.0 && top_p == 1.0 && (top_k == 0 || top_k >= size);
            if is_unrestricted {
                continue;
            }
            let mut candidates = Candidates::default();
            let maximum = maximum(&logits);
            let total = exponentials(&logits, maximum, 1.0 / temperature, &mut candidates.weights);
            candidates.restrict(min_p, top_k, top_p, total);
            candidates.left.sort_unstable_by(heavier);
            let left: Vec<u32> = candidates.left.iter().map(|candidate| candidate.1).collect();
            let expected = twin(&logits, f64::from(temperature), f64::from(min_p), top_k, f64::from(top_p));
            // Rounding may move a border by one of thousands of nearly equal tokens.
            let slack = if top_p < 1.0 { 1 + expected.len() / 1_000 } else { 0 };
            assert!(left.len().abs_diff(expected.len()) <= slack, "round {round}: {} {}", left.len(), expected.len());
            let common = left.len().min(expected.len());
            let differ = left[..common].iter().zip(&expected[..common]).filter(|(a, b)| a != b).count();
            assert!(differ <= 2 * (1 + common / 500), "round {round}: {differ} of {common}");
        }
    }

    #[test]
    fn tokens_come_as_often_as_they_weigh() {
        const DRAWS: usize = 100_000;
        let logits: Vec<f32> =
            (0..600).map(|place| if place % 100 == 7 { (place / 100) as f32 * 0.5 } else { -200.0 }).collect();
        let mut candidates = Candidates::default();
        let total = exponentials(&logits, maximum(&logits), 1.0, &mut candidates.weights);
        candidates.restrict(0.0, 0, 1.0, total);
        let mut random = Random::new(5, 0);
        let (mut all, mut few) = ([0_usize; 6], [0_usize; 6]);
        for _ in 0..DRAWS {
            let token = candidates.pick_of_all(random.unit() * total).expect("a token");
            assert_eq!(token % 100, 7);
            all[token as usize / 100] += 1;
            few[candidates.pick(random.unit()).expect("a token") as usize / 100] += 1;
        }
        for place in 0..6 {
            let expected = f64::from(candidates.weights[place * 100 + 7]) / total * DRAWS as f64;
            for counted in [all[place], few[place]] {
                let deviation = (counted as f64 - expected).abs() / expected.sqrt();
                assert!(deviation < 4.5, "token {place}: {counted} of {expected}");
            }
        }
    }

    #[test]
    fn the_logarithm_of_the_sum_is_exact_enough() {
        let logits: Vec<f32> = (0..5_000).map(|place| (place % 97) as f32 * 0.3 - 10.0).collect();
        let exact = logits.iter().map(|&logit| f64::from(logit).exp()).sum::<f64>().ln();
        assert!((log_sum(&logits, &mut Vec::new()) - exact).abs() < 1e-5);
    }
}
