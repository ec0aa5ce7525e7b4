//! Keys and values of a weights file.

use super::fault;
use engine_core::EngineError;
use std::collections::BTreeMap;

/// One value. Integers of all widths, and floats of both, are read as one kind each.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub enum Value {
    Bool(bool),
    Integer(i128),
    Float(f64),
    Text(String),
    Bools(Vec<bool>),
    Integers(Vec<i128>),
    Floats(Vec<f64>),
    Texts(Vec<String>),
}

/// All of them. A method `optional_…` gives `None` where the key is missing and an error where the value is of another
/// kind; the method without the word takes a missing key as an error too.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Metadata {
    entries: BTreeMap<String, Value>,
}

macro_rules! accessors {
    ($($(#[$doc:meta])* $name:ident, $optional:ident, $kind:literal, $type:ty, $pattern:pat => $value:expr;)*) => {
        impl Metadata {
            $(
                $(#[$doc])*
                pub fn $optional(&self, key: &str) -> Result<Option<$type>, EngineError> {
                    match self.entries.get(key) {
                        None => Ok(None),
                        Some($pattern) => Ok($value),
                        Some(_) => Err(fault(format!("has \"{key}\", but not as {}.", $kind))),
                    }
                }

                $(#[$doc])*
                pub fn $name(&self, key: &str) -> Result<$type, EngineError> {
                    self.$optional(key)?.ok_or_else(|| fault(format!("has no \"{key}\", which is {}.", $kind)))
                }
            )*
        }
    };
}

accessors! {
    /// True or false.
    flag, optional_flag, "true or false", bool, Value::Bool(value) => Some(*value);
    /// A text.
    text, optional_text, "a text", &str, Value::Text(value) => Some(value.as_str());
    /// A number, which may be any float, NaN included.
    number, optional_number, "a number", f64, Value::Float(value) => Some(*value);
    /// Texts, such as `tokenizer.ggml.tokens` and `tokenizer.ggml.merges`.
    texts, optional_texts, "a list of texts", &[String], Value::Texts(value) => Some(value.as_slice());
    /// Whole numbers, such as `tokenizer.ggml.token_type`.
    integers, optional_integers, "a list of whole numbers", &[i128], Value::Integers(value) => Some(value.as_slice());
    /// Numbers, such as `tokenizer.ggml.scores`.
    numbers, optional_numbers, "a list of numbers", &[f64], Value::Floats(value) => Some(value.as_slice());
}

impl Metadata {
    /// A whole number that is a size or an identifier: 0 or more.
    pub fn optional_size(&self, key: &str) -> Result<Option<usize>, EngineError> {
        match self.entries.get(key) {
            None => Ok(None),
            Some(Value::Integer(value)) if usize::try_from(*value).is_ok() => Ok(usize::try_from(*value).ok()),
            Some(_) => Err(fault(format!("has \"{key}\", but not as a whole number of 0 or more."))),
        }
    }

    /// The same of a key that must be there.
    pub fn size(&self, key: &str) -> Result<usize, EngineError> {
        self.optional_size(key)?.ok_or_else(|| fault(format!("has no \"{key}\", which is a whole number.")))
    }

    /// The value as it is.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.entries.get(key)
    }

    /// All keys and values, by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.entries.iter().map(|(key, value)| (key.as_str(), value))
    }

    pub(super) fn insert(&mut self, key: &str, value: Value) -> Result<(), EngineError> {
        match self.entries.insert(key.to_owned(), value) {
            None => Ok(()),
            Some(_) => Err(fault(format!("has \"{key}\" twice."))),
        }
    }
}
