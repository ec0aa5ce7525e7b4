//! Where the tokens of a step stand: one row a token, sequence after sequence. What all layers need of that is put on the
//! device once a step.

use super::cache::Place;
use candle_core::{Device, Result, Tensor};
use llm::shape::Shape;
use llm::{DecoderShape, StepSequence};

/// Tokens of a sequence whose attention is computed together, at most: what a token must not see is computed in vain.
const TILE_TOKENS: usize = 128;
/// Scores of a tile, of all heads together, at most: 64 MiB.
const TILE_SCORES_MAX: usize = 1 << 24;

/// The rows of a step.
pub struct Rows {
    /// The token of each.
    pub tokens: Tensor,
    /// The position of each in its sequence.
    pub positions: Tensor,
    /// The token of the cache that each is, once for every float of its keys: `[key heads, rows, head width]`.
    pub targets: Tensor,
    /// Rows whose logits are wanted, if any.
    pub wanted: Option<Tensor>,
    /// The sequences.
    pub parts: Vec<Part>,
}

/// The rows of one sequence.
pub struct Part {
    /// Where its keys and values stand.
    pub place: Place,
    /// Tokens that its last row sees, itself included.
    pub length: usize,
    /// Its rows, some at a time.
    pub tiles: Vec<Tile>,
}

/// Some rows of a sequence.
pub struct Tile {
    /// The first of them.
    pub row: usize,
    /// How many.
    pub rows: usize,
    /// Tokens that the last of them sees, itself included.
    pub length: usize,
    /// `[rows, length]`: 0 where a row sees a token, −∞ where it does not. None: all see all.
    pub mask: Option<Tensor>,
}

impl Rows {
    /// Lays out a step that was checked.
    pub fn lay_out(
        sequences: &[StepSequence<'_>],
        lengths: &Shape,
        shape: &DecoderShape,
        device: &Device,
    ) -> Result<Self> {
        let (mut tokens, mut positions, mut slots) = (Vec::new(), Vec::new(), Vec::new());
        let (mut wanted, mut parts) = (Vec::new(), Vec::new());
        for sequence in sequences {
            parts.push(Part::lay_out(sequence, tokens.len(), lengths, shape, device)?);
            for (position, &token) in (sequence.position..).zip(sequence.tokens) {
                tokens.push(token);
                positions.push(position as u32);
                slots.push(slot(sequence, position, shape.block_tokens));
            }
            if sequence.wants_logits {
                wanted.push(tokens.len() as u32 - 1);
            }
        }
        let each = (lengths.key_heads, slots.len(), lengths.head_width);
        let targets = Tensor::new(slots, device)?.reshape((1, each.1, 1))?.broadcast_as(each)?.contiguous()?;
        Ok(Self {
            tokens: Tensor::new(tokens, device)?,
            positions: Tensor::new(positions, device)?,
            targets,
            wanted: if wanted.is_empty() { None } else { Some(Tensor::new(wanted, device)?) },
            parts,
        })
    }
}

/// The token of the cache at which a sequence's position stands.
fn slot(sequence: &StepSequence<'_>, position: usize, block_tokens: usize) -> u32 {
    sequence.blocks[position / block_tokens] * block_tokens as u32 + (position % block_tokens) as u32
}

impl Part {
    fn lay_out(
        sequence: &StepSequence<'_>,
        row: usize,
        lengths: &Shape,
        shape: &DecoderShape,
        device: &Device,
    ) -> Result<Self> {
        let length = sequence.position + sequence.tokens.len();
        let blocks = &sequence.blocks[..length.div_ceil(shape.block_tokens)];
        let follow = blocks.windows(2).all(|pair| pair[1] == pair[0] + 1);
        let place = match blocks.first() {
            Some(&first) if follow => Place::Run(first as usize * shape.block_tokens),
            _ => Place::Blocks(Tensor::new(blocks, device)?),
        };
        let tile_tokens = (TILE_SCORES_MAX / (lengths.heads * length)).clamp(1, TILE_TOKENS);
        let tile = |first: usize| {
            let rows = tile_tokens.min(sequence.tokens.len() - first);
            Tile::new(row + first, rows, sequence.position + first + rows, device)
        };
        let tiles = (0..sequence.tokens.len()).step_by(tile_tokens).map(tile).collect::<Result<_>>()?;
        Ok(Self { place, length, tiles })
    }
}

impl Tile {
    fn new(row: usize, rows: usize, length: usize, device: &Device) -> Result<Self> {
        let mask = (rows > 1).then(|| Tensor::from_vec(mask(rows, length), (rows, length), device)).transpose()?;
        Ok(Self { row, rows, length, mask })
    }
}

/// Row i of n sees all but the last n − 1 − i of `length` tokens.
fn mask(rows: usize, length: usize) -> Vec<f32> {
    let row = |row: usize| {
        let seen = length - rows + row + 1;
        (0..length).map(move |token| if token < seen { 0.0 } else { f32::NEG_INFINITY })
    };
    (0..rows).flat_map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_sees_itself_and_all_before_it() {
        let far = f32::NEG_INFINITY;
        assert_eq!(mask(2, 4), [0.0, 0.0, 0.0, far, 0.0, 0.0, 0.0, 0.0]);
        assert_eq!(mask(3, 3), [0.0, far, far, 0.0, 0.0, far, 0.0, 0.0, 0.0]);
    }
}
