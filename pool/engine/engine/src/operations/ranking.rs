//! RERANK: by the model's own judgement, or by cosine where it only embeds.

use super::texts::{INPUTS_MAX, embeddings};
use super::{decode, find};
use crate::{Engine, IncomingCall, OutgoingReply};
use contract::v1::rerank_response::Result as Ranked;
use contract::v1::{EmbedRequest, RerankRequest, RerankResponse, Usage};
use engine_core::guard::guarded;
use engine_core::repository::Lease;
use engine_core::{CallContext, Capability, EngineError};

/// Documents of one call, at most.
pub const DOCUMENTS_MAX: usize = INPUTS_MAX - 1;

/// Orders documents.
pub fn rerank(engine: &Engine, context: &CallContext, call: &IncomingCall<'_>) -> Result<OutgoingReply, EngineError> {
    let request: RerankRequest = decode(call.header)?;
    if request.query.is_empty() {
        return Err(EngineError::invalid("query", "The query is empty."));
    }
    if request.documents.is_empty() || request.documents.len() > DOCUMENTS_MAX {
        let message = format!("A call ranks 1 to {DOCUMENTS_MAX} documents, not {}.", request.documents.len());
        return Err(EngineError::invalid("documents", message));
    }
    let lease = find(engine, context, &request.model, &request.version)?;
    let capabilities = &lease.loaded().description().capabilities;
    let mut response = if !capabilities.contains(&Capability::Rerank) && capabilities.contains(&Capability::Embed) {
        by_cosine(&lease, context, &request)?
    } else {
        guarded(|| lease.model().rerank(context, &request))?
    };
    order(&mut response.results, request.top_n as usize);
    response.model = request.model;
    response.version = lease.loaded().version.to_string();
    Ok(OutgoingReply::answer(&response, Vec::new()))
}

/// Best first, and equal ones in the order that they came in.
fn order(results: &mut Vec<Ranked>, top_n: usize) {
    results.sort_by(|left, right| {
        right.relevance_score.total_cmp(&left.relevance_score).then(left.index.cmp(&right.index))
    });
    if top_n > 0 {
        results.truncate(top_n);
    }
}

fn by_cosine(lease: &Lease, context: &CallContext, request: &RerankRequest) -> Result<RerankResponse, EngineError> {
    let texts = std::iter::once(&request.query).chain(&request.documents).cloned().collect();
    let embed = EmbedRequest { model: request.model.clone(), texts, ..EmbedRequest::default() };
    let embeddings = embeddings(lease, context, &embed)?;
    let mut rows = embeddings.vectors.chunks_exact(embeddings.dimensions.max(1));
    let query = rows.next().unwrap_or_default();
    let score = |(index, row): (usize, &[f32])| Ranked { index: index as u32, relevance_score: cosine(query, row) };
    let prompt_tokens = embeddings.token_counts.iter().sum();
    Ok(RerankResponse {
        results: rows.enumerate().map(score).collect(),
        usage: Some(Usage { prompt_tokens, ..Usage::default() }),
        ..RerankResponse::default()
    })
}

/// Of unit vectors; rounding does not leave the range.
fn cosine(left: &[f32], right: &[f32]) -> f64 {
    let product: f64 = left.iter().zip(right).map(|(left, right)| f64::from(*left) * f64::from(*right)).sum();
    product.clamp(-1.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_come_first_and_equal_ones_as_they_came() {
        let mut results: Vec<_> = [0.1, 0.7, 0.7, -0.2]
            .iter()
            .zip(0..)
            .map(|(score, index)| Ranked { index, relevance_score: *score })
            .collect();
        order(&mut results, 3);
        assert_eq!(results.iter().map(|result| result.index).collect::<Vec<_>>(), [1, 2, 0]);
    }
}
