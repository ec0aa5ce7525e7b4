//! What every kind of model stands behind, and what all of them share. Pure: no socket, no process, no thread of its own
//! except in [`batching`].
//!
//! | module | holds |
//! |---|---|
//! | [`backend`] | the seam: [`Backend`] loads and trains, [`Model`] answers |
//! | [`tensor`] | tensors, borrowed and owned |
//! | [`call`] | what a call carries besides its message: deadline, priority, cancellation, trace |
//! | [`error`] | the closed list of reasons why a call fails |
//! | [`repository`] | the folder of versioned models |
//! | [`batching`] | several calls answered as one |

pub mod backend;
pub mod batching;
pub mod call;
pub mod error;
pub mod repository;
pub mod tensor;

pub use backend::{Backend, Capability, Embeddings, GenerateSink, Model, ModelDescription, ModelSource, Trained};
pub use call::CallContext;
pub use error::{EngineError, Reason};
pub use tensor::{DataType, Tensor, TensorView};
