//! Comparing embeddings.

use crate::error::InferenceError;

/// The cosine of the angle between two vectors of the same length, in -1..=1; 0 where one of them is zero.
pub fn cosine(left: &[f32], right: &[f32]) -> Result<f32, InferenceError> {
    if left.len() != right.len() {
        return Err(InferenceError::LengthMismatch("two vectors of different length have no angle"));
    }
    let product = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    let lengths = (product(left, left) * product(right, right)).sqrt();
    if lengths > 0.0 { Ok((product(left, right) / lengths).clamp(-1.0, 1.0) as f32) } else { Ok(0.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cosine_is_one_for_the_same_direction_and_zero_for_a_right_angle() {
        assert_eq!(cosine(&[1.0, 2.0], &[2.0, 4.0]), Ok(1.0));
        assert_eq!(cosine(&[1.0, 0.0], &[0.0, 3.0]), Ok(0.0));
        assert_eq!(cosine(&[0.0, 0.0], &[0.0, 3.0]), Ok(0.0));
        assert!(cosine(&[1.0], &[1.0, 2.0]).is_err());
    }
}
