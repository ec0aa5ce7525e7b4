//! Attention of one sequence, head by head, in 32-bit floats.

use super::activation::exponential_of_negative;
use super::lanes::F32x4;

/// Values a head has; the code below is written for this width.
pub const HEAD: usize = 32;
/// Queries that are scored together.
const QUERIES: usize = 4;
/// Keys that are scored together: two vectors.
const KEYS: usize = 8;
/// Values of a head that are mixed together: two vectors.
const PART: usize = 8;
/// The score of a key that is not there.
const ABSENT: f32 = -1e30;

/// Room for one head's keys and values and a few queries' scores. Reused from call to call.
#[derive(Default)]
pub struct Workspace {
    /// Eight keys side by side, value by value: what one step of scoring reads lies together.
    keys: Vec<[[f32; KEYS]; HEAD]>,
    values: Vec<[f32; HEAD]>,
    scores: [Vec<f32>; QUERIES],
}

/// One sequence's queries, keys and values: rows of 3 · `width` floats (all heads' queries, then keys, then values).
#[derive(Clone, Copy)]
pub struct Sequence<'a> {
    /// The rows, one a token.
    pub rows: &'a [f32],
    /// Values a row has of each kind: heads · [`HEAD`].
    pub width: usize,
}

impl Sequence<'_> {
    fn tokens(&self) -> usize {
        self.rows.len() / (3 * self.width)
    }

    #[inline(always)]
    fn part(&self, token: usize, kind: usize, head: usize) -> &[f32; HEAD] {
        let start = token * 3 * self.width + kind * self.width + head * HEAD;
        self.rows[start..].first_chunk().unwrap_or(&[0.0; HEAD])
    }
}

/// Writes each token's mixture of values into its row of `out` (`width` floats a row). Queries come already divided by
/// the square root of the head's width.
#[inline(never)]
pub fn attend(sequence: Sequence, out: &mut [f32], work: &mut Workspace) {
    let tokens = sequence.tokens();
    work.reset(tokens);
    for head in 0..sequence.width / HEAD {
        work.gather(&sequence, head);
        let mut query = 0;
        while query < tokens {
            // The last block begins earlier where it would be short, so that most blocks are full ones.
            let first = query.min(tokens.saturating_sub(QUERIES));
            let count = (tokens - first).min(QUERIES);
            block(&sequence, head, first, count, work, out);
            query = first + count;
        }
    }
}

impl Workspace {
    fn reset(&mut self, tokens: usize) {
        let panels = tokens.div_ceil(KEYS);
        self.keys.resize(panels, [[0.0; KEYS]; HEAD]);
        self.values.resize(tokens, [0.0; HEAD]);
        self.scores.iter_mut().for_each(|scores| scores.resize(panels * KEYS, 0.0));
    }

    /// Copies one head's keys and values out of the rows.
    fn gather(&mut self, sequence: &Sequence, head: usize) {
        for (token, value) in self.values.iter_mut().enumerate() {
            value.copy_from_slice(sequence.part(token, 2, head));
            let panel = &mut self.keys[token / KEYS];
            for (place, &key) in panel.iter_mut().zip(sequence.part(token, 1, head)) {
                place[token % KEYS] = key;
            }
        }
    }
}

fn block(sequence: &Sequence, head: usize, first: usize, count: usize, work: &mut Workspace, out: &mut [f32]) {
    match count {
        QUERIES => score::<QUERIES>(sequence, head, first, work),
        3 => score::<3>(sequence, head, first, work),
        2 => score::<2>(sequence, head, first, work),
        _ => score::<1>(sequence, head, first, work),
    }
    let tokens = work.values.len();
    let mut factors = [0.0; QUERIES];
    for (scores, factor) in work.scores.iter_mut().zip(&mut factors).take(count) {
        *factor = soften(scores, tokens);
    }
    // Where there are fewer queries, the last one stands in for those that are missing.
    let shares = std::array::from_fn(|query| &work.scores[query.min(count - 1)][..tokens]);
    let start = first * sequence.width + head * HEAD;
    for part in 0..HEAD / PART {
        let sums = mix(&work.values, shares, part);
        for (query, (sums, factor)) in sums.into_iter().zip(factors).take(count).enumerate() {
            let target = &mut out[start + query * sequence.width + part * PART..][..PART];
            let (halves, _) = target.as_chunks_mut::<4>();
            halves.iter_mut().zip(sums).for_each(|(half, sum)| sum.mul(F32x4::splat(factor)).store(half));
        }
    }
}

/// The products of `COUNT` queries with all keys.
#[inline(always)]
fn score<const COUNT: usize>(sequence: &Sequence, head: usize, first: usize, work: &mut Workspace) {
    let queries: [&[f32; HEAD]; COUNT] = std::array::from_fn(|query| sequence.part(first + query, 0, head));
    for (number, panel) in work.keys.iter().enumerate() {
        let mut sums = [[F32x4::splat(0.0); 2]; COUNT];
        for (index, keys) in panel.iter().enumerate() {
            let (halves, _) = keys.as_chunks::<4>();
            let (left, right) = (F32x4::load(&halves[0]), F32x4::load(&halves[1]));
            for (sums, query) in sums.iter_mut().zip(&queries) {
                let factor = F32x4::splat(query[index]);
                sums[0] = sums[0].add(left.mul(factor));
                sums[1] = sums[1].add(right.mul(factor));
            }
        }
        for (scores, sums) in work.scores.iter_mut().zip(sums) {
            let (parts, _) = scores[number * KEYS..][..KEYS].as_chunks_mut::<4>();
            sums[0].store(&mut parts[0]);
            sums[1].store(&mut parts[1]);
        }
    }
}

/// Replaces the scores of `tokens` keys by their exponentials relative to the greatest, and returns what makes their
/// sum 1.
fn soften(scores: &mut [f32], tokens: usize) -> f32 {
    scores[tokens..].fill(ABSENT);
    let (parts, _) = scores.as_chunks_mut::<4>();
    let greatest = parts.iter().fold(F32x4::splat(f32::MIN), |most, part| F32x4::load(part).max(most)).largest();
    let greatest = F32x4::splat(greatest);
    let mut sum = F32x4::splat(0.0);
    for part in parts {
        let power = exponential_of_negative(F32x4::load(part).sub(greatest));
        sum = sum.add(power);
        power.store(part);
    }
    1.0 / sum.sum()
}

/// Sums of a part of the values by four queries' shares: eight sums, which fit into registers beside their operands.
#[inline(always)]
fn mix(values: &[[f32; HEAD]], shares: [&[f32]; QUERIES], part: usize) -> [[F32x4; 2]; QUERIES] {
    let mut sums = [[F32x4::splat(0.0); 2]; QUERIES];
    let [a, b, c, d] = shares;
    for ((((value, &a), &b), &c), &d) in values.iter().zip(a).zip(b).zip(c).zip(d) {
        let (halves, _) = value[part * PART..][..PART].as_chunks::<4>();
        let (left, right) = (F32x4::load(&halves[0]), F32x4::load(&halves[1]));
        for (sums, share) in sums.iter_mut().zip([a, b, c, d]) {
            let share = F32x4::splat(share);
            sums[0] = sums[0].add(left.mul(share));
            sums[1] = sums[1].add(right.mul(share));
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIDTH: usize = 2 * HEAD;

    /// The definition, in 64-bit floats.
    fn obvious(rows: &[f32], tokens: usize) -> Vec<f64> {
        let value = |token: usize, kind: usize, at: usize| f64::from(rows[token * 3 * WIDTH + kind * WIDTH + at]);
        let mut out = vec![0.0; tokens * WIDTH];
        for (head, query) in (0..WIDTH / HEAD).flat_map(|head| (0..tokens).map(move |query| (head, query))) {
            let places = head * HEAD..(head + 1) * HEAD;
            let scores = (0..tokens).map(|key| places.clone().map(|at| value(query, 0, at) * value(key, 1, at)).sum());
            let powers: Vec<f64> = scores.map(|score: f64| score.exp()).collect();
            let total: f64 = powers.iter().sum();
            for at in places {
                out[query * WIDTH + at] = (0..tokens).map(|key| powers[key] / total * value(key, 2, at)).sum();
            }
        }
        out
    }

    #[test]
    fn attention_equals_its_definition_for_every_short_length() {
        let mut work = Workspace::default();
        for tokens in (1..=25).chain([3, 64]) {
            let mut state = tokens as u32;
            let rows: Vec<f32> = (0..tokens * 3 * WIDTH)
                .map(|_| {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    (state >> 8) as f32 / (1 << 24) as f32 * 2.0 - 1.0
                })
                .collect();
            let mut out = vec![f32::NAN; tokens * WIDTH];
            attend(Sequence { rows: &rows, width: WIDTH }, &mut out, &mut work);
            for (at, (got, expected)) in out.iter().zip(obvious(&rows, tokens)).enumerate() {
                let off = (f64::from(*got) - expected).abs();
                assert!(off < 1e-5, "{tokens} tokens, place {at}: {got} instead of {expected}");
            }
        }
    }
}
