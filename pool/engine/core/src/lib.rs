//! What every kind of model stands behind, and what all of them share. No socket and no process; the disk and threads are
//! touched in [`repository`] alone.
//!
//! | module | holds |
//! |---|---|
//! | [`backend`] | the seam: [`Backend`] loads and trains, [`Model`] answers |
//! | [`tensor`] | tensors, borrowed and owned |
//! | [`buffer`] | bytes of our own, in the memory that the transport wants |
//! | [`call`] | what a call carries besides its message: deadline, priority, cancellation, trace, output memory |
//! | [`spans`] | what was done for a traced call, and when |
//! | [`error`] | the closed list of reasons why a call fails |
//! | [`guard`] | a panic fails one call |
//! | [`repository`] | the folder of versioned models |
//! | [`batching`] | several calls answered as one |

pub mod backend;
pub mod batching;
pub mod buffer;
pub mod call;
pub mod error;
pub mod guard;
mod locks;
pub mod repository;
pub mod spans;
pub mod tensor;

pub use backend::{Backend, Capability, Embeddings, GenerateSink, Model, ModelDescription, ModelSource, Trained};
pub use buffer::{Buffer, OutputMemory, Segment};
pub use call::{CallContext, TraceContext};
pub use error::{EngineError, Reason};
pub use tensor::{DataType, Tensor, TensorView};
