//! The tools that make model files, for JavaScript: this file only converts.

use inference::InferenceError;
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
