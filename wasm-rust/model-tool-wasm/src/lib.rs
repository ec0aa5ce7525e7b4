//! The tools that make model files, for JavaScript: this file only converts.

use inference::InferenceError;
use inference::backend::{Embedder, open};
use inference::distil::{Distillation, distil};
use inference::file::{Buffer, File};
use inference::quantise::{Shape, quantise_bert};
use js_sys::{Error, Function, Reflect};
use wasm_bindgen::prelude::*;

/// Quantises all-MiniLM-L6-v2: the bytes of `model.safetensors` and the text of `tokenizer.json` in, the model file out.
/// `progress` is called with the share that is done, from 0 to 1.
#[wasm_bindgen(js_name = quantiseMiniLm)]
pub fn quantise_minilm(
    name: &str,
    safetensors: &[u8],
    #[wasm_bindgen(js_name = tokenizerJson)] tokenizer_json: &str,
    progress: Option<Function>,
) -> Result<Vec<u8>, JsValue> {
    quantise_bert(name, Shape::MINILM, safetensors, tokenizer_json, &mut teller(progress)).map_err(thrown)
}

/// Passes progress on. An exception in the listener is its own affair.
fn teller(progress: Option<Function>) -> impl FnMut(f64) {
    move |share| {
        if let Some(progress) = &progress {
            let _ = progress.call1(&JsValue::NULL, &share.into());
        }
    }
}

fn thrown(error: InferenceError) -> JsValue {
    let thrown = Error::new(&error.to_string());
    // Setting a property of a fresh, unfrozen object does not fail.
    let _ = Reflect::set(&thrown, &"code".into(), &error.code().into());
    thrown.into()
}

/// Distils the static model from the encoder's model file (as [`quantise_minilm`] makes it). Takes about half a minute.
/// `progress` is called with the share that is done, from 0 to 1.
#[wasm_bindgen(js_name = distilStatic)]
pub fn distil_static(name: &str, encoder: &[u8], progress: Option<Function>) -> Result<Vec<u8>, JsValue> {
    let file = Buffer::from_bytes(encoder).and_then(File::open).map_err(thrown)?;
    let vocabulary = file.text("vocabulary").map_err(thrown)?.to_owned();
    let mut embedder = Embedder::new(open(file).map_err(thrown)?);
    distil(name, &mut embedder, &vocabulary, Distillation::MINILM, &mut teller(progress)).map_err(thrown)
}
