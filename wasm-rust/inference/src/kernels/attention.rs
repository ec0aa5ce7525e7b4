//! Attention of one sequence, head by head, in 32-bit floats.

use super::activation::exponential;
use super::lanes::F32x4;

/// Values a head has; the code below is written for this width.
pub const HEAD: usize = 32;
/// Queries that are scored together.
const QUERIES: usize = 4;
/// Keys that are scored together: two vectors.
const KEYS: usize = 8;
/// The score of a key that is not there.
const ABSENT: f32 = -1e30;

/// Room for one head's keys and a few queries' scores. Reused from call to call.
#[derive(Default)]
pub struct Workspace {
    keys: Vec<f32>,
    scores: Vec<f32>,
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
pub fn attend(sequence: Sequence, out: &mut [f32], work: &mut Workspace) {
    let tokens = sequence.tokens();
    let padded = tokens.next_multiple_of(KEYS);
    work.keys.resize(HEAD * padded, 0.0);
    work.scores.resize(QUERIES * padded, 0.0);
    for head in 0..sequence.width / HEAD {
        gather_keys(&sequence, head, padded, &mut work.keys);
        let mut query = 0;
        while query < tokens {
            let count = (tokens - query).min(QUERIES);
            let first = query.min(tokens.saturating_sub(QUERIES));
            // The last block begins earlier where it would be short, so that most blocks are full ones.
            let (first, count) = if tokens >= QUERIES { (first, QUERIES) } else { (query, count) };
            block(&sequence, head, first, count, padded, work, out);
            query = first + count;
        }
    }
}

fn block(
    sequence: &Sequence,
    head: usize,
    first: usize,
    count: usize,
    padded: usize,
    work: &mut Workspace,
    out: &mut [f32],
) {
    let tokens = sequence.tokens();
    match count {
        QUERIES => score::<QUERIES>(sequence, head, first, padded, work),
        3 => score::<3>(sequence, head, first, padded, work),
        2 => score::<2>(sequence, head, first, padded, work),
        _ => score::<1>(sequence, head, first, padded, work),
    }
    for query in 0..count {
        let scores = &mut work.scores[query * padded..][..padded];
        scores[tokens..].fill(ABSENT);
        let inverse = 1.0 / soften(scores);
        let target = &mut out[(first + query) * sequence.width + head * HEAD..][..HEAD];
        mix(sequence, head, &scores[..tokens], inverse, target);
    }
}

/// Lays one head's keys out so that neighbouring tokens are neighbouring floats.
fn gather_keys(sequence: &Sequence, head: usize, padded: usize, keys: &mut [f32]) {
    for token in 0..sequence.tokens() {
        for (index, &value) in sequence.part(token, 1, head).iter().enumerate() {
            keys[index * padded + token] = value;
        }
    }
}

/// The products of `COUNT` queries with all keys.
#[inline(always)]
fn score<const COUNT: usize>(sequence: &Sequence, head: usize, first: usize, padded: usize, work: &mut Workspace) {
    let queries: [&[f32; HEAD]; COUNT] = std::array::from_fn(|query| sequence.part(first + query, 0, head));
    for key in (0..padded).step_by(KEYS) {
        let mut sums = [[F32x4::splat(0.0); 2]; COUNT];
        for index in 0..HEAD {
            let keys: &[f32; KEYS] = work.keys[index * padded + key..].first_chunk().unwrap_or(&[0.0; KEYS]);
            let (halves, _) = keys.as_chunks::<4>();
            let (left, right) = (F32x4::load(&halves[0]), F32x4::load(&halves[1]));
            for (sums, query) in sums.iter_mut().zip(&queries) {
                let factor = F32x4::splat(query[index]);
                sums[0] = sums[0].add(left.mul(factor));
                sums[1] = sums[1].add(right.mul(factor));
            }
        }
        for (query, sums) in sums.into_iter().enumerate() {
            let (halves, _) = work.scores[query * padded + key..][..KEYS].as_chunks_mut::<4>();
            sums[0].store(&mut halves[0]);
            sums[1].store(&mut halves[1]);
        }
    }
}

/// Replaces scores by their exponentials relative to the greatest, and returns the sum.
fn soften(scores: &mut [f32]) -> f32 {
    let (parts, _) = scores.as_chunks_mut::<4>();
    let greatest = parts.iter().fold(F32x4::splat(f32::MIN), |most, part| F32x4::load(part).max(most)).largest();
    let greatest = F32x4::splat(greatest);
    let mut sum = F32x4::splat(0.0);
    for part in parts {
        let power = exponential(F32x4::load(part).sub(greatest));
        sum = sum.add(power);
        power.store(part);
    }
    sum.sum()
}

/// The values' average by `shares`, times `factor`.
#[inline(always)]
fn mix(sequence: &Sequence, head: usize, shares: &[f32], factor: f32, target: &mut [f32]) {
    let mut sums = [F32x4::splat(0.0); HEAD / 4];
    for (token, &share) in shares.iter().enumerate() {
        let share = F32x4::splat(share);
        let (values, _) = sequence.part(token, 2, head).as_chunks::<4>();
        for (sum, value) in sums.iter_mut().zip(values) {
            *sum = sum.add(F32x4::load(value).mul(share));
        }
    }
    let factor = F32x4::splat(factor);
    for (target, sum) in target.as_chunks_mut::<4>().0.iter_mut().zip(sums) {
        sum.mul(factor).store(target);
    }
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
