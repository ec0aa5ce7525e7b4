//! Models that make unit vectors of texts, whoever computes the vectors: checking a call, cutting it into tokens and groups
//! of rows, shortening vectors, and ranking documents by the cosine to their query.

use contract::v1::rerank_response::Result as Ranked;
use contract::v1::{EmbedRequest, RerankRequest, RerankResponse, TokenizeRequest, TokenizeResponse, Usage};
use engine_core::{CallContext, Capability, Embeddings, EngineError, Model, ModelDescription, Reason};
use inference::InferenceError;
use inference::backend::INPUTS_MAX;
use inference::tokenizer::{Encoded, Tokenizer, Workspace};
use std::time::Instant;

/// Computes the vectors of sequences of tokens. Calls come from many threads at once.
pub trait Encoder: Send + Sync {
    /// Writes one vector of length 1 for each of `sequences` into its row of `vectors`. A sequence has from 2 to
    /// [`Lengths::tokens_max`] tokens, all below [`Lengths::vocabulary_size`].
    fn encode(&self, sequences: &[&[u32]], vectors: &mut [f32]) -> Result<(), EngineError>;
}

/// Lengths of an encoder's parts.
#[derive(Debug, Clone, Copy)]
pub struct Lengths {
    /// Floats of a vector.
    pub dimensions: usize,
    /// Tokens of a text, special ones included; longer texts are cut.
    pub tokens_max: usize,
    /// Ids of tokens are below this.
    pub vocabulary_size: usize,
    /// Tokens of all sequences that the encoder is given at once, unless one alone has more.
    pub rows_max: usize,
    /// Bytes that it holds.
    pub memory_bytes: u64,
}

/// An encoder with its tokenizer.
pub struct SentenceModel<E> {
    encoder: E,
    lengths: Lengths,
    tokenizer: Tokenizer,
    /// The text of each token, for [`Model::tokenize`].
    pieces: Vec<String>,
    description: ModelDescription,
}

/// Sequences of token ids, one after the other.
#[derive(Default)]
struct Batch {
    ids: Vec<u32>,
    encoded: Vec<Encoded>,
}

impl<E: Encoder> SentenceModel<E> {
    /// Puts an encoder and its `vocabulary`, one token a line, together. `backend` is the name of the backend in manifests.
    ///
    /// # Errors
    /// `ModelNotReady` where the vocabulary cannot be read, or is of another size than the encoder's.
    pub fn new(backend: &'static str, encoder: E, lengths: Lengths, vocabulary: &str) -> Result<Self, EngineError> {
        let wrong = |error: InferenceError| unready(format!("The vocabulary cannot be read: {error}."));
        let tokenizer = Tokenizer::from_vocabulary(vocabulary).map_err(wrong)?;
        if tokenizer.vocabulary_size() != lengths.vocabulary_size {
            return Err(unready("The vocabulary has another size than the model file says.".to_owned()));
        }
        let description = ModelDescription {
            backend,
            capabilities: vec![Capability::Embed, Capability::Rerank],
            memory_bytes: lengths.memory_bytes + vocabulary.len() as u64,
            context_length: lengths.tokens_max as u32,
            ..Default::default()
        };
        Ok(Self { encoder, lengths, tokenizer, pieces: vocabulary.lines().map(str::to_owned).collect(), description })
    }

    /// Floats of an embedding.
    pub fn dimensions(&self) -> usize {
        self.lengths.dimensions
    }

    /// Embeds texts, of which none is empty and there is at least one.
    pub fn embed_texts<Text: AsRef<str>>(&self, texts: &[Text]) -> Result<Embeddings, EngineError> {
        self.run(&CallContext::default(), &self.batch_of_texts(texts)?)
    }

    /// Embeds sequences of token ids; the special ones at begin and end are added where they are missing.
    pub fn embed_tokens<Ids: AsRef<[u32]>>(&self, sequences: &[Ids]) -> Result<Embeddings, EngineError> {
        self.run(&CallContext::default(), &self.batch_of_tokens(sequences)?)
    }

    fn batch_of_texts<Text: AsRef<str>>(&self, texts: &[Text]) -> Result<Batch, EngineError> {
        check_count("texts", texts.len())?;
        let (mut batch, mut work) = (Batch::default(), Workspace::default());
        for text in texts {
            if text.as_ref().is_empty() {
                return Err(EngineError::invalid("texts", "A text is empty."));
            }
            let encoded = self.tokenizer.encode(text.as_ref(), self.lengths.tokens_max, &mut batch.ids, &mut work);
            batch.encoded.push(encoded);
        }
        Ok(batch)
    }

    fn batch_of_tokens<Ids: AsRef<[u32]>>(&self, sequences: &[Ids]) -> Result<Batch, EngineError> {
        check_count("tokens", sequences.len())?;
        let mut batch = Batch::default();
        for sequence in sequences {
            if sequence.as_ref().is_empty() {
                return Err(EngineError::invalid("tokens", "A sequence of tokens is empty."));
            }
            let framed = self.tokenizer.frame(sequence.as_ref(), self.lengths.tokens_max, &mut batch.ids);
            batch.encoded.push(framed.map_err(|error| EngineError::invalid("tokens", format!("{error}.")))?);
        }
        Ok(batch)
    }

    /// Embeds a batch in groups of rows that fit the processor's caches; looks between them whether the call is worth it.
    fn run(&self, call: &CallContext, batch: &Batch) -> Result<Embeddings, EngineError> {
        let dimensions = self.lengths.dimensions;
        let mut vectors = vec![0.0; batch.encoded.len() * dimensions];
        let mut targets = vectors.as_mut_slice();
        for group in groups(&batch.sequences(), self.lengths.rows_max) {
            call.check(Instant::now())?;
            let (target, rest) = targets.split_at_mut(group.len() * dimensions);
            self.encoder.encode(group, target)?;
            targets = rest;
        }
        let cut = batch.encoded.iter().enumerate().filter(|(_, encoded)| encoded.truncated);
        Ok(Embeddings {
            dimensions,
            vectors,
            token_counts: batch.encoded.iter().map(|encoded| encoded.tokens as u32).collect(),
            truncated_inputs: cut.map(|(index, _)| index as u32).collect(),
        })
    }
}

impl Batch {
    fn sequences(&self) -> Vec<&[u32]> {
        let mut rest = self.ids.as_slice();
        let mut next = |encoded: &Encoded| {
            let (sequence, after) = rest.split_at(encoded.tokens);
            rest = after;
            sequence
        };
        self.encoded.iter().map(&mut next).collect()
    }
}

/// Neighbouring sequences in groups of at most `rows_max` rows, or of one sequence.
fn groups<'all, 'ids>(sequences: &'all [&'ids [u32]], rows_max: usize) -> impl Iterator<Item = &'all [&'ids [u32]]> {
    let mut rest = sequences;
    std::iter::from_fn(move || {
        let mut rows = 0;
        let fits = |sequence: &&&[u32]| {
            rows += sequence.len();
            rows <= rows_max
        };
        let count = rest.iter().take_while(fits).count().max(1);
        let (group, after) = rest.split_at_checked(count)?;
        rest = after;
        Some(group)
    })
}

fn check_count(parameter: &str, inputs: usize) -> Result<(), EngineError> {
    match inputs {
        0 => Err(EngineError::invalid(parameter, "There is nothing to embed.")),
        1..=INPUTS_MAX => Ok(()),
        _ => Err(EngineError::invalid(parameter, format!("{inputs} inputs are more than the {INPUTS_MAX} of a call."))),
    }
}

pub(crate) fn unready(message: String) -> EngineError {
    EngineError::new(Reason::ModelNotReady, message)
}

/// Cuts each vector to its first `dimensions`, and brings it to length 1 again.
fn shorten(embeddings: &mut Embeddings, dimensions: usize) {
    let whole = embeddings.dimensions;
    let mut vectors = Vec::with_capacity(embeddings.vectors.len() / whole * dimensions);
    for vector in embeddings.vectors.chunks_exact(whole) {
        let start = vectors.len();
        vectors.extend_from_slice(&vector[..dimensions]);
        unit(&mut vectors[start..]);
    }
    (embeddings.vectors, embeddings.dimensions) = (vectors, dimensions);
}

/// Brings a vector to length 1. A vector of zeros stays as it is.
pub fn unit(vector: &mut [f32]) {
    let squares: f32 = vector.iter().map(|value| value * value).sum();
    if squares > 0.0 {
        let inverse = 1.0 / squares.sqrt();
        vector.iter_mut().for_each(|value| *value *= inverse);
    }
}

impl<E: Encoder> Model for SentenceModel<E> {
    fn description(&self) -> &ModelDescription {
        &self.description
    }

    fn embed(&self, call: &CallContext, request: &EmbedRequest) -> Result<Embeddings, EngineError> {
        let dimensions = request.dimensions as usize;
        if dimensions > self.lengths.dimensions {
            let message = format!("An embedding has {} dimensions, not {dimensions}.", self.lengths.dimensions);
            return Err(EngineError::invalid("dimensions", message));
        }
        let batch = match (request.texts.is_empty(), request.tokens.is_empty()) {
            (false, false) => return Err(EngineError::invalid("tokens", "Give either texts or tokens.")),
            (false, true) => self.batch_of_texts(&request.texts)?,
            (true, _) => {
                let sequences: Vec<&[u32]> = request.tokens.iter().map(|tokens| tokens.ids.as_slice()).collect();
                self.batch_of_tokens(&sequences)?
            }
        };
        let mut embeddings = self.run(call, &batch)?;
        if dimensions > 0 && dimensions < self.lengths.dimensions {
            shorten(&mut embeddings, dimensions);
        }
        Ok(embeddings)
    }

    fn rerank(&self, call: &CallContext, request: &RerankRequest) -> Result<RerankResponse, EngineError> {
        if request.query.is_empty() {
            return Err(EngineError::invalid("query", "The query is empty."));
        }
        if request.documents.is_empty() || request.documents.iter().any(String::is_empty) {
            return Err(EngineError::invalid("documents", "There is no document, or an empty one."));
        }
        let query = std::iter::once(&request.query);
        let texts: Vec<&String> = query.chain(&request.documents).collect();
        let embeddings = self.run(call, &self.batch_of_texts(&texts)?)?;
        let (query, documents) = embeddings.vectors.split_at(embeddings.dimensions);
        let score = |document: &[f32]| -> f64 {
            query.iter().zip(document).map(|(left, right)| f64::from(*left) * f64::from(*right)).sum()
        };
        let scores = documents.chunks_exact(embeddings.dimensions).map(score).enumerate();
        let mut results: Vec<Ranked> = scores
            .map(|(index, score)| Ranked { index: index as u32, relevance_score: score.clamp(-1.0, 1.0) })
            .collect();
        // Stable: of documents that answer equally well, the first given stays first.
        results.sort_by(|left, right| right.relevance_score.total_cmp(&left.relevance_score));
        if request.top_n > 0 {
            results.truncate(request.top_n as usize);
        }
        let prompt_tokens = embeddings.token_counts.iter().sum();
        Ok(RerankResponse {
            model: request.model.clone(),
            version: request.version.clone(),
            results,
            usage: Some(Usage { prompt_tokens, ..Default::default() }),
        })
    }

    fn tokenize(&self, request: &TokenizeRequest) -> Result<TokenizeResponse, EngineError> {
        let mut ids = Vec::new();
        self.tokenizer.encode(&request.text, self.lengths.tokens_max, &mut ids, &mut Workspace::default());
        let piece = |&id: &u32| self.pieces.get(id as usize).map_or_else(Vec::new, |piece| piece.clone().into_bytes());
        Ok(TokenizeResponse { pieces: ids.iter().map(piece).collect(), ids })
    }
}
