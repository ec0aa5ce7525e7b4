//! Candle's errors as the engine's.

use engine_core::{EngineError, Reason};

/// A model cannot be loaded.
pub fn unready(message: impl Into<String>) -> EngineError {
    EngineError::new(Reason::ModelNotReady, message)
}

/// Loading failed in candle.
pub fn while_loading(error: candle_core::Error) -> EngineError {
    unready(format!("The model cannot be loaded: {}.", first_line(&error)))
}

/// Computing failed in candle.
pub fn while_computing(error: candle_core::Error) -> EngineError {
    EngineError::new(Reason::Internal, format!("Computing the model failed: {}.", first_line(&error)))
}

/// What candle says, without the backtrace that it may add.
fn first_line(error: &candle_core::Error) -> String {
    let text = error.to_string();
    text.lines().next().unwrap_or_default().trim_end_matches('.').to_owned()
}
