//! Small neural networks by Burn: trained with Adam on a table, saved in Burn's record format, predicting on the processor.
//! Reading tensors, checking parameters, metrics and files are the crate `training`'s.
//!
//! | module | holds |
//! |---|---|
//! | `perceptron` | a multilayer perceptron |
//! | `convolution` | a small convolutional network for images |
//! | `learner` | mini-batches, loss and Adam for both |
//! | `weights` | first weights from a seed |
//! | `saved` | a network as a trained model, written and read |

mod convolution;
mod learner;
mod perceptron;
mod saved;
mod weights;

use engine_core::Backend;
use std::sync::Arc;
use training::TableBackend;

/// The backend `burn`.
pub fn backend() -> Arc<dyn Backend> {
    Arc::new(table())
}

/// The same as a table of its algorithms.
pub fn table() -> TableBackend {
    let parts = [perceptron::algorithms(), convolution::algorithms()];
    TableBackend::new("burn", parts.into_iter().flatten().collect())
}
