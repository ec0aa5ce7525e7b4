//! Makes the static model out of the encoder, without a corpus.
//!
//! 1. Every token goes through the encoder alone (as in Model2Vec), weighted by how rare it is (smooth inverse
//!    frequency: Arora, Liang, Ma 2017), the frequencies by Zipf's law, since the vocabulary is ordered by them.
//! 2. Many short texts of random tokens go through the encoder too, and the token vectors are moved, as little as
//!    possible, to where their averages come closest to what the encoder said: a ridge regression, solved by conjugate
//!    gradients. This is what teaches the table how much each token counts beside others.
//! 3. The vectors are reduced to the principal directions of the texts' averages, the strong directions damped by the
//!    root of their deviation, and stored in two bits a value.

use crate::backend::{Embedder, ModelKind};
use crate::error::InferenceError;
use crate::file::Writer;
use crate::kernels::normalise::add_scaled;
use crate::static_model::pack_row;

/// Tokens embedded in one call.
const TOKENS_A_CALL: usize = 1000;
/// The id from which on the vocabulary is ordered by frequency; unused and special tokens come before it.
const ORDERED_FROM: usize = 999;
/// The id from which on tokens are words and their parts; single characters come before it.
const WORDS_FROM: usize = 1996;
/// The id of `[UNK]` in BERT's vocabularies.
const UNKNOWN: usize = 100;
/// Sweeps after which an eigenvalue search has long converged.
const SWEEPS_MAX: usize = 30;
/// Tokens of a random text, from and to.
const TEXT_TOKENS: (usize, usize) = (3, 21);
/// Texts whose averages give the principal directions.
const DIRECTION_TEXTS: usize = 16_000;

/// What the static model shall be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Distillation {
    /// Floats an embedding; a multiple of four.
    pub dimensions: usize,
    /// Random texts to learn from.
    pub texts: usize,
    /// What the random texts are drawn by: the same seed gives the same model.
    pub seed: u32,
    /// Frequency at which a token counts half, in the vectors that the regression starts from.
    pub start_frequency: f64,
    /// What those vectors are multiplied by: one token of a text accounts for more than its share of the average.
    pub start_scale: f32,
    /// Frequency at which a token counts half, in the vectors that come out of it.
    pub frequency: f64,
    /// How strongly the regression holds on to where it started.
    pub ridge: f32,
    /// Steps of the regression.
    pub steps: usize,
}

impl Distillation {
    /// What was measured best for MiniLM.
    pub const MINILM: Self = Self {
        dimensions: 256,
        texts: 40_000,
        seed: 11,
        start_frequency: 1e-4,
        start_scale: 2.4,
        frequency: 3e-4,
        ridge: 0.01,
        steps: 15,
    };
}

/// Distils an encoder with the given vocabulary (one token a line). `progress` is told the share that is done.
pub fn distil(
    name: &str,
    encoder: &mut Embedder,
    vocabulary: &str,
    settings: Distillation,
    progress: &mut dyn FnMut(f64),
) -> Result<Vec<u8>, InferenceError> {
    let width = encoder.info().dimensions;
    let tokens = encoder.info().vocabulary_size;
    if !settings.dimensions.is_multiple_of(4) || !(4..=width).contains(&settings.dimensions) || tokens <= WORDS_FROM {
        return Err(InferenceError::SourceInvalid(
            "dimensions: no multiple of four, none, or more than the encoder's".to_owned(),
        ));
    }
    let singles: Vec<Vec<u32>> = (0..tokens as u32).map(|id| vec![id]).collect();
    let mut vectors = embed(encoder, &singles, &mut |share| progress(share * 0.2))?;
    centre(&mut vectors, width);
    weigh(&mut vectors, width, tokens, settings.start_frequency);
    vectors.iter_mut().for_each(|value| *value *= settings.start_scale);
    let texts = random_texts(tokens, settings.texts, settings.seed);
    let mut targets = embed(encoder, &texts, &mut |share| progress(0.2 + share * 0.7))?;
    centre(&mut targets, width);
    regress(&mut vectors, &targets, &texts, width, settings);
    drop(targets);
    progress(0.95);
    weigh(&mut vectors, width, tokens, settings.frequency);
    let directions = directions(&vectors, &texts, width, settings.dimensions);
    let reduced = project(&vectors, width, &directions);
    let file = write(name, vocabulary, tokens, settings.dimensions, &reduced);
    progress(1.0);
    Ok(file)
}

fn embed(
    encoder: &mut Embedder,
    texts: &[Vec<u32>],
    progress: &mut dyn FnMut(f64),
) -> Result<Vec<f32>, InferenceError> {
    let width = encoder.info().dimensions;
    let mut vectors = Vec::with_capacity(texts.len() * width);
    for some in texts.chunks(TOKENS_A_CALL / TEXT_TOKENS.1) {
        let lengths: Vec<u32> = some.iter().map(|text| text.len() as u32).collect();
        vectors.extend(encoder.embed_tokens(&some.concat(), &lengths)?.vectors);
        progress(vectors.len() as f64 / (texts.len() * width) as f64);
    }
    Ok(vectors)
}

/// Takes the rows' mean from each row.
fn centre(rows: &mut [f32], width: usize) {
    let count = (rows.len() / width) as f64;
    let mut mean = vec![0.0_f64; width];
    for row in rows.chunks_exact(width) {
        mean.iter_mut().zip(row).for_each(|(mean, &value)| *mean += f64::from(value) / count);
    }
    for row in rows.chunks_exact_mut(width) {
        row.iter_mut().zip(&mean).for_each(|(value, &mean)| *value -= mean as f32);
    }
}

/// Multiplies each token's row by its weight.
fn weigh(rows: &mut [f32], width: usize, tokens: usize, frequency: f64) {
    let harmonic: f64 = (0..tokens - ORDERED_FROM).map(|rank| 1.0 / (rank as f64 + ZIPF_SHIFT)).sum();
    for (id, row) in rows.chunks_exact_mut(width).enumerate() {
        let weight = weight(id, harmonic, frequency) as f32;
        row.iter_mut().for_each(|value| *value *= weight);
    }
}

/// Flattens the law for the few most frequent tokens.
const ZIPF_SHIFT: f64 = 10.0;

/// a / (a + p), with p by Zipf's law; nothing for tokens that never stand in a text. `[UNK]`
/// counts like the most frequent token: it says little.
fn weight(id: usize, harmonic: f64, frequency: f64) -> f64 {
    if id < ORDERED_FROM && id != UNKNOWN {
        return 0.0;
    }
    let probability = 1.0 / (id.saturating_sub(ORDERED_FROM) as f64 + ZIPF_SHIFT) / harmonic;
    frequency / (frequency + probability)
}

/// A linear congruential generator; its high bits are used.
struct Source(u32);

impl Source {
    /// A number below `bound`.
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        ((u64::from(self.0) * bound as u64) >> 32) as usize
    }

    /// Two times of five any word; else one by a flattened Zipf's law, so that common words come up often: the fourth
    /// power of an even fraction has the density rank^(-3/4).
    fn word(&mut self, words: usize) -> u32 {
        let rank = if self.below(5) < 2 {
            self.below(words)
        } else {
            let fraction = self.below(1 << 24) as f64 / f64::from(1 << 24);
            (words as f64 * fraction * fraction * fraction * fraction) as usize
        };
        (WORDS_FROM + rank) as u32
    }
}

fn random_texts(tokens: usize, count: usize, seed: u32) -> Vec<Vec<u32>> {
    let mut source = Source(seed);
    let (shortest, longest) = TEXT_TOKENS;
    let mut text = |_| {
        let length = shortest + source.below(longest - shortest + 1);
        (0..length).map(|_| source.word(tokens - WORDS_FROM)).collect()
    };
    (0..count).map(&mut text).collect()
}

/// Adds to `sums` each text's average of the rows of `vectors`.
fn averages(vectors: &[f32], texts: &[Vec<u32>], width: usize) -> Vec<f32> {
    let mut sums = vec![0.0; texts.len() * width];
    for (text, sum) in texts.iter().zip(sums.chunks_exact_mut(width)) {
        let share = 1.0 / text.len() as f32;
        text.iter().for_each(|&id| add_scaled(sum, row(vectors, id, width), share));
    }
    sums
}

/// The transpose of [`averages`]: each token's sum over the texts that it stands in.
fn spread(values: &[f32], texts: &[Vec<u32>], width: usize, tokens: usize) -> Vec<f32> {
    let mut sums = vec![0.0; tokens * width];
    for (text, value) in texts.iter().zip(values.chunks_exact(width)) {
        let share = 1.0 / text.len() as f32;
        for &id in text {
            add_scaled(&mut sums[id as usize * width..][..width], value, share);
        }
    }
    sums
}

fn row(vectors: &[f32], id: u32, width: usize) -> &[f32] {
    &vectors[id as usize * width..][..width]
}

/// Moves `vectors` towards the least of |averages − targets|² + ridge·|movement|², by conjugate gradients in each
/// dimension on its own.
fn regress(vectors: &mut [f32], targets: &[f32], texts: &[Vec<u32>], width: usize, settings: Distillation) {
    let tokens = vectors.len() / width;
    let mut missing = averages(vectors, texts, width);
    missing.iter_mut().zip(targets).for_each(|(average, target)| *average = target - *average);
    let mut rest = spread(&missing, texts, width, tokens);
    drop(missing);
    let mut direction = rest.clone();
    let mut squares = products(&rest, &rest, width);
    for _ in 0..settings.steps {
        let mut image = spread(&averages(&direction, texts, width), texts, width, tokens);
        add_scaled(&mut image, &direction, settings.ridge);
        let steps = quotients(&squares, &products(&direction, &image, width));
        add_columns(vectors, &direction, &steps, 1.0);
        add_columns(&mut rest, &image, &steps, -1.0);
        let next = products(&rest, &rest, width);
        let turns = quotients(&next, &squares);
        for (direction, rest) in direction.chunks_exact_mut(width).zip(rest.chunks_exact(width)) {
            let values = direction.iter_mut().zip(rest).zip(&turns);
            values.for_each(|((direction, rest), turn)| *direction = rest + *direction * *turn as f32);
        }
        squares = next;
    }
}

/// The inner products of two tables' columns.
fn products(left: &[f32], right: &[f32], width: usize) -> Vec<f64> {
    let mut sums = vec![0.0; width];
    for (left, right) in left.chunks_exact(width).zip(right.chunks_exact(width)) {
        for ((sum, &left), &right) in sums.iter_mut().zip(left).zip(right) {
            *sum += f64::from(left) * f64::from(right);
        }
    }
    sums
}

fn quotients(numerators: &[f64], denominators: &[f64]) -> Vec<f64> {
    let safe = |(numerator, denominator): (&f64, &f64)| if *denominator > 0.0 { numerator / denominator } else { 0.0 };
    numerators.iter().zip(denominators).map(safe).collect()
}

fn add_columns(table: &mut [f32], other: &[f32], factors: &[f64], sign: f32) {
    for (row, other) in table.chunks_exact_mut(factors.len()).zip(other.chunks_exact(factors.len())) {
        let values = row.iter_mut().zip(other).zip(factors);
        values.for_each(|((value, other), factor)| *value += sign * *factor as f32 * other);
    }
}

/// The principal directions of the texts' averages, about the origin, each divided by the root of its deviation (the
/// fourth root of its eigenvalue). Undamped, a few directions drown all others, and two bits could not hold both.
fn directions(vectors: &[f32], texts: &[Vec<u32>], width: usize, kept: usize) -> Vec<Vec<f64>> {
    let texts = &texts[..texts.len().min(DIRECTION_TEXTS)];
    let mut covariance = vec![0.0_f64; width * width];
    for average in averages(vectors, texts, width).chunks_exact(width) {
        for (sums, &left) in covariance.chunks_exact_mut(width).zip(average) {
            sums.iter_mut().zip(average).for_each(|(sum, &right)| *sum += f64::from(left) * f64::from(right));
        }
    }
    let damped = |(eigenvalue, direction): (f64, Vec<f64>)| {
        let root = eigenvalue.max(f64::MIN_POSITIVE).sqrt().sqrt();
        direction.into_iter().map(|part| part / root).collect()
    };
    principal_directions(covariance, width, kept).into_iter().map(damped).collect()
}

/// The rows along the directions.
fn project(rows: &[f32], width: usize, directions: &[Vec<f64>]) -> Vec<f32> {
    let along = |row: &[f32], direction: &[f64]| {
        row.iter().zip(direction).map(|(&value, part)| f64::from(value) * part).sum::<f64>() as f32
    };
    let place = |row| directions.iter().map(move |direction| along(row, direction));
    rows.chunks_exact(width).flat_map(place).collect()
}

/// The `kept` greatest eigenvalues of a symmetric matrix with their eigenvectors, by Jacobi's rotations. Their signs are
/// chosen so that the component of greatest magnitude is positive.
fn principal_directions(mut matrix: Vec<f64>, width: usize, kept: usize) -> Vec<(f64, Vec<f64>)> {
    let mut vectors = vec![0.0; width * width];
    (0..width).for_each(|i| vectors[i * width + i] = 1.0);
    let scale: f64 = (0..width).map(|i| matrix[i * width + i].abs()).sum();
    for _ in 0..SWEEPS_MAX {
        let mut off = 0.0_f64;
        for p in 0..width {
            for q in p + 1..width {
                off = off.max(matrix[p * width + q].abs());
                rotate(&mut matrix, &mut vectors, width, p, q, scale * 1e-15);
            }
        }
        if off < scale * 1e-12 {
            break;
        }
    }
    let mut order: Vec<usize> = (0..width).collect();
    order.sort_by(|&a, &b| matrix[b * width + b].total_cmp(&matrix[a * width + a]));
    let pair = |&row: &usize| (matrix[row * width + row], signed(&vectors[row * width..][..width]));
    order.iter().take(kept).map(pair).collect()
}

fn signed(direction: &[f64]) -> Vec<f64> {
    let greatest = direction.iter().fold(0.0_f64, |most, &value| if value.abs() > most.abs() { value } else { most });
    direction.iter().map(|value| value * greatest.signum()).collect()
}

/// One rotation that makes element (p, q) zero. `vectors` holds the eigenvectors in its rows.
fn rotate(matrix: &mut [f64], vectors: &mut [f64], width: usize, p: usize, q: usize, least: f64) {
    let element = matrix[p * width + q];
    if element.abs() <= least {
        return;
    }
    let theta = (matrix[q * width + q] - matrix[p * width + p]) / (2.0 * element);
    let tangent = theta.signum() / (theta.abs() + (theta * theta + 1.0).sqrt());
    let cosine = 1.0 / (tangent * tangent + 1.0).sqrt();
    let sine = tangent * cosine;
    rotate_rows(matrix, width, p, q, cosine, sine);
    for row in matrix.chunks_exact_mut(width) {
        (row[p], row[q]) = (cosine * row[p] - sine * row[q], sine * row[p] + cosine * row[q]);
    }
    rotate_rows(vectors, width, p, q, cosine, sine);
}

fn rotate_rows(matrix: &mut [f64], width: usize, p: usize, q: usize, cosine: f64, sine: f64) {
    let (above, below) = matrix.split_at_mut(q * width);
    for (left, right) in above[p * width..][..width].iter_mut().zip(&mut below[..width]) {
        (*left, *right) = (cosine * *left - sine * *right, sine * *left + cosine * *right);
    }
}

fn write(name: &str, vocabulary: &str, tokens: usize, dimensions: usize, rows: &[f32]) -> Vec<u8> {
    let mut writer = Writer::new(ModelKind::Static as u32);
    writer.metadata("name", name);
    writer.metadata("dimensions", &dimensions.to_string());
    writer.metadata("vocabulary", &tokens.to_string());
    let (scales, vectors): (Vec<f32>, Vec<Vec<u8>>) = rows.chunks_exact(dimensions).map(pack_row).unzip();
    writer.u8s("vectors", vectors.concat());
    writer.f32s("scales", &scales);
    writer.u8s("vocabulary", vocabulary.as_bytes().to_vec());
    writer.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn principal_directions_are_those_of_a_known_matrix() {
        // Eigenvalues 3 and 1 along (1, 1) and (1, -1).
        let found = principal_directions(vec![2.0, 1.0, 1.0, 2.0], 2, 2);
        for ((eigenvalue, direction), (expected, sign)) in found.iter().zip([(3.0, 1.0), (1.0, -1.0)]) {
            assert!((eigenvalue - expected).abs() < 1e-12, "{found:?}");
            assert!((direction[0] * direction[1] - sign * 0.5).abs() < 1e-12, "{found:?}");
        }
    }

    #[test]
    fn directions_diagonalise_a_larger_matrix() {
        let width = 12;
        let entry = |i: usize, j: usize| ((i * j + i + j) % 7) as f64 + if i == j { 9.0 } else { 0.0 };
        let matrix: Vec<f64> = (0..width * width).map(|at| entry(at / width, at % width)).collect();
        for (eigenvalue, direction) in principal_directions(matrix.clone(), width, width) {
            for (row, part) in matrix.chunks_exact(width).zip(&direction) {
                let image: f64 = row.iter().zip(&direction).map(|(a, b)| a * b).sum();
                assert!((image - eigenvalue * part).abs() < 1e-9);
            }
        }
    }

    #[test]
    fn the_regression_finds_the_vectors_that_made_the_targets() {
        let (width, tokens) = (4, 12);
        let truth: Vec<f32> = (0..tokens * width).map(|i| ((i * 31) % 17) as f32 - 8.0).collect();
        let mut source = Source(1);
        let texts: Vec<Vec<u32>> = (0..200).map(|_| (0..3).map(|_| source.below(tokens) as u32).collect()).collect();
        let targets = averages(&truth, &texts, width);
        let mut found = vec![0.0; truth.len()];
        let settings = Distillation { ridge: 1e-6, steps: 40, ..Distillation::MINILM };
        regress(&mut found, &targets, &texts, width, settings);
        for (found, truth) in found.iter().zip(&truth) {
            assert!((found - truth).abs() < 1e-2, "{found} instead of {truth}");
        }
    }

    #[test]
    fn random_texts_are_the_same_for_a_seed_and_hold_common_and_rare_words() {
        let texts = random_texts(30_522, 2_000, 5);
        assert_eq!(texts, random_texts(30_522, 2_000, 5));
        assert!(texts.iter().all(|text| (TEXT_TOKENS.0..=TEXT_TOKENS.1).contains(&text.len())));
        let ids: Vec<u32> = texts.concat();
        assert!(ids.iter().all(|&id| (WORDS_FROM..30_522).contains(&(id as usize))));
        assert!(ids.iter().any(|&id| id < 2_010) && ids.iter().any(|&id| id > 29_000));
    }

    #[test]
    fn rare_tokens_weigh_more_and_unused_ones_nothing() {
        assert_eq!(weight(5, 8.0, 3e-4), 0.0);
        assert!(weight(ORDERED_FROM, 8.0, 3e-4) < weight(20_000, 8.0, 3e-4));
    }
}
