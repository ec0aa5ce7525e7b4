//! The decoder: checks a step, lays out its rows, and has the team compute it.

use super::CpuOptions;
use super::activations::Activations;
use super::memory::SharedBuffer;
use super::model::Model;
use super::path::{RunUnit, choose};
use super::step::{Buffers, Row, Step, TILE_POSITIONS, Tile};
use super::team::{Panicked, THREADS_MAX, Team};
use super::weights::{Kind, Weights};
use crate::decoder::{Decoder, DecoderShape, StepSequence};
use crate::gguf::Gguf;
use engine_core::{EngineError, Reason};
use lanes::LANES;

/// Tokens of a block of the cache, at most.
const BLOCK_TOKENS_MAX: usize = 512;
/// Tokens of a step, at most.
const STEP_TOKENS_MAX: usize = 8192;

/// A llama-architecture model on the CPU.
pub struct Llama {
    model: Model,
    shape: DecoderShape,
    buffers: Buffers,
    team: Team,
    run: RunUnit,
    layout: Layout,
}

/// The rows of a step; kept from step to step, so that none allocates.
#[derive(Default)]
struct Layout {
    rows: Vec<Row>,
    tiles: Vec<Tile>,
    wanted: Vec<usize>,
}

impl Llama {
    /// Reads the weights and sets up the cache and the threads.
    pub fn open(file: &Gguf, options: &CpuOptions) -> Result<Self, EngineError> {
        check(options)?;
        let run = choose(options)?;
        let model = Model::read(file, options.context_length_max.unwrap_or(usize::MAX).max(1))?;
        let blocks = blocks(&model, options)?;
        let buffers = buffers(&model, options, blocks)?;
        let no_threads = |error| EngineError::new(Reason::Internal, format!("No threads could be started: {error}"));
        let shape = DecoderShape {
            vocabulary_size: model.shape.vocabulary,
            context_length: model.shape.context,
            block_tokens: options.block_tokens,
            blocks,
            step_tokens_max: options.step_tokens_max,
            memory_bytes: memory_bytes(&model, &buffers),
        };
        let team = Team::new(options.threads).map_err(no_threads)?;
        Ok(Self { model, shape, buffers, team, run, layout: Layout::default() })
    }
}

fn check(options: &CpuOptions) -> Result<(), EngineError> {
    let bounds = [
        ("threads", options.threads, 1..=THREADS_MAX),
        ("block_tokens", options.block_tokens, LANES..=BLOCK_TOKENS_MAX),
        ("step_tokens_max", options.step_tokens_max, 1..=STEP_TOKENS_MAX),
    ];
    for (name, value, range) in bounds {
        if !range.contains(&value) {
            let message = format!("{name} is {value}, but goes from {} to {}.", range.start(), range.end());
            return Err(EngineError::invalid(name, message));
        }
    }
    if options.block_tokens.is_multiple_of(LANES) {
        return Ok(());
    }
    Err(EngineError::invalid("block_tokens", format!("block_tokens is a multiple of {LANES}.")))
}

/// Blocks that fit `cache_bytes`: at least one, and no more than can be numbered.
fn blocks(model: &Model, options: &CpuOptions) -> Result<usize, EngineError> {
    let block_bytes = model.layers.len() * 4 * model.shape.key_width() * options.block_tokens;
    let blocks = options.cache_bytes / block_bytes as u64;
    if blocks == 0 {
        let message = format!("A block of the cache takes {block_bytes} bytes, more than cache_bytes.");
        return Err(EngineError::new(Reason::MemoryExceeded, message));
    }
    Ok(usize::try_from(blocks.min(u64::from(u32::MAX))).unwrap_or(usize::MAX))
}

fn buffers(model: &Model, options: &CpuOptions, blocks: usize) -> Result<Buffers, EngineError> {
    let (shape, rows) = (&model.shape, options.step_tokens_max);
    let has_floats = |weights: &Weights| weights.kind() == Kind::Floats;
    let any_floats = |choose: fn(&super::model::Layer) -> Vec<&Weights>| {
        model.layers.iter().any(|layer| choose(layer).into_iter().any(has_floats))
    };
    let normal_floats =
        any_floats(|layer| layer.projections.iter().chain([&layer.gate, &layer.up]).collect::<Vec<_>>());
    let sharing = shape.heads / shape.key_heads;
    // One vector more than the context, or the scores of all queries would compete for the same lines of the cache.
    let score_floats = shape.context.next_multiple_of(LANES) + LANES;
    let room_floats = (TILE_POSITIONS * sharing * score_floats).max(shape.width);
    Ok(Buffers {
        cache: SharedBuffer::new(model.layers.len() * blocks * 2 * shape.key_width() * options.block_tokens)?,
        residual: SharedBuffer::new(rows * shape.width)?,
        normal: Activations::new(rows, shape.width, normal_floats)?,
        queries: SharedBuffer::new(rows * shape.query_width())?,
        attended: Activations::new(rows, shape.query_width(), any_floats(|layer| vec![&layer.output]))?,
        hidden: Activations::new(rows, shape.hidden, any_floats(|layer| vec![&layer.down]))?,
        wanted: Activations::new(rows, shape.width, has_floats(model.logits()))?,
        room: SharedBuffer::new(options.threads * room_floats)?,
        room_floats,
    })
}

fn memory_bytes(model: &Model, buffers: &Buffers) -> u64 {
    let activations = [&buffers.normal, &buffers.attended, &buffers.hidden, &buffers.wanted];
    let floats = [&buffers.residual, &buffers.queries, &buffers.room];
    model.matrices().map(Weights::bytes).sum::<u64>()
        + 4 * model.turns.len() as u64
        + buffers.cache.bytes()
        + activations.iter().map(|activations| activations.bytes()).sum::<u64>()
        + floats.iter().map(|floats| floats.bytes()).sum::<u64>()
}

impl Decoder for Llama {
    fn shape(&self) -> &DecoderShape {
        &self.shape
    }

    fn step(&mut self, sequences: &[StepSequence<'_>], logits: &mut Vec<f32>) -> Result<(), EngineError> {
        self.shape.check_step(sequences)?;
        self.layout.fill(sequences);
        logits.resize(self.layout.wanted.len() * self.shape.vocabulary_size, 0.0);
        let step = Step {
            model: &self.model,
            buffers: &self.buffers,
            block_tokens: self.shape.block_tokens,
            blocks: self.shape.blocks,
            sequences,
            rows: &self.layout.rows,
            tiles: &self.layout.tiles,
            wanted: &self.layout.wanted,
            logits: logits.as_mut_ptr(),
            threads: self.team.threads(),
            run: self.run,
        };
        let panicked = |Panicked| EngineError::new(Reason::Internal, "Computing a step failed.");
        self.team.run(&step).map_err(panicked)
    }
}

impl Layout {
    fn fill(&mut self, sequences: &[StepSequence<'_>]) {
        self.rows.clear();
        self.tiles.clear();
        self.wanted.clear();
        for (sequence, part) in sequences.iter().enumerate() {
            for first in (0..part.tokens.len()).step_by(TILE_POSITIONS) {
                let rows = TILE_POSITIONS.min(part.tokens.len() - first);
                self.tiles.push(Tile { row: self.rows.len() + first, rows });
            }
            let row = |(offset, &token)| Row { token, position: part.position + offset, sequence };
            self.rows.extend(part.tokens.iter().enumerate().map(row));
            if part.wants_logits {
                self.wanted.push(self.rows.len() - 1);
            }
        }
    }
}
