//! What the tokens of a step take from those before them (Vaswani et al. 2017, "Attention Is All You Need"), with heads of
//! queries that share keys and values (Ainslie et al. 2023, "GQA") and positions as angles (Su et al. 2021, "RoFormer").

use super::cache::LayerCache;
use super::rows::{Part, Rows, Tile};
use super::weights::{Layer, Turns};
use candle_core::{Module, Result, Tensor};
use candle_nn::ops::softmax_last_dim;
use candle_nn::rotary_emb::rope_i;
use llm::shape::Shape;

/// Writes the rows' keys and values into the cache, and gives what each row takes from its sequence, `[rows, query width]`.
pub fn attend(
    normal: &Tensor,
    layer: &Layer,
    cache: &LayerCache,
    turns: &Turns,
    rows: &Rows,
    lengths: &Shape,
) -> Result<Tensor> {
    let queries = by_head(&layer.query.forward(normal)?, lengths.heads)?;
    let keys = by_head(&layer.key.forward(normal)?, lengths.key_heads)?;
    let values = by_head(&layer.value.forward(normal)?, lengths.key_heads)?;
    cache.write(&turned(&keys, turns)?, &values, &rows.targets)?;
    let queries = (turned(&queries, turns)? * (lengths.head_width as f64).powf(-0.5))?;
    let mut mixed = Vec::new();
    for part in &rows.parts {
        attend_part(&queries, part, cache, lengths, &mut mixed)?;
    }
    Tensor::cat(&mixed, 0)
}

/// From `[rows, heads · head width]` to `[heads, rows, head width]`.
fn by_head(rows: &Tensor, heads: usize) -> Result<Tensor> {
    let (count, width) = rows.dims2()?;
    rows.reshape((count, heads, width / heads))?.transpose(0, 1)?.contiguous()
}

fn turned(heads: &Tensor, turns: &Turns) -> Result<Tensor> {
    rope_i(&heads.unsqueeze(0)?, &turns.cosines, &turns.sines)?.squeeze(0)
}

fn attend_part(
    queries: &Tensor,
    part: &Part,
    cache: &LayerCache,
    lengths: &Shape,
    mixed: &mut Vec<Tensor>,
) -> Result<()> {
    let (keys, values) = cache.read(&part.place, part.length)?;
    for tile in &part.tiles {
        let (keys, values) = (keys.narrow(1, 0, tile.length)?, values.narrow(1, 0, tile.length)?);
        mixed.push(attend_tile(queries, tile, &keys, &values, lengths)?);
    }
    Ok(())
}

/// The rows of a tile, with `[key heads, length, head width]` of keys and values. Heads of queries that share keys stand one
/// after the other, so that they are rows of one product.
fn attend_tile(queries: &Tensor, tile: &Tile, keys: &Tensor, values: &Tensor, lengths: &Shape) -> Result<Tensor> {
    let (heads, key_heads, width) = (lengths.heads, lengths.key_heads, lengths.head_width);
    let shared_rows = heads / key_heads * tile.rows;
    let queries = queries.narrow(1, tile.row, tile.rows)?.contiguous()?.reshape((key_heads, shared_rows, width))?;
    let scores = queries.matmul(&keys.transpose(1, 2)?)?.reshape((heads, tile.rows, tile.length))?;
    let scores = match &tile.mask {
        None => scores,
        Some(mask) => scores.broadcast_add(mask)?,
    };
    let shares = softmax_last_dim(&scores)?.reshape((key_heads, shared_rows, tile.length))?;
    let mixed = shares.matmul(values)?.reshape((heads, tile.rows, width))?;
    mixed.transpose(0, 1)?.reshape((tile.rows, heads * width))
}
