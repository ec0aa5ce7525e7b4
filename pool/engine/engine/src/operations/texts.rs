//! Texts: EMBED and TOKENIZE.

use super::{decode, find};
use crate::{Engine, IncomingCall, OutgoingReply};
use contract::v1::{EmbedRequest, EmbedResponse, TokenizeRequest};
use engine_core::guard::guarded;
use engine_core::repository::Lease;
use engine_core::{CallContext, Embeddings, EngineError, Reason, Tensor};

/// Texts, or lists of tokens, of one call, at most: OpenAI's limit.
pub const INPUTS_MAX: usize = 2048;

/// Embeds texts or tokens.
pub fn embed(engine: &Engine, context: &CallContext, call: &IncomingCall<'_>) -> Result<OutgoingReply, EngineError> {
    let request: EmbedRequest = decode(call.header)?;
    check(&request)?;
    let lease = find(engine, context, &request.model, &request.version)?;
    let embeddings = shorten(embeddings(&lease, context, &request)?, request.dimensions as usize)?;
    let rows = embeddings.token_counts.len();
    let shape = vec![rows as i64, embeddings.dimensions as i64];
    let vectors = Tensor::fill_f32(context, "vectors", shape, embeddings.vectors.len(), |values| {
        values.copy_from_slice(&embeddings.vectors);
    });
    let response = EmbedResponse {
        model: request.model,
        version: lease.loaded().version.to_string(),
        dimensions: embeddings.dimensions as u32,
        token_counts: embeddings.token_counts,
        truncated_inputs: embeddings.truncated_inputs,
        ..EmbedResponse::default()
    };
    Ok(OutgoingReply::answer(&response, vec![vectors]))
}

/// Cuts a text into tokens.
pub fn tokenize(engine: &Engine, context: &CallContext, call: &IncomingCall<'_>) -> Result<OutgoingReply, EngineError> {
    let request: TokenizeRequest = decode(call.header)?;
    let lease = find(engine, context, &request.model, &request.version)?;
    let response = guarded(|| lease.model().tokenize(&request))?;
    Ok(OutgoingReply::answer(&response, Vec::new()))
}

fn check(request: &EmbedRequest) -> Result<(), EngineError> {
    match (request.texts.len(), request.tokens.len()) {
        (0, 0) => Err(EngineError::invalid("texts", "There is nothing to embed.")),
        (1.., 1..) => Err(EngineError::invalid("tokens", "A call embeds texts or tokens, not both.")),
        (texts, tokens) if texts + tokens > INPUTS_MAX => {
            let message = format!("A call embeds at most {INPUTS_MAX} inputs, not {}.", texts + tokens);
            Err(EngineError::invalid(if texts > 0 { "texts" } else { "tokens" }, message))
        }
        _ => Ok(()),
    }
}

/// The embeddings at the model's own length, one row an input.
pub fn embeddings(lease: &Lease, context: &CallContext, request: &EmbedRequest) -> Result<Embeddings, EngineError> {
    let inputs = request.texts.len().max(request.tokens.len());
    let embeddings = lease.embed(context, request)?;
    let whole = embeddings.vectors.len() == inputs * embeddings.dimensions && embeddings.token_counts.len() == inputs;
    if whole { Ok(embeddings) } else { Err(EngineError::new(Reason::Internal, "The model left out inputs.")) }
}

/// Cuts each row to its first `wanted` floats and scales it to length 1 again; 0: leaves it. This is what embeddings trained
/// for it (Kusupati et al. 2022) are cut by; a model that has cut already is left alone.
fn shorten(mut embeddings: Embeddings, wanted: usize) -> Result<Embeddings, EngineError> {
    let own = embeddings.dimensions;
    if wanted == 0 || wanted == own {
        return Ok(embeddings);
    }
    if wanted > own {
        let message = format!("The model's embeddings have {own} dimensions, not {wanted}.");
        return Err(EngineError::invalid("dimensions", message));
    }
    let mut vectors = Vec::with_capacity(embeddings.vectors.len() / own * wanted);
    for row in embeddings.vectors.chunks_exact(own) {
        let front = &row[..wanted];
        let length = front.iter().map(|value| f64::from(*value) * f64::from(*value)).sum::<f64>().sqrt();
        let scale = if length > 0.0 { 1.0 / length } else { 0.0 };
        vectors.extend(front.iter().map(|value| (f64::from(*value) * scale) as f32));
    }
    embeddings.vectors = vectors;
    embeddings.dimensions = wanted;
    Ok(embeddings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shortened_row_has_length_one_and_its_direction() {
        let embeddings = Embeddings {
            dimensions: 3,
            vectors: vec![3.0, 4.0, 12.0, 0.0, 0.0, 1.0],
            token_counts: vec![1, 1],
            truncated_inputs: Vec::new(),
        };
        let short = shorten(embeddings.clone(), 2).expect("shorter");
        assert_eq!((short.dimensions, short.vectors), (2, vec![0.6, 0.8, 0.0, 0.0]));
        let error = shorten(embeddings.clone(), 4).expect_err("longer");
        assert_eq!(error.parameter.as_deref(), Some("dimensions"));
        assert_eq!(shorten(embeddings.clone(), 0).expect("its own").vectors, embeddings.vectors);
    }
}
