//! The closed list of reasons why a call fails.

use contract::engine::{ErrorDetail, Status};
use std::fmt;

/// Why a call failed. The numbers are those of `Status` in `engine.proto`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The request itself is at fault.
    InvalidArgument,
    /// No model, or no version, of that name.
    ModelNotFound,
    /// The model is loading, unloading, or failed to load.
    ModelNotReady,
    /// The model cannot do this.
    Unsupported,
    /// The queue is full; try again later.
    Overloaded,
    /// Draining or stopping.
    Unavailable,
    /// The deadline passed.
    DeadlineExceeded,
    /// The caller went away.
    Cancelled,
    /// Does not fit the memory limit.
    MemoryExceeded,
    /// A fault of ours.
    Internal,
}

/// A failed call: a reason for programs and a sentence for people. The sentence is safe to show to the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineError {
    /// For programs.
    pub reason: Reason,
    /// For people; one sentence.
    pub message: String,
    /// The field or tensor at fault, if one is.
    pub parameter: Option<String>,
}

impl EngineError {
    /// A failure with a sentence.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), parameter: None }
    }

    /// The request's field or tensor `parameter` is at fault.
    pub fn invalid(parameter: impl Into<String>, message: impl Into<String>) -> Self {
        Self { reason: Reason::InvalidArgument, message: message.into(), parameter: Some(parameter.into()) }
    }

    /// A model cannot do what was asked.
    pub fn unsupported(model: &str, what: &str) -> Self {
        Self::new(Reason::Unsupported, format!("The model \"{model}\" cannot {what}."))
    }

    /// As the contract has it.
    pub fn status(&self) -> Status {
        match self.reason {
            Reason::InvalidArgument => Status::InvalidArgument,
            Reason::ModelNotFound => Status::ModelNotFound,
            Reason::ModelNotReady => Status::ModelNotReady,
            Reason::Unsupported => Status::Unsupported,
            Reason::Overloaded => Status::Overloaded,
            Reason::Unavailable => Status::Unavailable,
            Reason::DeadlineExceeded => Status::DeadlineExceeded,
            Reason::Cancelled => Status::Cancelled,
            Reason::MemoryExceeded => Status::MemoryExceeded,
            Reason::Internal => Status::Internal,
        }
    }

    /// The header of the reply.
    pub fn detail(&self) -> ErrorDetail {
        ErrorDetail { message: self.message.clone(), parameter: self.parameter.clone().unwrap_or_default() }
    }
}

impl fmt::Display for EngineError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl std::error::Error for EngineError {}
