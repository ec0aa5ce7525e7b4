//! Cholesky's factor of small symmetric matrices, held as packed lower triangles, row by row.

/// The length of a packed lower triangle.
pub fn packed_length(dimension: usize) -> usize {
    dimension * (dimension + 1) / 2
}

/// Where the row starts in a packed lower triangle.
fn row(index: usize) -> usize {
    packed_length(index)
}

/// Cholesky's factor L of a positive definite matrix A = L Lᵀ.
#[derive(Debug, Clone, Default)]
pub struct Cholesky {
    dimension: usize,
    lower: Vec<f64>,
}

impl Cholesky {
    /// Factors a packed lower triangle. Pivots below `pivot_min` (above 0) are lifted to it, so that rounding cannot
    /// make it fail; how many is the second result.
    pub fn factor(packed: &[f64], dimension: usize, pivot_min: f64) -> (Self, usize) {
        let mut factor = Self { dimension: 0, lower: Vec::with_capacity(packed_length(dimension)) };
        let mut lifted = 0;
        for index in 0..dimension {
            let start = row(index);
            lifted += usize::from(!factor.append(&packed[start..start + index], packed[start + index], pivot_min));
        }
        (factor, lifted)
    }

    /// Adds a row: covariances with those before, and its own variance. False where the pivot was lifted.
    pub fn append(&mut self, covariances: &[f64], variance: f64, pivot_min: f64) -> bool {
        let start = self.lower.len();
        self.lower.extend_from_slice(covariances);
        let (before, new) = self.lower.split_at_mut(start);
        solve_lower(before, new);
        let pivot = variance - new.iter().map(|value| value * value).sum::<f64>();
        let sound = pivot >= pivot_min;
        self.lower.push(if sound { pivot.sqrt() } else { pivot_min.sqrt() });
        self.dimension += 1;
        sound
    }

    /// Rows.
    pub fn dimension(&self) -> usize {
        self.dimension
    }

    /// Solves L x = b in place.
    pub fn solve_half(&self, vector: &mut [f64]) {
        solve_lower(&self.lower, vector);
    }

    /// Solves Lᵀ x = b in place.
    pub fn solve_other_half(&self, vector: &mut [f64]) {
        for index in (0..self.dimension).rev() {
            let values = &self.lower[row(index)..row(index + 1)];
            let solved = vector[index] / values[index];
            vector[index] = solved;
            for (value, factor) in vector[..index].iter_mut().zip(values) {
                *value -= factor * solved;
            }
        }
    }

    /// Solves A x = b in place.
    pub fn solve(&self, vector: &mut [f64]) {
        self.solve_half(vector);
        self.solve_other_half(vector);
    }

    /// bᵀ A⁻¹ b.
    pub fn inverse_form(&self, vector: &[f64]) -> f64 {
        let mut half = vector.to_vec();
        self.solve_half(&mut half);
        half.iter().map(|value| value * value).sum()
    }

    /// The logarithm of A's determinant.
    pub fn ln_determinant(&self) -> f64 {
        (0..self.dimension).map(|index| 2.0 * libm::log(self.lower[row(index) + index])).sum()
    }
}

fn solve_lower(lower: &[f64], vector: &mut [f64]) {
    for index in 0..vector.len() {
        let values = &lower[row(index)..row(index + 1)];
        let known: f64 = dot(&values[..index], &vector[..index]);
        vector[index] = (vector[index] - known) / values[index];
    }
}

/// The dot product in four lanes, added in one order.
pub fn dot(left: &[f64], right: &[f64]) -> f64 {
    let mut lanes = [0.0; 4];
    let (left_chunks, right_chunks) = (left.chunks_exact(4), right.chunks_exact(4));
    let rest: f64 = left_chunks.remainder().iter().zip(right_chunks.remainder()).map(|(l, r)| l * r).sum();
    for (l, r) in left_chunks.zip(right_chunks) {
        for lane in 0..4 {
            lanes[lane] += l[lane] * r[lane];
        }
    }
    (lanes[0] + lanes[1]) + (lanes[2] + lanes[3]) + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_system_is_solved() {
        // A = [[4,2,.6],[2,5,1],[.6,1,3]], b = A (1,-2,3).
        let (factor, lifted) = Cholesky::factor(&[4.0, 2.0, 5.0, 0.6, 1.0, 3.0], 3, 1e-12);
        let mut vector = [4.0 - 4.0 + 1.8, 2.0 - 10.0 + 3.0, 0.6 - 2.0 + 9.0];
        let form = factor.inverse_form(&vector);
        let right = vector;
        factor.solve(&mut vector);
        assert_eq!(lifted, 0);
        for (actual, expected) in vector.iter().zip([1.0, -2.0, 3.0]) {
            assert!((actual - expected).abs() < 1e-12);
        }
        assert!((form - dot(&vector, &right)).abs() < 1e-12);
        // numpy.linalg.det: 44.6
        assert!((libm::exp(factor.ln_determinant()) - 44.6).abs() < 1e-9);
    }

    #[test]
    fn a_singular_matrix_is_lifted_and_reported() {
        let (factor, lifted) = Cholesky::factor(&[1.0, 1.0, 1.0], 2, 1e-9);
        assert_eq!((factor.dimension(), lifted), (2, 1));
    }
}
