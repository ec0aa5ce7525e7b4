//! MiniLM, and other BERT encoders of its make, in 8-bit integers with the processor's own vector instructions: texts to
//! unit vectors. It reads the `.tlm` file that the edge reads too, and the two agree.
//!
//! ```no_run
//! # fn main() -> Result<(), engine_core::EngineError> {
//! let model = minilm::MiniLm::open(std::path::Path::new("all-minilm-l6-v2.tlm"), 2)?;
//! let embeddings = model.embed_texts(&["hello world"])?;
//! assert_eq!(embeddings.vectors.len(), embeddings.dimensions);
//! # Ok(()) }
//! ```
//!
//! [`MiniLm`] is an [`engine_core::Model`] as well, which embeds, ranks by the cosine of query and document, and cuts texts
//! into tokens. Calls from many threads run at once, each with working memory of its own that later calls use again.
//!
//! | module | holds |
//! |---|---|
//! | [`model`] | [`MiniLm`]: calls in, embeddings out |
//! | `encoder` | the forward pass over the rows of some sequences |
//! | `kernels` | its arithmetic, on [`lanes`] |
//! | `weights` | the file's matrices in the kernels' order |

mod encoder;
mod kernels;
pub mod model;
mod weights;

pub use model::MiniLm;
