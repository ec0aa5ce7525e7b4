//! The `inference` crate for JavaScript: this file only converts.
//!
//! Every failure is a JavaScript `Error` whose `code` is one of [`InferenceError`]'s codes. Nothing here traps on bad
//! input.

use inference::backend::{Embedder, open};
use inference::file::{Buffer, File};
use inference::{InferenceError, ModelKind, similarity};
use js_sys::{Error, Reflect, Uint8Array};
use wasm_bindgen::prelude::*;

/// Takes a model file's bytes as they arrive.
#[wasm_bindgen]
pub struct ModelLoader {
    buffer: Buffer,
}

#[wasm_bindgen]
impl ModelLoader {
    /// Takes memory for a file of `byteLength` bytes. Throws `model_too_large` above 64 MiB.
    #[wasm_bindgen(constructor)]
    pub fn new(#[wasm_bindgen(js_name = byteLength)] byte_length: u32) -> Result<ModelLoader, JsValue> {
        Ok(Self { buffer: Buffer::new(byte_length as usize).map_err(thrown)? })
    }

    /// Copies the next bytes in. Throws `model_too_large` when they are more than announced.
    pub fn write(&mut self, chunk: &Uint8Array) -> Result<(), JsValue> {
        self.buffer.write(chunk.length() as usize, |place| chunk.copy_to_uninit(place)).map_err(thrown)
    }

    /// Where the bytes are in the module's memory, so that they can be hashed without a copy.
    #[wasm_bindgen(getter)]
    pub fn pointer(&self) -> u32 {
        self.buffer.bytes().as_ptr() as usize as u32
    }

    /// Bytes announced.
    #[wasm_bindgen(getter, js_name = byteLength)]
    pub fn byte_length(&self) -> u32 {
        self.buffer.length() as u32
    }

    /// Bytes written so far.
    #[wasm_bindgen(getter)]
    pub fn written(&self) -> u32 {
        self.buffer.written() as u32
    }

    /// Checks the file and makes it a model. The loader is used up, whether this succeeds or throws.
    pub fn finish(self) -> Result<EmbeddingModel, JsValue> {
        let model = File::open(self.buffer).and_then(open).map_err(thrown)?;
        Ok(EmbeddingModel { embedder: Embedder::new(model) })
    }
}

/// A loaded model.
#[wasm_bindgen]
pub struct EmbeddingModel {
    embedder: Embedder,
}

#[wasm_bindgen]
impl EmbeddingModel {
    /// What the model is.
    #[wasm_bindgen(getter)]
    pub fn info(&self) -> ModelInfo {
        ModelInfo { inner: self.embedder.info().clone() }
    }

    /// Embeds texts, each of which must be non-empty. Longer ones than the model's length are cut, and say so.
    pub fn embed(&mut self, texts: Vec<String>) -> Result<Embeddings, JsValue> {
        let inner = self.embedder.embed(&texts).map_err(thrown)?;
        Ok(Embeddings { inner })
    }

    /// Embeds token ids: `lengths` cuts `ids` into sequences. `[CLS]` and `[SEP]` are added where they are missing.
    #[wasm_bindgen(js_name = embedTokens)]
    pub fn embed_tokens(&mut self, ids: &[u32], lengths: &[u32]) -> Result<Embeddings, JsValue> {
        let inner = self.embedder.embed_tokens(ids, lengths).map_err(thrown)?;
        Ok(Embeddings { inner })
    }

    /// The ids that `embed` uses for a text, after truncation.
    pub fn tokenize(&mut self, text: &str) -> Vec<u32> {
        self.embedder.tokenize(text).to_vec()
    }

    /// How many tokens `embed` uses for a text, after truncation.
    #[wasm_bindgen(js_name = countTokens)]
    pub fn count_tokens(&mut self, text: &str) -> u32 {
        self.embedder.tokenize(text).len() as u32
    }
}

/// What a model is.
#[wasm_bindgen]
pub struct ModelInfo {
    inner: inference::ModelInfo,
}

#[wasm_bindgen]
impl ModelInfo {
    /// Its name.
    #[wasm_bindgen(getter)]
    pub fn name(&self) -> String {
        self.inner.name.clone()
    }

    /// `bert` or `static`.
    #[wasm_bindgen(getter)]
    pub fn kind(&self) -> String {
        let kind = match self.inner.kind {
            ModelKind::Bert => "bert",
            ModelKind::Static => "static",
        };
        kind.to_owned()
    }

    /// Floats an embedding.
    #[wasm_bindgen(getter)]
    pub fn dimensions(&self) -> u32 {
        self.inner.dimensions as u32
    }

    /// Tokens a text may have, special ones included.
    #[wasm_bindgen(getter, js_name = tokensMax)]
    pub fn tokens_max(&self) -> u32 {
        self.inner.tokens_max as u32
    }

    /// Token ids are below this.
    #[wasm_bindgen(getter, js_name = vocabularySize)]
    pub fn vocabulary_size(&self) -> u32 {
        self.inner.vocabulary_size as u32
    }
}

/// Embeddings of one call. Every read copies, so read once and then `free()`.
#[wasm_bindgen]
pub struct Embeddings {
    inner: inference::backend::Embeddings,
}

#[wasm_bindgen]
impl Embeddings {
    /// The embeddings, one row after the other, each of length 1.
    #[wasm_bindgen(getter)]
    pub fn vectors(&self) -> Vec<f32> {
        self.inner.vectors.clone()
    }

    /// Each input's tokens, special ones included, after truncation.
    #[wasm_bindgen(getter, js_name = tokenCounts)]
    pub fn token_counts(&self) -> Vec<u32> {
        self.inner.token_counts.clone()
    }

    /// 1 where an input was cut, else 0.
    #[wasm_bindgen(getter)]
    pub fn truncated(&self) -> Vec<u8> {
        self.inner.truncated.clone()
    }
}

/// The cosine of the angle between two vectors, in -1..=1. Throws `length_mismatch`.
#[wasm_bindgen(js_name = cosineSimilarity)]
pub fn cosine_similarity(left: &[f32], right: &[f32]) -> Result<f32, JsValue> {
    similarity::cosine(left, right).map_err(thrown)
}

fn thrown(error: InferenceError) -> JsValue {
    let thrown = Error::new(&error.to_string());
    // Setting a property of a fresh, unfrozen object does not fail.
    let _ = Reflect::set(&thrown, &"code".into(), &error.code().into());
    thrown.into()
}
