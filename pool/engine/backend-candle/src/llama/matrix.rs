//! Matrices as the file stores them.
//!
//! For three types candle has no vector instructions on processors. There they are held as others that stand for the same
//! numbers, to the last bit of each scale and quant:
//!
//! | of the file | value of a column | held as |
//! |---|---|---|
//! | Q5_0 | d·(q − 16) | Q8_0 of d and q − 16 |
//! | Q4_1 | d·q + m | Q4_0, which is d·(q − 8), and m + 8·d for the block |
//! | Q5_1 | d·q + m | Q8_0 of d and q − 16, and m + 16·d for the block |
//!
//! What a block adds to each of its columns is multiplied by the sum of the row's floats there: a 32nd of the products.

use candle_core::quantized::{GgmlDType, QMatMul, QStorage, QTensor};
use candle_core::{D, Device, Module, Result, Tensor};
use llm::gguf::{ElementType, TensorData};
use std::borrow::Cow;

/// Columns of a block.
const BLOCK: usize = 32;

/// A matrix of `[outputs, inputs]`.
#[derive(Clone)]
pub struct Matrix {
    product: QMatMul,
    /// What each block adds to its columns, `[outputs, blocks]`; none: nothing.
    offsets: Option<Tensor>,
    bytes: u64,
}

/// Blocks of a type that candle has vector instructions for, and what each adds to its columns.
struct Split {
    element_type: GgmlDType,
    blocks: Vec<u8>,
    offsets: Vec<f32>,
}

impl Matrix {
    /// Copies a tensor of `[inputs, outputs]` to the device.
    pub fn new(tensor: TensorData<'_>, outputs: usize, inputs: usize, device: &Device) -> Result<Self> {
        let element_type = tensor.place.element_type;
        match if device.is_cpu() { split(element_type, tensor.data) } else { None } {
            None => Self::hold(candle_type(element_type), tensor.data, None, (outputs, inputs), device),
            Some(Split { element_type, blocks, offsets }) => {
                let shape = (outputs, inputs / BLOCK);
                let offsets = (!offsets.is_empty()).then(|| Tensor::from_vec(offsets, shape, device)).transpose()?;
                Self::hold(element_type, &blocks, offsets, (outputs, inputs), device)
            }
        }
    }

    fn hold(
        element_type: GgmlDType,
        data: &[u8],
        offsets: Option<Tensor>,
        shape: (usize, usize),
        device: &Device,
    ) -> Result<Self> {
        let stored = QTensor::new(QStorage::from_data(Cow::Borrowed(data), device, element_type)?, shape)?;
        let offset_bytes = offsets.as_ref().map_or(0, |offsets| 4 * offsets.elem_count() as u64);
        let bytes = held_bytes(&stored, device) + offset_bytes;
        Ok(Self { product: QMatMul::from_qtensor(stored)?, offsets, bytes })
    }

    /// Rows of the matrix itself, as floats.
    pub fn rows(&self, indices: &Tensor) -> Result<Tensor> {
        let rows = self.product.embedding(indices)?;
        let Some(offsets) = &self.offsets else { return Ok(rows) };
        let (count, inputs) = rows.dims2()?;
        let by_block = rows.reshape((count, inputs / BLOCK, BLOCK))?;
        by_block.broadcast_add(&offsets.index_select(indices, 0)?.unsqueeze(2)?)?.reshape((count, inputs))
    }

    /// Bytes held on the device.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Module for Matrix {
    fn forward(&self, rows: &Tensor) -> Result<Tensor> {
        let product = match &self.product {
            QMatMul::Tensor(floats) => product_of_floats(rows, floats)?,
            quantised => quantised.forward(rows)?,
        };
        let Some(offsets) = &self.offsets else { return Ok(product) };
        let (count, inputs) = rows.dims2()?;
        let sums = rows.reshape((count, inputs / BLOCK, BLOCK))?.sum(D::Minus1)?;
        product + product_of_floats(&sums, offsets)?
    }
}

/// Rows times a matrix of `[outputs, inputs]`. One row alone would be added up in another order than beside others, and a
/// sequence would get other logits for it; so it is computed twice.
fn product_of_floats(rows: &Tensor, matrix: &Tensor) -> Result<Tensor> {
    match rows.dim(0)? {
        1 => Tensor::cat(&[rows, rows], 0)?.matmul(&matrix.t()?)?.narrow(0, 0, 1),
        _ => rows.matmul(&matrix.t()?),
    }
}

/// A tensor of floats of any width, as 32-bit floats.
pub fn floats(tensor: TensorData<'_>, length: usize) -> Result<Vec<f32>> {
    let storage =
        QStorage::from_data(Cow::Borrowed(tensor.data), &Device::Cpu, candle_type(tensor.place.element_type))?;
    QTensor::new(storage, length)?.dequantize(&Device::Cpu)?.to_vec1()
}

fn candle_type(element_type: ElementType) -> GgmlDType {
    match element_type {
        ElementType::F32 => GgmlDType::F32,
        ElementType::F16 => GgmlDType::F16,
        ElementType::Bf16 => GgmlDType::BF16,
        ElementType::Q4_0 => GgmlDType::Q4_0,
        ElementType::Q4_1 => GgmlDType::Q4_1,
        ElementType::Q5_0 => GgmlDType::Q5_0,
        ElementType::Q5_1 => GgmlDType::Q5_1,
        ElementType::Q8_0 => GgmlDType::Q8_0,
        ElementType::Q2K => GgmlDType::Q2K,
        ElementType::Q3K => GgmlDType::Q3K,
        ElementType::Q4K => GgmlDType::Q4K,
        ElementType::Q5K => GgmlDType::Q5K,
        ElementType::Q6K => GgmlDType::Q6K,
    }
}

/// The blocks in other types, where candle computes those faster.
fn split(element_type: ElementType, data: &[u8]) -> Option<Split> {
    let blocks = data.chunks_exact(element_type.block_bytes());
    match element_type {
        ElementType::Q4_1 => Some(Split {
            element_type: GgmlDType::Q4_0,
            offsets: blocks.clone().map(|block| half(block, 2) + 8.0 * half(block, 0)).collect(),
            blocks: blocks.flat_map(|block| block[..2].iter().chain(&block[4..])).copied().collect(),
        }),
        ElementType::Q5_0 => Some(Split {
            element_type: GgmlDType::Q8_0,
            offsets: Vec::new(),
            blocks: blocks.flat_map(|block| bytes_around_zero(block, 2)).collect(),
        }),
        ElementType::Q5_1 => Some(Split {
            element_type: GgmlDType::Q8_0,
            offsets: blocks.clone().map(|block| half(block, 2) + 16.0 * half(block, 0)).collect(),
            blocks: blocks.flat_map(|block| bytes_around_zero(block, 4)).collect(),
        }),
        _ => None,
    }
}

/// A block of Q8_0 of a block whose five bits a column begin at `start`: first the fifth bits of all columns, then the other
/// four, of which byte i holds column i in its low bits and column i + 16 in its high.
fn bytes_around_zero(block: &[u8], start: usize) -> [u8; 2 + BLOCK] {
    let fifth = |column: usize| block[start + column / 8] >> (column % 8) & 1;
    let four = |column: usize| block[start + 4 + column % 16] >> (column / 16 * 4) & 0xf;
    std::array::from_fn(|place| match place {
        0 | 1 => block[place],
        _ => (fifth(place - 2) << 4 | four(place - 2)).wrapping_sub(16),
    })
}

/// The 16-bit float at `start`.
fn half(block: &[u8], start: usize) -> f32 {
    lanes::half::from_half(u16::from_le_bytes([block[start], block[start + 1]]))
}

/// Bytes that a matrix takes while steps are computed: floats of any width become 32-bit ones, and on processors candle keeps
/// some types a second time in the order of its kernels, of which the largest takes 1.53 times the file's bytes.
fn held_bytes(matrix: &QTensor, device: &Device) -> u64 {
    let stored = matrix.storage_size_in_bytes() as u64;
    match matrix.dtype() {
        GgmlDType::F32 | GgmlDType::F16 | GgmlDType::BF16 => 4 * matrix.shape().elem_count() as u64,
        GgmlDType::Q4K | GgmlDType::Q6K | GgmlDType::Q8_0 if device.is_cpu() => stored + stored * 153 / 100,
        _ => stored,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use llm::random::Random;

    #[test]
    fn what_is_held_in_another_type_stands_for_the_same_numbers() {
        let seed = 3;
        println!("seed {seed}");
        let mut random = Random::new(seed, 0);
        for element_type in [ElementType::Q4_1, ElementType::Q5_0, ElementType::Q5_1] {
            let mut data: Vec<u8> =
                (0..64 * element_type.block_bytes()).map(|_| (random.unit() * 256.0) as u8).collect();
            for block in data.chunks_exact_mut(element_type.block_bytes()) {
                // Scale and minimum: 0.0101 and −0.0817 in 16 bits.
                block[..2].copy_from_slice(&0x212c_u16.to_le_bytes());
                if element_type != ElementType::Q5_0 {
                    block[2..4].copy_from_slice(&0xad3b_u16.to_le_bytes());
                }
            }
            let dequantised = |element_type, data: &[u8]| -> Vec<f32> {
                let storage = QStorage::from_data(Cow::Borrowed(data), &Device::Cpu, element_type).expect("stored");
                let tensor = QTensor::new(storage, 64 * BLOCK).expect("a tensor");
                tensor.dequantize(&Device::Cpu).and_then(|floats| floats.to_vec1()).expect("floats")
            };
            let expected = dequantised(candle_type(element_type), &data);
            let split = split(element_type, &data).expect("another type");
            let found = dequantised(split.element_type, &split.blocks);
            for (column, (found, expected)) in found.iter().zip(&expected).enumerate() {
                let offset = split.offsets.get(column / BLOCK).copied().unwrap_or(0.0);
                assert!((found + offset - expected).abs() < 1e-6, "{element_type:?} {column}: {found} {expected}");
            }
        }
    }
}
