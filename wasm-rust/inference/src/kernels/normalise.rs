//! Layer normalisation and unit length.

use super::lanes::F32x4;

/// Replaces a row by (row − mean) / √(variance + epsilon) · scale + shift. All three have the same length, a multiple
/// of four.
#[inline(never)]
pub fn layer(row: &mut [f32], scale: &[f32], shift: &[f32], epsilon: f32) {
    let count = row.len() as f32;
    let (row, _) = row.as_chunks_mut::<4>();
    let total = row.iter().fold(F32x4::splat(0.0), |sum, part| sum.add(F32x4::load(part)));
    let mean = F32x4::splat(total.sum() / count);
    let mut squares = F32x4::splat(0.0);
    for part in row.iter_mut() {
        let centred = F32x4::load(part).sub(mean);
        squares = squares.add(centred.mul(centred));
        centred.store(part);
    }
    let inverse = F32x4::splat(1.0 / (squares.sum() / count + epsilon).sqrt());
    let (scale, shift) = (scale.as_chunks::<4>().0, shift.as_chunks::<4>().0);
    for ((part, scale), shift) in row.iter_mut().zip(scale).zip(shift) {
        let scaled = F32x4::load(part).mul(inverse).mul(F32x4::load(scale));
        scaled.add(F32x4::load(shift)).store(part);
    }
}

/// Brings a vector to length 1. A vector of zeros stays as it is.
pub fn unit(vector: &mut [f32]) {
    let squares: f32 = {
        let (parts, rest) = vector.as_chunks::<4>();
        let sum = parts.iter().fold(F32x4::splat(0.0), |sum, part| {
            let part = F32x4::load(part);
            sum.add(part.mul(part))
        });
        sum.sum() + rest.iter().map(|value| value * value).sum::<f32>()
    };
    if squares > 0.0 {
        let inverse = 1.0 / squares.sqrt();
        vector.iter_mut().for_each(|value| *value *= inverse);
    }
}

/// Adds `vector · factor` to `sum`; both have the same length, a multiple of four.
#[inline]
pub fn add_scaled(sum: &mut [f32], vector: &[f32], factor: f32) {
    let factor = F32x4::splat(factor);
    let (sum, vector) = (sum.as_chunks_mut::<4>().0, vector.as_chunks::<4>().0);
    for (sum, part) in sum.iter_mut().zip(vector) {
        F32x4::load(sum).add(F32x4::load(part).mul(factor)).store(sum);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_normalised_row_has_mean_zero_and_variance_one() {
        let mut row: Vec<f32> = (0..64).map(|i| ((i * 37) % 64) as f32 * 0.5 - 3.0).collect();
        layer(&mut row, &[1.0; 64], &[0.0; 64], 1e-12);
        let mean = row.iter().sum::<f32>() / 64.0;
        let variance = row.iter().map(|x| x * x).sum::<f32>() / 64.0;
        assert!(mean.abs() < 1e-6 && (variance - 1.0).abs() < 1e-5, "{mean} {variance}");
    }

    #[test]
    fn a_unit_vector_has_length_one_and_zeros_stay() {
        let mut vector = [3.0, 4.0, 0.0, 0.0, 12.0];
        unit(&mut vector);
        assert!((vector.iter().map(|x| x * x).sum::<f32>() - 1.0).abs() < 1e-6);
        let mut zeros = [0.0; 4];
        unit(&mut zeros);
        assert_eq!(zeros, [0.0; 4]);
    }
}
