//! Calls in, embeddings out.

use crate::encoder::{Arena, Encode, ROWS_MAX, choose, unit};
use crate::weights::Weights;
use contract::v1::rerank_response::Result as Ranked;
use contract::v1::{EmbedRequest, RerankRequest, RerankResponse, TokenizeRequest, TokenizeResponse, Usage};
use engine_core::{CallContext, Capability, Embeddings, EngineError, Model, ModelDescription, Reason};
use inference::InferenceError;
use inference::backend::{INPUTS_MAX, ModelKind};
use inference::file::{Buffer, File};
use inference::tokenizer::{Encoded, Tokenizer, Workspace};
use lanes::Instructions;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// The backend's name in the description.
const BACKEND: &str = "minilm";

/// A loaded encoder.
pub struct MiniLm {
    weights: Weights,
    tokenizer: Tokenizer,
    /// The text of each token, for [`Model::tokenize`].
    pieces: Vec<String>,
    encode: Encode,
    description: ModelDescription,
    /// Working memory that no call uses now.
    idle: Mutex<Vec<Arena>>,
    idle_max: usize,
}

/// Sequences of token ids, one after the other.
#[derive(Default)]
struct Batch {
    ids: Vec<u32>,
    encoded: Vec<Encoded>,
}

impl MiniLm {
    /// Opens a `.tlm` file. Memory of as many calls as there are `threads` is kept for later ones.
    pub fn open(path: &Path, threads: usize) -> Result<Self, EngineError> {
        let bytes = std::fs::read(path).map_err(|error| unready(format!("The model file cannot be read: {error}")))?;
        Self::from_bytes(&bytes, threads, &lanes::available())
    }

    /// Makes a model of a file's bytes, computed with the last of `instructions` that this processor has.
    pub fn from_bytes(bytes: &[u8], threads: usize, instructions: &[Instructions]) -> Result<Self, EngineError> {
        let wrong = |error: InferenceError| unready(format!("The model cannot be loaded: {error}."));
        let file = File::open(Buffer::from_bytes(bytes).map_err(wrong)?).map_err(wrong)?;
        if file.kind() != ModelKind::Bert as u32 {
            return Err(unready("The model file holds another kind of model than an encoder.".to_owned()));
        }
        let weights = Weights::read(&file).map_err(wrong)?;
        let vocabulary = file.text("vocabulary").map_err(wrong)?;
        let tokenizer = Tokenizer::from_vocabulary(vocabulary).map_err(wrong)?;
        if tokenizer.vocabulary_size() != weights.vocabulary_size {
            return Err(unready("The vocabulary has another size than the model file says.".to_owned()));
        }
        let usable: Vec<Instructions> =
            lanes::available().into_iter().filter(|one| instructions.contains(one)).collect();
        let description = ModelDescription {
            backend: BACKEND,
            capabilities: vec![Capability::Embed, Capability::Rerank],
            memory_bytes: weights.bytes() + vocabulary.len() as u64,
            context_length: weights.tokens_max as u32,
            ..Default::default()
        };
        Ok(Self {
            pieces: vocabulary.lines().map(str::to_owned).collect(),
            weights,
            tokenizer,
            encode: choose(&usable),
            description,
            idle: Mutex::default(),
            idle_max: threads.max(1),
        })
    }

    /// Floats of an embedding.
    pub fn dimensions(&self) -> usize {
        self.weights.hidden
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
            let encoded = self.tokenizer.encode(text.as_ref(), self.weights.tokens_max, &mut batch.ids, &mut work);
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
            let framed = self.tokenizer.frame(sequence.as_ref(), self.weights.tokens_max, &mut batch.ids);
            batch.encoded.push(framed.map_err(|error| EngineError::invalid("tokens", format!("{error}.")))?);
        }
        Ok(batch)
    }

    /// Embeds a batch in groups of rows that fit the processor's caches; looks between them whether the call is worth it.
    fn run(&self, call: &CallContext, batch: &Batch) -> Result<Embeddings, EngineError> {
        let hidden = self.weights.hidden;
        let mut vectors = vec![0.0; batch.encoded.len() * hidden];
        let mut arena = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default();
        let mut targets = vectors.as_mut_slice();
        for group in groups(&batch.sequences()) {
            call.check(Instant::now())?;
            let (target, rest) = targets.split_at_mut(group.len() * hidden);
            // SAFETY: the path is one of this processor's; the tokenizer gives ids of its vocabulary, at most `tokens_max`
            // of them, and at least the two special ones.
            unsafe { (self.encode)(&self.weights, group, &mut arena, target) };
            targets = rest;
        }
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < self.idle_max {
            idle.push(arena);
        }
        let cut = batch.encoded.iter().enumerate().filter(|(_, encoded)| encoded.truncated);
        Ok(Embeddings {
            dimensions: hidden,
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

/// Neighbouring sequences in groups of at most [`ROWS_MAX`] rows, or of one sequence.
fn groups<'all, 'ids>(sequences: &'all [&'ids [u32]]) -> impl Iterator<Item = &'all [&'ids [u32]]> {
    let mut rest = sequences;
    std::iter::from_fn(move || {
        let mut rows = 0;
        let fits = |sequence: &&&[u32]| {
            rows += sequence.len();
            rows <= ROWS_MAX
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

fn unready(message: String) -> EngineError {
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

impl Model for MiniLm {
    fn description(&self) -> &ModelDescription {
        &self.description
    }

    fn embed(&self, call: &CallContext, request: &EmbedRequest) -> Result<Embeddings, EngineError> {
        let dimensions = request.dimensions as usize;
        if dimensions > self.weights.hidden {
            let message = format!("An embedding has {} dimensions, not {dimensions}.", self.weights.hidden);
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
        if dimensions > 0 && dimensions < self.weights.hidden {
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
        self.tokenizer.encode(&request.text, self.weights.tokens_max, &mut ids, &mut Workspace::default());
        let piece = |&id: &u32| self.pieces.get(id as usize).map_or_else(Vec::new, |piece| piece.clone().into_bytes());
        Ok(TokenizeResponse { pieces: ids.iter().map(piece).collect(), ids })
    }
}
