//! What a manifest's settings say.

use crate::bert::EncoderOptions;
use crate::device;
use crate::fault::unready;
use crate::llama::CandleOptions;
use candle_core::Device;
use engine_core::{EngineError, ModelSource};
use std::ops::RangeInclusive;

const CACHE_BYTES: RangeInclusive<u64> = 1 << 20..=1 << 40;
const CONTEXT_LENGTH: RangeInclusive<u64> = 1..=1 << 20;
const HEADS: RangeInclusive<u64> = 1..=1 << 10;
const TOKENS: RangeInclusive<u64> = 2..=1 << 16;

/// Of a language model.
pub fn decoder_options(source: &ModelSource) -> Result<CandleOptions, EngineError> {
    let mut options = CandleOptions { device: device(source)?, ..Default::default() };
    if let Some(bytes) = number(source, "cache_bytes", CACHE_BYTES)? {
        options.cache_bytes = bytes;
    }
    options.context_length_max = number(source, "context_length_max", CONTEXT_LENGTH)?.map(|tokens| tokens as usize);
    Ok(options)
}

/// Of an encoder.
pub fn encoder_options(source: &ModelSource) -> Result<EncoderOptions, EngineError> {
    Ok(EncoderOptions {
        device: device(source)?,
        heads: number(source, "heads", HEADS)?.map(|heads| heads as usize),
        tokens_max: number(source, "tokens_max", TOKENS)?.map(|tokens| tokens as usize),
    })
}

fn device(source: &ModelSource) -> Result<Device, EngineError> {
    match source.settings.get("device") {
        None => device::choose(None),
        Some(given) => match given.as_str() {
            Some(name) => device::choose(Some(name)),
            None => Err(unready(format!("The setting device of \"{}\" is no text.", source.name))),
        },
    }
}

/// A whole number among the settings, or none where it is not given.
fn number(source: &ModelSource, name: &str, range: RangeInclusive<u64>) -> Result<Option<u64>, EngineError> {
    let Some(given) = source.settings.get(name) else { return Ok(None) };
    match given.as_u64() {
        Some(number) if range.contains(&number) => Ok(Some(number)),
        _ => {
            let (least, most) = range.into_inner();
            Err(unready(format!("The setting {name} of \"{}\" is no number from {least} to {most}.", source.name)))
        }
    }
}
