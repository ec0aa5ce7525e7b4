//! Rows of numbers.

/// A row-major matrix.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Matrix {
    /// Numbers a row; over 0.
    pub columns: usize,
    /// All rows, one after the other; a multiple of `columns` long.
    pub values: Vec<f64>,
}

impl Matrix {
    /// Rows.
    pub fn rows(&self) -> usize {
        self.values.len() / self.columns
    }

    /// Each row in turn.
    pub fn each_row(&self) -> std::slice::ChunksExact<'_, f64> {
        self.values.chunks_exact(self.columns)
    }

    /// The rows at `indices`, in that order.
    pub fn select(&self, indices: &[usize]) -> Self {
        let row = |&index: &usize| &self.values[index * self.columns..(index + 1) * self.columns];
        Self { columns: self.columns, values: indices.iter().flat_map(row).copied().collect() }
    }
}
