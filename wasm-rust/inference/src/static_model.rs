//! One vector a token, averaged: an embedding in microseconds.
//!
//! The file's sections, with V tokens and D dimensions:
//!
//! | section | type | holds |
//! |---|---|---|
//! | `vocabulary` | text | V lines |
//! | `vectors` | u8 V·D/4 | token vectors, with the token's weight already in them, two bits a value |
//! | `scales` | f32 V | one step a token |
//!
//! A value is one of -1½, -½, ½, 1½ steps, stored as 0 to 3. Byte i of a vector holds values i, i + D/4, i + D/2 and
//! i + 3D/4, from its low bits up.

use crate::backend::{Backend, Batch, ModelInfo, ModelKind};
use crate::error::InferenceError;
use crate::file::{File, Section};
use crate::kernels::normalise::unit;
use crate::tokenizer::{Encoded, Tokenizer, Workspace};

/// Bounds of a shape that is believed.
const DIMENSIONS_MAX: usize = 1024;
const VOCABULARY_MAX: usize = 1 << 18;
/// Tokens of a text that are averaged; the rest is left out.
const TOKENS_MAX: usize = 512;
/// What a stored value is above what it stands for, in steps.
const SHIFT: f32 = 1.5;
/// The greatest stored value.
const LEVEL_MAX: f32 = 3.0;
/// Values a byte.
const PARTS: usize = 4;
/// Scales that are tried for a vector.
const SCALES: usize = 40;

/// The scale under which `row` in two bits has the least squared error, and the bytes.
pub(crate) fn pack_row(row: &[f32]) -> (f32, Vec<u8>) {
    let greatest = row.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
    if greatest == 0.0 {
        return (0.0, vec![0; row.len() / PARTS]);
    }
    let mut best = (f64::MAX, greatest);
    for part in 1..=SCALES {
        let scale = greatest * part as f32 / SCALES as f32;
        let error = row.iter().fold(0.0, |sum, &value| {
            let off = f64::from(value - (level(value, scale) - SHIFT) * scale);
            sum + off * off
        });
        if error < best.0 {
            best = (error, scale);
        }
    }
    let quarter = row.len() / PARTS;
    let byte = |i| (0..PARTS).fold(0, |byte, part| byte | (level(row[i + part * quarter], best.1) as u8) << (2 * part));
    (best.1, (0..quarter).map(byte).collect())
}

fn level(value: f32, scale: f32) -> f32 {
    (value / scale + SHIFT).round_ties_even().clamp(0.0, LEVEL_MAX)
}

/// A loaded table of token vectors.
pub struct StaticModel {
    file: File,
    vectors: Section,
    scales: Section,
    tokenizer: Tokenizer,
    info: ModelInfo,
}

impl StaticModel {
    /// Makes a checked file into a model.
    pub fn open(file: File) -> Result<Self, InferenceError> {
        let dimensions = file.number("dimensions", DIMENSIONS_MAX)?;
        let vocabulary_size = file.number("vocabulary", VOCABULARY_MAX)?;
        if !dimensions.is_multiple_of(PARTS) {
            return Err(InferenceError::ModelUnsupported("dimensions that are no multiple of four"));
        }
        let tokenizer = Tokenizer::from_vocabulary(file.text("vocabulary")?)?;
        if tokenizer.vocabulary_size() != vocabulary_size {
            return Err(InferenceError::ModelCorrupt("the vocabulary has another size than the metadata says"));
        }
        let vectors = file.section("vectors", vocabulary_size * dimensions / PARTS, 1)?;
        let scales = file.section("scales", vocabulary_size, 4)?;
        let name = file.metadata("name")?.to_owned();
        let info = ModelInfo { name, kind: ModelKind::Static, dimensions, tokens_max: TOKENS_MAX, vocabulary_size };
        Ok(Self { file, vectors, scales, tokenizer, info })
    }

    /// Adds up the vectors of `ids`; a text without a token that counts is "unknown".
    fn average(&self, ids: &[u32], out: &mut [f32]) {
        let scales = self.file.f32s(self.scales);
        let unknown = [self.tokenizer.unknown()];
        let counts = ids.iter().any(|&id| scales[id as usize] != 0.0);
        out.fill(0.0);
        for &id in if counts { ids } else { &unknown } {
            self.add(id, scales[id as usize], out);
        }
        unit(out);
    }

    fn add(&self, id: u32, scale: f32, out: &mut [f32]) {
        let quarter = out.len() / PARTS;
        let vector = &self.file.u8s(self.vectors)[id as usize * quarter..][..quarter];
        for (part, values) in out.chunks_exact_mut(quarter).enumerate() {
            for (value, &byte) in values.iter_mut().zip(vector) {
                *value += (f32::from(byte >> (2 * part) & 3) - SHIFT) * scale;
            }
        }
    }
}

impl Backend for StaticModel {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    fn encode(&self, text: &str, ids: &mut Vec<u32>, work: &mut Workspace) -> Encoded {
        self.tokenizer.encode_plain(text, TOKENS_MAX, ids, work)
    }

    fn frame(&self, tokens: &[u32], ids: &mut Vec<u32>) -> Result<Encoded, InferenceError> {
        let framed = self.tokenizer.frame(tokens, TOKENS_MAX + 2, ids)?;
        // A frame has an opening and a closing token, which this model does without.
        ids.pop();
        ids.remove(ids.len() + 1 - framed.tokens);
        Ok(Encoded { tokens: framed.tokens - 2, truncated: framed.truncated })
    }

    fn embed(&mut self, batch: &Batch, out: &mut [f32]) {
        for (ids, out) in batch.sequences().zip(out.chunks_exact_mut(self.info.dimensions)) {
            self.average(ids, out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::{Buffer, Writer};

    /// Six tokens in four dimensions; the last two are words.
    fn model() -> StaticModel {
        let vocabulary = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nhot\ncold\n";
        let rows = [[0.0; 4], [1.0, 1.0, 1.0, 1.0], [0.0; 4], [0.0; 4], [0.0; 4], [1.5, -0.5, 0.5, -1.5], [0.5; 4]];
        let (scales, vectors): (Vec<f32>, Vec<Vec<u8>>) = rows.iter().map(|row| pack_row(row)).unzip();
        let mut writer = Writer::new(ModelKind::Static as u32);
        for (key, value) in [("name", "tiny"), ("dimensions", "4"), ("vocabulary", "7")] {
            writer.metadata(key, value);
        }
        writer.u8s("vectors", vectors.concat());
        writer.f32s("scales", &scales);
        writer.u8s("vocabulary", vocabulary.as_bytes().to_vec());
        let buffer = Buffer::from_bytes(&writer.finish()).expect("small");
        StaticModel::open(File::open(buffer).expect("a good file")).expect("a good model")
    }

    #[test]
    fn an_embedding_is_the_direction_of_the_sum_of_its_tokens() {
        let mut out = [0.0; 4];
        model().average(&[5, 6], &mut out);
        let mut expected = [2.0, 0.0, 1.0, -1.0];
        unit(&mut expected);
        for (got, expected) in out.iter().zip(expected) {
            assert!((got - expected).abs() < 1e-6, "{out:?}");
        }
    }

    #[test]
    fn a_text_without_a_token_that_counts_is_unknown() {
        for ids in [&[][..], &[0], &[2, 3]] {
            let mut out = [0.0; 4];
            model().average(ids, &mut out);
            assert_eq!(out, [0.5; 4]);
        }
    }

    #[test]
    fn a_callers_frame_is_taken_off() {
        let mut ids = vec![9];
        let encoded = model().frame(&[2, 5, 6, 3], &mut ids).expect("in the vocabulary");
        assert_eq!((ids, encoded), (vec![9, 5, 6], Encoded { tokens: 2, truncated: false }));
    }
}
