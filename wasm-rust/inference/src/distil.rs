//! Makes the static model out of the encoder, in the manner of Model2Vec: every token goes through the encoder alone, the
//! vectors are reduced to their principal components, and each is weighted by how rare its token is (smooth inverse
//! frequency: Arora, Liang, Ma 2017), the frequencies taken from Zipf's law, since the vocabulary is ordered by them.

use crate::backend::{Embedder, ModelKind};
use crate::error::InferenceError;
use crate::file::Writer;
use crate::quantise::quantise_row;

/// Tokens embedded in one call.
const TOKENS_A_CALL: usize = 500;
/// The id from which on the vocabulary is ordered by frequency; unused and special tokens come before it.
const ORDERED_FROM: usize = 999;
/// Sweeps after which an eigenvalue search has long converged.
const SWEEPS_MAX: usize = 30;

/// What the static model shall be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Distillation {
    /// Floats an embedding.
    pub dimensions: usize,
    /// Frequency at which a token counts half.
    pub frequency: f64,
}

impl Distillation {
    /// What was measured best for MiniLM.
    pub const MINILM: Self = Self { dimensions: 128, frequency: 3e-4 };
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
    if !(1..=width).contains(&settings.dimensions) {
        return Err(InferenceError::SourceInvalid("dimensions: more than the encoder's, or none".to_owned()));
    }
    let vectors = embed_tokens(encoder, tokens, &mut |share| progress(share * 0.9))?;
    let mut reduced = reduce(&vectors, width, settings.dimensions);
    progress(0.99);
    for (id, row) in reduced.chunks_exact_mut(settings.dimensions).enumerate() {
        let weight = weight(id, tokens, settings.frequency);
        row.iter_mut().for_each(|value| *value *= weight as f32);
    }
    let file = write(name, vocabulary, tokens, settings.dimensions, &reduced);
    progress(1.0);
    Ok(file)
}

fn embed_tokens(
    encoder: &mut Embedder,
    tokens: usize,
    progress: &mut dyn FnMut(f64),
) -> Result<Vec<f32>, InferenceError> {
    let mut vectors = Vec::with_capacity(tokens * encoder.info().dimensions);
    let ids: Vec<u32> = (0..tokens as u32).collect();
    for ids in ids.chunks(TOKENS_A_CALL) {
        vectors.extend(encoder.embed_tokens(ids, &vec![1; ids.len()])?.vectors);
        progress(vectors.len() as f64 / (tokens * encoder.info().dimensions) as f64);
    }
    Ok(vectors)
}

/// a / (a + p), with p by Zipf's law; nothing for tokens that never stand in a text.
fn weight(id: usize, tokens: usize, frequency: f64) -> f64 {
    const SHIFT: f64 = 10.0;
    if id < ORDERED_FROM {
        return if id == UNKNOWN { 0.1 } else { 0.0 };
    }
    let rank = (id - ORDERED_FROM) as f64;
    let harmonic: f64 = (0..tokens - ORDERED_FROM).map(|rank| 1.0 / (rank as f64 + SHIFT)).sum();
    let probability = 1.0 / (rank + SHIFT) / harmonic;
    frequency / (frequency + probability)
}

/// The id of `[UNK]` in BERT's vocabularies.
const UNKNOWN: usize = 100;

/// The rows, less their mean, along their `kept` principal directions.
fn reduce(rows: &[f32], width: usize, kept: usize) -> Vec<f32> {
    let count = rows.len() / width;
    let mut mean = vec![0.0_f64; width];
    for row in rows.chunks_exact(width) {
        mean.iter_mut().zip(row).for_each(|(mean, &value)| *mean += f64::from(value) / count as f64);
    }
    let centred: Vec<f64> = rows.iter().enumerate().map(|(at, &value)| f64::from(value) - mean[at % width]).collect();
    let mut covariance = vec![0.0_f64; width * width];
    for row in centred.chunks_exact(width) {
        for (sums, &left) in covariance.chunks_exact_mut(width).zip(row) {
            sums.iter_mut().zip(row).for_each(|(sum, &right)| *sum += left * right);
        }
    }
    let directions = principal_directions(covariance, width, kept);
    let along = |row: &[f64], direction: &[f64]| row.iter().zip(direction).map(|(a, b)| a * b).sum::<f64>() as f32;
    let project = |row| directions.iter().map(move |direction| along(row, direction));
    centred.chunks_exact(width).flat_map(project).collect()
}

/// The eigenvectors of a symmetric matrix with the `kept` greatest eigenvalues, by Jacobi's rotations. Their signs are
/// chosen so that the component of greatest magnitude is positive.
fn principal_directions(mut matrix: Vec<f64>, width: usize, kept: usize) -> Vec<Vec<f64>> {
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
    order.iter().take(kept).map(|&row| signed(&vectors[row * width..][..width])).collect()
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
    let (mut vectors, mut scales) = (Vec::with_capacity(rows.len()), Vec::with_capacity(tokens));
    for row in rows.chunks_exact(dimensions) {
        let (scale, steps) = quantise_row(row, (-127.0, 127.0));
        scales.push(scale);
        vectors.extend(steps.into_iter().map(|step| step as i8 as u8));
    }
    writer.u8s("vectors", vectors);
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
        let directions = principal_directions(vec![2.0, 1.0, 1.0, 2.0], 2, 2);
        let half = 0.5_f64.sqrt();
        for (got, expected) in directions.concat().iter().zip([half, half, half, -half]) {
            assert!((got.abs() - expected.abs()).abs() < 1e-12, "{directions:?}");
        }
        assert!(directions[0][0] * directions[0][1] > 0.0 && directions[1][0] * directions[1][1] < 0.0);
    }

    #[test]
    fn reduced_rows_keep_their_distances_when_all_directions_are_kept() {
        let width = 6;
        let rows: Vec<f32> = (0..width * 40).map(|i| ((i * 7919) % 101) as f32 * 0.01).collect();
        let reduced = reduce(&rows, width, width);
        let distance = |rows: &[f32], a: usize, b: usize| -> f32 {
            (0..width).map(|i| (rows[a * width + i] - rows[b * width + i]).powi(2)).sum()
        };
        for (a, b) in [(0, 1), (3, 17), (39, 20)] {
            assert!((distance(&rows, a, b) - distance(&reduced, a, b)).abs() < 1e-4);
        }
    }

    #[test]
    fn rare_tokens_weigh_more_and_unused_ones_nothing() {
        assert_eq!(weight(5, 30_522, 3e-4), 0.0);
        assert!(weight(ORDERED_FROM, 30_522, 3e-4) < weight(20_000, 30_522, 3e-4));
    }
}
