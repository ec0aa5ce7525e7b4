//! Tree search over answers that models give: which answer to refine next, and by which model.
//!
//! The crate holds numbers alone. The caller keeps the texts, calls the models and scores what they say; it asks for
//! trials, carries them out in any order, and tells their scores:
//!
//! ```
//! use search::{Algorithm, Cost, Options, Search};
//!
//! let mut search = Search::new(Options::new(Algorithm::AbmctsA, 2, 42))?;
//! for now in 0..20 {
//!     for trial in search.ask(1, now)? {
//!         let score = if trial.arm == 1 { 0.8 } else { 0.3 };
//!         search.tell(trial.id, score, Cost::default(), now)?;
//!     }
//! }
//! assert_eq!(search.top(1)[0].score, Some(0.8));
//! # Ok::<(), search::SearchError>(())
//! ```
//!
//! It has no I/O, no clock and no chance of its own: times and the seed are arguments, and the same options and events
//! give the same state, bit for bit, on every host. State is saved as bytes or JSON (`snapshot`), or as the log of its
//! events (`event`).
//!
//! The algorithms are AB-MCTS (Inoue et al., "Wider or Deeper?", arXiv 2503.04412) in both forms, and what it is compared
//! with: see [`Algorithm`] and [`Strategy`].

mod arms;
mod choose;
mod error;
mod event;
pub mod mathematics;
mod mixed;
mod options;
mod posterior;
mod random;
mod search;
mod snapshot;
mod statistics;
mod stop;
mod tree;

pub use arms::Cost;
pub use error::SearchError;
pub use event::{Event, Outcome, Trial};
pub use options::{
    ARMS_MAX, Algorithm, BATCH_MAX, BetaPrior, CostMeasure, Distribution, GaussianPrior, INTEGER_MAX, MixedPrior,
    NODES_MAX, Options, Pruning, StopRules, Strategy,
};
pub use random::Random;
pub use search::{NodeSummary, Search};
pub use snapshot::SNAPSHOT_VERSION;
pub use stop::StopReason;
pub use tree::{ROOT, Status};
