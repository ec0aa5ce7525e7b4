//! MiniLM, and other BERT encoders of its make, in 8-bit integers with the processor's own vector instructions: texts to
//! unit vectors. It quantises the published float weights itself, or reads the `.tlm` file that the edge reads too, with which
//! the two agree.
//!
//! ```no_run
//! # fn main() -> Result<(), engine_core::EngineError> {
//! use std::path::Path;
//! let model = minilm::MiniLm::open_float(Path::new("model.safetensors"), Path::new("tokenizer.json"), 2)?;
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
//! | [`model`] | [`MiniLm`] from its files |
//! | [`sentences`] | calls in, embeddings out, for encoders of any make |
//! | `encoder` | the forward pass over the rows of some sequences |
//! | `kernels` | its arithmetic, on [`lanes`] |
//! | `weights` | the weights in the kernels' order, and how a `.tlm` file becomes them |
//! | `quantise` | how float weights become them |
//! | `calibration` | what the products' inputs are like, and the factors that make them fit 8 bits |

mod calibration;
mod encoder;
mod kernels;
pub mod model;
mod quantise;
pub mod sentences;
mod weights;

pub use model::MiniLm;
