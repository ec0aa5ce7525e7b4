//! Everything that can go wrong, as one closed list. Each reason has a stable code that callers may match on.

use std::fmt;

/// Why a model could not be loaded or a text could not be embedded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InferenceError {
    /// The file's bytes are not what its header or checksum promises.
    ModelCorrupt(&'static str),
    /// The file ends before what its header announces, or not all of it was written.
    ModelTruncated {
        /// Bytes announced.
        expected: usize,
        /// Bytes present.
        actual: usize,
    },
    /// The file is a model file of a version or kind that this build does not know.
    ModelUnsupported(&'static str),
    /// The file is larger than the stated bound.
    ModelTooLarge {
        /// Bytes asked for.
        bytes: usize,
        /// The bound, in bytes.
        bytes_max: usize,
    },
    /// A text is empty, or there is no text at all.
    InputEmpty,
    /// More inputs in one call than the stated bound.
    InputTooMany {
        /// Inputs given.
        inputs: usize,
        /// The bound.
        inputs_max: usize,
    },
    /// A caller's token id is not in the vocabulary.
    TokenOutOfRange {
        /// The id given.
        token: u32,
        /// One past the largest id.
        vocabulary_size: usize,
    },
    /// Lengths do not add up, or vectors differ in length.
    LengthMismatch(&'static str),
    /// A tool's source file cannot be understood.
    SourceInvalid(String),
}

impl InferenceError {
    /// The stable code of this reason.
    pub fn code(&self) -> &'static str {
        match self {
            Self::ModelCorrupt(_) => "model_corrupt",
            Self::ModelTruncated { .. } => "model_truncated",
            Self::ModelUnsupported(_) => "model_unsupported",
            Self::ModelTooLarge { .. } => "model_too_large",
            Self::InputEmpty => "input_empty",
            Self::InputTooMany { .. } => "input_too_many",
            Self::TokenOutOfRange { .. } => "token_out_of_range",
            Self::LengthMismatch(_) => "length_mismatch",
            Self::SourceInvalid(_) => "source_invalid",
        }
    }
}

impl fmt::Display for InferenceError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ModelCorrupt(what) => write!(out, "the model file is corrupt: {what}"),
            Self::ModelTruncated { expected, actual } => {
                write!(out, "the model file has {actual} bytes, {expected} were expected")
            }
            Self::ModelUnsupported(what) => write!(out, "the model file is not supported: {what}"),
            Self::ModelTooLarge { bytes, bytes_max } => {
                write!(out, "a model of {bytes} bytes is larger than the bound of {bytes_max}")
            }
            Self::InputEmpty => write!(out, "the input is empty"),
            Self::InputTooMany { inputs, inputs_max } => {
                write!(out, "{inputs} inputs are more than the bound of {inputs_max}")
            }
            Self::TokenOutOfRange { token, vocabulary_size } => {
                write!(out, "token {token} is outside the vocabulary of {vocabulary_size}")
            }
            Self::LengthMismatch(what) => write!(out, "lengths do not match: {what}"),
            Self::SourceInvalid(what) => write!(out, "the source cannot be read: {what}"),
        }
    }
}

impl std::error::Error for InferenceError {}
