//! Texts of several calls, embedded as one list.

use super::BatchWork;
use crate::backend::{Embeddings, Model};
use crate::call::CallContext;
use crate::error::{EngineError, Reason};
use contract::v1::EmbedRequest;
use std::sync::Arc;

/// Embeds with a model.
pub struct EmbeddingWork(pub Arc<dyn Model>);

/// Inputs of a request.
pub fn rows(request: &EmbedRequest) -> usize {
    request.texts.len() + request.tokens.len()
}

impl BatchWork for EmbeddingWork {
    type Input = EmbedRequest;
    type Output = Embeddings;

    /// Texts go with texts, and tokens with tokens.
    fn fits(&self, left: &EmbedRequest, right: &EmbedRequest) -> bool {
        left.tokens.is_empty() == right.tokens.is_empty() && left.dimensions == right.dimensions
    }

    fn run_one(&self, call: &CallContext, request: &EmbedRequest) -> Result<Embeddings, EngineError> {
        self.0.embed(call, request)
    }

    fn run_many(
        &self,
        batch: &CallContext,
        calls: &[(&CallContext, &EmbedRequest)],
    ) -> Result<Vec<Embeddings>, EngineError> {
        let first = calls.first().map(|(_, request)| *request).cloned().unwrap_or_default();
        let mut all = EmbedRequest { texts: Vec::new(), tokens: Vec::new(), ..first };
        for (_, request) in calls {
            all.texts.extend_from_slice(&request.texts);
            all.tokens.extend_from_slice(&request.tokens);
        }
        let counts: Vec<usize> = calls.iter().map(|(_, request)| rows(request)).collect();
        split(&self.0.embed(batch, &all)?, &counts)
    }
}

/// The embeddings of each call, of which it brought so many inputs.
fn split(all: &Embeddings, counts: &[usize]) -> Result<Vec<Embeddings>, EngineError> {
    let total: usize = counts.iter().sum();
    if all.token_counts.len() != total || all.vectors.len() != total * all.dimensions {
        return Err(EngineError::new(Reason::Internal, "The model left out inputs."));
    }
    let mut start = 0;
    let part = |&count: &usize| {
        let rows = start..start + count;
        start += count;
        let truncated = all.truncated_inputs.iter().filter(|index| rows.contains(&(**index as usize)));
        Embeddings {
            dimensions: all.dimensions,
            vectors: all.vectors[rows.start * all.dimensions..rows.end * all.dimensions].to_vec(),
            token_counts: all.token_counts[rows.clone()].to_vec(),
            truncated_inputs: truncated.map(|index| index - rows.start as u32).collect(),
        }
    };
    Ok(counts.iter().map(part).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_call_gets_its_own_rows_and_its_own_indices() {
        let all = Embeddings {
            dimensions: 2,
            vectors: vec![0.0, 0.1, 1.0, 1.1, 2.0, 2.1],
            token_counts: vec![5, 6, 7],
            truncated_inputs: vec![0, 2],
        };
        let parts = split(&all, &[1, 2]).expect("whole");
        assert_eq!((&parts[0].vectors[..], &parts[0].truncated_inputs[..]), (&[0.0, 0.1][..], &[0][..]));
        assert_eq!((&parts[1].vectors[..], &parts[1].truncated_inputs[..]), (&[1.0, 1.1, 2.0, 2.1][..], &[1][..]));
        assert_eq!(parts[1].token_counts, [6, 7]);
        assert!(split(&all, &[1, 1]).is_err());
    }
}
