//! Keys and values of all sequences, in blocks of tokens.

use super::CandleOptions;
use crate::fault::while_loading;
use candle_core::{DType, Device, Result, Tensor};
use engine_core::{EngineError, Reason};
use llm::shape::Shape;

/// Where the keys and values of a sequence stand.
pub enum Place {
    /// One after the other from this token of the cache on.
    Run(usize),
    /// In these blocks.
    Blocks(Tensor),
}

/// The cache of one layer. Both tensors are `[key heads, tokens of all blocks, head width]`.
pub struct LayerCache {
    keys: Tensor,
    values: Tensor,
    block_tokens: usize,
}

/// Bytes of a block, of all layers together.
pub fn block_bytes(lengths: &Shape, block_tokens: usize) -> u64 {
    (lengths.layers * 2 * lengths.key_width() * block_tokens * DType::F32.size_in_bytes()) as u64
}

/// Blocks that fit the options' bytes: at least one, and no more than can be numbered.
pub fn blocks(lengths: &Shape, options: &CandleOptions) -> std::result::Result<usize, EngineError> {
    let block_bytes = block_bytes(lengths, options.block_tokens);
    let tokens_max = u64::from(u32::MAX) / options.block_tokens as u64;
    match (options.cache_bytes / block_bytes).min(tokens_max) {
        0 => {
            let message = format!("A block of the cache takes {block_bytes} bytes, more than cache_bytes.");
            Err(EngineError::new(Reason::MemoryExceeded, message))
        }
        blocks => Ok(blocks as usize),
    }
}

/// The caches of all layers, of zeros.
pub fn allocate(
    lengths: &Shape,
    blocks: usize,
    options: &CandleOptions,
) -> std::result::Result<Vec<LayerCache>, EngineError> {
    if options.device.is_cpu() {
        check_room(blocks as u64 * block_bytes(lengths, options.block_tokens))?;
    }
    let layer = |_| LayerCache::new(lengths, blocks, options.block_tokens, &options.device);
    (0..lengths.layers).map(layer).collect::<Result<_>>().map_err(while_loading)
}

/// Candle ends the process where the system gives no memory; so it is asked before.
fn check_room(bytes: u64) -> std::result::Result<(), EngineError> {
    let room = usize::try_from(bytes).ok().and_then(|bytes| Vec::<u8>::new().try_reserve_exact(bytes).ok());
    let refused =
        || EngineError::new(Reason::MemoryExceeded, format!("There is no memory for a cache of {bytes} bytes."));
    room.ok_or_else(refused)
}

impl LayerCache {
    fn new(lengths: &Shape, blocks: usize, block_tokens: usize, device: &Device) -> Result<Self> {
        let shape = (lengths.key_heads, blocks * block_tokens, lengths.head_width);
        let zeros = || Tensor::zeros(shape, DType::F32, device);
        Ok(Self { keys: zeros()?, values: zeros()?, block_tokens })
    }

    /// Writes keys and values of rows, `[key heads, rows, head width]` each, to the tokens of the cache that `targets` names
    /// for each of their floats.
    pub fn write(&self, keys: &Tensor, values: &Tensor, targets: &Tensor) -> Result<()> {
        self.keys.scatter_set(targets, keys, 1)?;
        self.values.scatter_set(targets, values, 1)
    }

    /// Keys and values of the first `length` tokens at `place`, `[key heads, length, head width]` each.
    pub fn read(&self, place: &Place, length: usize) -> Result<(Tensor, Tensor)> {
        let read = |all: &Tensor| match place {
            Place::Run(first) => all.narrow(1, *first, length),
            Place::Blocks(blocks) => self.gather(all, blocks)?.narrow(1, 0, length),
        };
        Ok((read(&self.keys)?, read(&self.values)?))
    }

    fn gather(&self, all: &Tensor, blocks: &Tensor) -> Result<Tensor> {
        let (heads, tokens, width) = all.dims3()?;
        let by_block = all.reshape((heads, tokens / self.block_tokens, self.block_tokens * width))?;
        by_block.index_select(blocks, 1)?.reshape((heads, blocks.dim(0)? * self.block_tokens, width))
    }

    /// Copies a block.
    pub fn copy(&self, from: usize, to: usize) -> Result<()> {
        let copy = |all: &Tensor| {
            let block = all.narrow(1, from * self.block_tokens, self.block_tokens)?.force_contiguous()?;
            all.slice_set(&block, 1, to * self.block_tokens)
        };
        copy(&self.keys)?;
        copy(&self.values)
    }
}
