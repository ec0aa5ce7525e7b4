//! The vocabulary in a tokenizer's file, which must be of the kind that the project's own tokenizer computes: BERT's WordPiece
//! in lower case.

use crate::fault::unready;
use engine_core::EngineError;
use serde_json::Value;

/// What the file must say for the tokenizer here to give the same tokens. `null` accents follow the case.
const EXPECTED: [(&str, &[&str]); 7] = [
    ("/model/type", &["\"WordPiece\""]),
    ("/model/unk_token", &["\"[UNK]\""]),
    ("/model/continuing_subword_prefix", &["\"##\""]),
    ("/model/max_input_chars_per_word", &["100"]),
    ("/normalizer/type", &["\"BertNormalizer\""]),
    ("/normalizer/lowercase", &["true"]),
    ("/normalizer/strip_accents", &["null", "true"]),
];

/// The tokens of the file, one a line, in the order of their ids.
///
/// # Errors
/// `ModelNotReady` where the file is of another kind, or its ids are not 0, 1, 2, ….
pub fn read(file: &[u8]) -> Result<String, EngineError> {
    let file: Value = serde_json::from_slice(file)
        .map_err(|error| unready(format!("The tokenizer's file cannot be read: {error}.")))?;
    for (place, expected) in EXPECTED {
        let found = file.pointer(place).unwrap_or(&Value::Null).to_string();
        if !expected.contains(&found.as_str()) {
            let expected = expected.join(" or ");
            return Err(unready(format!("The tokenizer's file has {found} at {place}, where {expected} is due.")));
        }
    }
    let vocabulary = file.pointer("/model/vocab").and_then(Value::as_object);
    let vocabulary = vocabulary.ok_or_else(|| unready("The tokenizer's file has no vocabulary."))?;
    let mut tokens: Vec<(u64, &str)> =
        vocabulary.iter().map(|(token, id)| (id.as_u64().unwrap_or(u64::MAX), token.as_str())).collect();
    tokens.sort_unstable();
    let in_order = (0..).zip(&tokens).all(|(id, (found, token))| id == *found && !token.contains('\n'));
    if !in_order {
        return Err(unready("The tokenizer's vocabulary does not number its tokens from 0 on."));
    }
    Ok(tokens.iter().flat_map(|(_, token)| [token, "\n"]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn file() -> Value {
        json!({
            "truncation": {"max_length": 4}, "padding": {"strategy": {"Fixed": 4}},
            "normalizer": {"type": "BertNormalizer", "lowercase": true, "strip_accents": null},
            "model": {
                "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                "max_input_chars_per_word": 100, "vocab": {"b": 1, "[UNK]": 2, "a": 0},
            },
        })
    }

    fn refusal(file: &Value) -> String {
        read(file.to_string().as_bytes()).err().map(|error| error.message).unwrap_or_default()
    }

    #[test]
    fn tokens_come_in_the_order_of_their_ids() {
        assert_eq!(read(file().to_string().as_bytes()).expect("read"), "a\nb\n[UNK]\n");
    }

    #[test]
    fn a_tokenizer_of_another_kind_is_refused_by_what_differs() {
        for (place, other) in [
            ("/model/type", json!("BPE")),
            ("/model/max_input_chars_per_word", json!(99)),
            ("/normalizer/lowercase", json!(false)),
            ("/normalizer/strip_accents", json!(false)),
        ] {
            let mut file = file();
            *file.pointer_mut(place).expect("a place") = other;
            assert!(refusal(&file).contains(place), "{place}: {}", refusal(&file));
        }
    }

    #[test]
    fn ids_with_a_gap_and_files_that_are_none_are_refused() {
        let mut gap = file();
        gap["model"]["vocab"] = json!({"a": 0, "b": 2});
        assert!(refusal(&gap).contains("number"), "{}", refusal(&gap));
        gap["model"]["vocab"] = json!({"a": 0, "b\n": 1});
        assert!(refusal(&gap).contains("number"), "{}", refusal(&gap));
        gap["model"]["vocab"] = json!(3);
        assert!(refusal(&gap).contains("no vocabulary"), "{}", refusal(&gap));
        assert!(read(b"{").is_err() && read(b"").is_err() && read(b"[]").is_err());
    }
}
