//! A step through the model, in phases of units that threads share.
//!
//! For each layer: normalise · queries, keys and values, turned and put into the cache · attention · back to the width,
//! added · normalise · gate and up, multiplied · back to the width, added. Each phase ends by writing what the next reads,
//! already quantised, so that seven phases a layer are enough.

#![allow(unsafe_op_in_unsafe_fn, reason = "one reason for all kernels, told in `kernels`")]

use super::activations::Activations;
use super::kernels::attention::Heads;
use super::kernels::product::TILE_ROWS;
use super::kernels::{elementwise, quantise};
use super::memory::SharedBuffer;
use super::model::{Layer, Model};
use super::path::{Path, RunUnit};
use super::team::Job;
use super::weights::{BLOCK, Weights};
use crate::decoder::StepSequence;
use crate::shape::Shape;
use lanes::LANES;
use lanes::half::to_half;
use std::ops::Range;

/// Positions of one sequence that attend together, at most.
pub const TILE_POSITIONS: usize = 8;
/// Groups of weights whose products lie in a tile.
const TILE_GROUPS: usize = 4;
/// Floats of a row of a tile.
const TILE_STRIDE: usize = TILE_GROUPS * LANES;
/// Groups that make a block of activations.
const BLOCK_GROUPS: usize = BLOCK / LANES;
/// Phases of a layer.
const LAYER_PHASES: usize = 7;
/// Units a thread, so that one that is held up leaves work for the others.
const UNITS_PER_THREAD: usize = 6;

/// What a token of the step is.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// The token.
    pub token: u32,
    /// Its position.
    pub position: usize,
    /// Index of its sequence.
    pub sequence: usize,
}

/// Neighbouring rows of one sequence that attend together.
#[derive(Debug, Clone, Copy)]
pub struct Tile {
    /// The first of them.
    pub row: usize,
    /// How many.
    pub rows: usize,
}

/// Memory that steps use.
pub struct Buffers {
    /// Keys and values, by layer, block, head; see [`super::kernels::attention`].
    pub cache: SharedBuffer<u16>,
    /// What layers add to, a row a token.
    pub residual: SharedBuffer<f32>,
    /// The normalised rows.
    pub normal: Activations,
    /// Queries, and what attention puts in their place.
    pub queries: SharedBuffer<f32>,
    /// The same, quantised.
    pub attended: Activations,
    /// The middle of the feed-forward network.
    pub hidden: Activations,
    /// Normalised rows whose logits are wanted.
    pub wanted: Activations,
    /// Room of each thread.
    pub room: SharedBuffer<f32>,
    /// Floats of a thread's room.
    pub room_floats: usize,
}

/// One step.
pub struct Step<'step> {
    /// The model.
    pub model: &'step Model,
    /// Its memory.
    pub buffers: &'step Buffers,
    /// Tokens of a block of the cache.
    pub block_tokens: usize,
    /// Blocks of the cache.
    pub blocks: usize,
    /// As they were given.
    pub sequences: &'step [StepSequence<'step>],
    /// All tokens.
    pub rows: &'step [Row],
    /// All of them again, in tiles.
    pub tiles: &'step [Tile],
    /// Rows whose logits are wanted.
    pub wanted: &'step [usize],
    /// Where the logits go, a row of the vocabulary's length each.
    pub logits: *mut f32,
    /// Threads that share the work.
    pub threads: usize,
    /// The path of this processor.
    pub run: RunUnit,
}

// SAFETY: `logits` is written in parts that do not overlap, while the step's owner waits.
unsafe impl Sync for Step<'_> {}

/// What is done in a phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Embed,
    NormaliseForAttention(usize),
    Project(usize),
    Attend(usize),
    Output(usize),
    NormaliseForFeed(usize),
    GateAndUp(usize),
    Down(usize),
    NormaliseWanted,
    Logits,
}

impl Phase {
    fn of(index: usize, layers: usize) -> Self {
        let Some(index) = index.checked_sub(1) else { return Self::Embed };
        let layer = index / LAYER_PHASES;
        if layer >= layers {
            return if index == layers * LAYER_PHASES { Self::NormaliseWanted } else { Self::Logits };
        }
        match index % LAYER_PHASES {
            0 => Self::NormaliseForAttention(layer),
            1 => Self::Project(layer),
            2 => Self::Attend(layer),
            3 => Self::Output(layer),
            4 => Self::NormaliseForFeed(layer),
            5 => Self::GateAndUp(layer),
            _ => Self::Down(layer),
        }
    }
}

impl Job for Step<'_> {
    fn phases(&self) -> usize {
        1 + self.model.layers.len() * LAYER_PHASES + 2
    }

    fn units(&self, phase: usize) -> usize {
        let items = self.items(Phase::of(phase, self.model.layers.len()));
        if self.threads == 1 { items.min(1) } else { items.min(self.threads * UNITS_PER_THREAD) }
    }

    fn run(&self, phase: usize, unit: usize, worker: usize) {
        // SAFETY: the path was chosen for this processor; units of a phase write parts that do not overlap.
        unsafe { (self.run)(self, phase, unit, worker) }
    }
}

impl Step<'_> {
    /// What units of the phase share among them.
    fn items(&self, phase: Phase) -> usize {
        let shape = &self.model.shape;
        match phase {
            Phase::Embed | Phase::NormaliseForAttention(_) | Phase::NormaliseForFeed(_) => {
                self.rows.len().div_ceil(TILE_ROWS)
            }
            Phase::Project(layer) => self.model.layers[layer].projections.iter().map(Weights::groups).sum(),
            Phase::Attend(_) => self.tiles.len() * shape.key_heads,
            Phase::Output(_) | Phase::Down(_) => shape.width / LANES,
            Phase::GateAndUp(_) => shape.hidden / BLOCK,
            Phase::NormaliseWanted => self.wanted.len().div_ceil(TILE_ROWS),
            Phase::Logits if self.wanted.is_empty() => 0,
            Phase::Logits => self.model.logits().groups(),
        }
    }

    fn layer(&self, layer: usize) -> &Layer {
        &self.model.layers[layer]
    }

    fn shape(&self) -> &Shape {
        &self.model.shape
    }
}

/// A unit's part of `items`.
#[inline(always)]
fn share(items: usize, unit: usize, units: usize) -> Range<usize> {
    items * unit / units..items * (unit + 1) / units
}

/// Does a unit of a phase.
#[inline(always)]
pub unsafe fn run<P: Path>(step: &Step<'_>, phase: usize, unit: usize, worker: usize) {
    let items = |phase_kind| share(step.items(phase_kind), unit, step.units(phase).max(1));
    let kind = Phase::of(phase, step.model.layers.len());
    let part = items(kind);
    let rows = part.start * TILE_ROWS..(part.end * TILE_ROWS).min(step.rows.len());
    match kind {
        Phase::Embed => embed(step, rows),
        Phase::NormaliseForAttention(layer) => normalise::<P>(step, rows, &step.layer(layer).attention_norm, worker),
        Phase::Project(layer) => project::<P>(step, layer, part),
        Phase::Attend(layer) => part.for_each(|item| attend::<P>(step, layer, item, worker)),
        Phase::Output(layer) => add_product::<P>(step, &step.layer(layer).output, &step.buffers.attended, part),
        Phase::NormaliseForFeed(layer) => normalise::<P>(step, rows, &step.layer(layer).feed_norm, worker),
        Phase::GateAndUp(layer) => gate_and_up::<P>(step, step.layer(layer), part),
        Phase::Down(layer) => add_product::<P>(step, &step.layer(layer).down, &step.buffers.hidden, part),
        Phase::NormaliseWanted => {
            normalise_wanted::<P>(step, part.start * TILE_ROWS..(part.end * TILE_ROWS).min(step.wanted.len()), worker);
        }
        Phase::Logits => logits::<P>(step, part),
    }
}

unsafe fn embed(step: &Step<'_>, rows: Range<usize>) {
    let width = step.shape().width;
    for row in rows {
        let target = step.buffers.residual.part(row * width..(row + 1) * width);
        step.model.embedding.row(step.rows[row].token as usize, target);
    }
}

#[inline(always)]
unsafe fn normalise<P: Path>(step: &Step<'_>, rows: Range<usize>, weights: &[f32], worker: usize) {
    for row in rows {
        normalise_row::<P>(step, row, weights, &step.buffers.normal, row, worker);
    }
}

#[inline(always)]
unsafe fn normalise_wanted<P: Path>(step: &Step<'_>, wanted: Range<usize>, worker: usize) {
    for index in wanted {
        normalise_row::<P>(step, step.wanted[index], &step.model.output_norm, &step.buffers.wanted, index, worker);
    }
}

#[inline(always)]
unsafe fn normalise_row<P: Path>(
    step: &Step<'_>,
    row: usize,
    weights: &[f32],
    target: &Activations,
    target_row: usize,
    worker: usize,
) {
    let (width, epsilon) = (step.shape().width, step.shape().epsilon);
    let room = step.buffers.room.pointer().add(worker * step.buffers.room_floats);
    let values = step.buffers.residual.pointer().add(row * width);
    elementwise::normalise::<P>(values, weights.as_ptr(), width, epsilon, room);
    quantise::write::<P>(room, width, target, target_row, 0);
}

/// Products of up to [`TILE_ROWS`] rows with up to [`TILE_GROUPS`] groups.
#[repr(align(64))]
struct Products([f32; TILE_ROWS * TILE_STRIDE]);

/// Groups from a range in runs of up to [`TILE_GROUPS`].
fn runs(groups: Range<usize>) -> impl Iterator<Item = (usize, usize)> {
    groups.clone().step_by(TILE_GROUPS).map(move |group| (group, TILE_GROUPS.min(groups.end - group)))
}

/// Rows in tiles of up to [`TILE_ROWS`].
fn row_tiles(rows: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..rows).step_by(TILE_ROWS).map(move |row| (row, TILE_ROWS.min(rows - row)))
}

#[inline(always)]
unsafe fn project<P: Path>(step: &Step<'_>, layer: usize, groups: Range<usize>) {
    let mut before = 0;
    for (index, weights) in step.layer(layer).projections.iter().enumerate() {
        let (start, end) = (groups.start.max(before), groups.end.min(before + weights.groups()));
        if start < end {
            for run in runs(start - before..end - before) {
                project_run::<P>(step, layer, index, weights, run);
            }
        }
        before += weights.groups();
    }
}

#[inline(always)]
unsafe fn project_run<P: Path>(
    step: &Step<'_>,
    layer: usize,
    index: usize,
    weights: &Weights,
    (group, groups): (usize, usize),
) {
    let mut products = Products([0.0; TILE_ROWS * TILE_STRIDE]);
    let products = products.0.as_mut_ptr();
    let (column, columns) = (group * LANES, groups * LANES);
    for (first, count) in row_tiles(step.rows.len()) {
        P::product(weights, (group, groups), &step.buffers.normal, (first, count), products, TILE_STRIDE);
        for offset in 0..count {
            let (values, row) = (products.add(offset * TILE_STRIDE), first + offset);
            if index < 2 {
                turn::<P>(step, step.rows[row].position, column, columns, values);
            }
            match index {
                0 => {
                    let target = step.buffers.queries.pointer().add(row * step.shape().query_width() + column);
                    std::ptr::copy_nonoverlapping(values, target, columns);
                }
                1 => store_keys(step, layer, row, column, columns, values),
                _ => store_values::<P>(step, layer, row, column, columns, values),
            }
        }
    }
}

#[inline(always)]
unsafe fn turn<P: Path>(step: &Step<'_>, position: usize, column: usize, columns: usize, values: *mut f32) {
    let head_width = step.shape().head_width;
    let turns = step.model.turns.as_ptr().add(position * head_width);
    for offset in (0..columns).step_by(LANES) {
        elementwise::rotate(values.add(offset), turns.add((column + offset) % head_width), LANES);
    }
}

/// The keys of a head in a block of the cache; its values are `head_width · block_tokens` further.
#[inline(always)]
unsafe fn cache_place(step: &Step<'_>, layer: usize, block: usize, head: usize) -> *mut u16 {
    let shape = step.shape();
    let index = (layer * step.blocks + block) * shape.key_heads + head;
    step.buffers.cache.pointer().add(index * 2 * shape.head_width * step.block_tokens)
}

/// The place of a row's position: its block, and its token there.
#[inline(always)]
unsafe fn block_of(step: &Step<'_>, row: usize) -> (usize, usize) {
    let Row { position, sequence, .. } = step.rows[row];
    (step.sequences[sequence].blocks[position / step.block_tokens] as usize, position % step.block_tokens)
}

#[inline(always)]
unsafe fn store_keys(step: &Step<'_>, layer: usize, row: usize, column: usize, columns: usize, values: *const f32) {
    let (block, token) = block_of(step, row);
    let head_width = step.shape().head_width;
    for offset in 0..columns {
        let (head, dimension) = ((column + offset) / head_width, (column + offset) % head_width);
        let keys = cache_place(step, layer, block, head);
        *keys.add(dimension * step.block_tokens + token) = to_half((*values.add(offset)).clamp(-HALF_MAX, HALF_MAX));
    }
}

/// The largest 16-bit float. An infinite value of a token that a query does not see would still make its mean NaN.
const HALF_MAX: f32 = 65_504.0;

#[inline(always)]
unsafe fn store_values<P: Path>(
    step: &Step<'_>,
    layer: usize,
    row: usize,
    column: usize,
    columns: usize,
    values: *const f32,
) {
    let (block, token) = block_of(step, row);
    let head_width = step.shape().head_width;
    for offset in (0..columns).step_by(LANES) {
        let (head, dimension) = ((column + offset) / head_width, (column + offset) % head_width);
        let place = cache_place(step, layer, block, head).add(head_width * step.block_tokens);
        let bounded = P::maximum(P::minimum(P::load(values.add(offset)), P::splat(HALF_MAX)), P::splat(-HALF_MAX));
        P::store_half(place.add(token * head_width + dimension), bounded);
    }
}

#[inline(always)]
unsafe fn attend<P: Path>(step: &Step<'_>, layer: usize, item: usize, worker: usize) {
    let shape = step.shape();
    let (tile, head) = (step.tiles[item / shape.key_heads], item % shape.key_heads);
    let first = step.rows[tile.row];
    let sharing = shape.heads / shape.key_heads;
    let heads = Heads {
        start: cache_place(step, layer, 0, head),
        block_stride: 2 * shape.key_width() * step.block_tokens,
        values_offset: shape.head_width * step.block_tokens,
        blocks: step.sequences[first.sequence].blocks,
        block_tokens: step.block_tokens,
        dimensions: shape.head_width,
    };
    let scale = 1.0 / (shape.head_width as f32).sqrt();
    let room = step.buffers.room.pointer().add(worker * step.buffers.room_floats);
    let score_stride = step.buffers.room_floats / (TILE_POSITIONS * sharing);
    let queries = step.buffers.queries.pointer();
    let start = |row: usize| queries.wrapping_add(row * shape.query_width() + head * sharing * shape.head_width);
    let mut done = 0;
    while done < tile.rows * sharing {
        let mut pointers = [std::ptr::null_mut(); QUERIES_MAX];
        let mut lengths = [0; QUERIES_MAX];
        let count = (tile.rows * sharing - done).min(QUERIES_MAX);
        for index in 0..count {
            let (offset, head) = ((done + index) / sharing, (done + index) % sharing);
            pointers[index] = start(tile.row + offset).wrapping_add(head * shape.head_width);
            lengths[index] = first.position + offset + 1;
        }
        P::attend(&heads, &pointers[..count], &lengths[..count], scale, room, score_stride);
        done += count;
    }
    for row in tile.row..tile.row + tile.rows {
        let column = head * sharing * shape.head_width;
        quantise::write::<P>(start(row), sharing * shape.head_width, &step.buffers.attended, row, column);
    }
}

/// Queries that are handed to the kernel at once, at most.
const QUERIES_MAX: usize = 24;

/// Adds the product of some groups with all rows to the residual.
#[inline(always)]
unsafe fn add_product<P: Path>(step: &Step<'_>, weights: &Weights, activations: &Activations, groups: Range<usize>) {
    let mut products = Products([0.0; TILE_ROWS * TILE_STRIDE]);
    let products = products.0.as_mut_ptr();
    for (group, groups) in runs(groups) {
        for (first, count) in row_tiles(step.rows.len()) {
            P::product(weights, (group, groups), activations, (first, count), products, TILE_STRIDE);
            for offset in 0..count {
                let target = step.buffers.residual.pointer().add((first + offset) * step.shape().width + group * LANES);
                elementwise::add::<P>(target, products.add(offset * TILE_STRIDE), groups * LANES);
            }
        }
    }
}

/// Each item is a block of the hidden activations.
#[inline(always)]
unsafe fn gate_and_up<P: Path>(step: &Step<'_>, layer: &Layer, blocks: Range<usize>) {
    let mut gates = Products([0.0; TILE_ROWS * TILE_STRIDE]);
    let mut values = Products([0.0; TILE_ROWS * TILE_STRIDE]);
    let (gates, values) = (gates.0.as_mut_ptr(), values.0.as_mut_ptr());
    let normal = &step.buffers.normal;
    for (group, groups) in runs(blocks.start * BLOCK_GROUPS..blocks.end * BLOCK_GROUPS) {
        for (first, count) in row_tiles(step.rows.len()) {
            P::product(&layer.gate, (group, groups), normal, (first, count), gates, TILE_STRIDE);
            P::product(&layer.up, (group, groups), normal, (first, count), values, TILE_STRIDE);
            for offset in 0..count {
                let gates = gates.add(offset * TILE_STRIDE);
                elementwise::gate::<P>(gates, values.add(offset * TILE_STRIDE), groups * LANES);
                quantise::write::<P>(gates, groups * LANES, &step.buffers.hidden, first + offset, group * LANES);
            }
        }
    }
}

#[inline(always)]
unsafe fn logits<P: Path>(step: &Step<'_>, groups: Range<usize>) {
    let mut products = Products([0.0; TILE_ROWS * TILE_STRIDE]);
    let products = products.0.as_mut_ptr();
    let vocabulary = step.shape().vocabulary;
    for (group, groups) in runs(groups) {
        for (first, count) in row_tiles(step.wanted.len()) {
            let weights = step.model.logits();
            P::product(weights, (group, groups), &step.buffers.wanted, (first, count), products, TILE_STRIDE);
            let columns = (groups * LANES).min(vocabulary - group * LANES);
            for offset in 0..count {
                let target = step.logits.add((first + offset) * vocabulary + group * LANES);
                std::ptr::copy_nonoverlapping(products.add(offset * TILE_STRIDE), target, columns);
            }
        }
    }
}
