//! Parameter analytics: which settings of a model call are the best, learnt while the calls are served.
//!
//! An [`experiment::Experiment`] has arms (settings of a call), rewards, rails and a policy. [`Experiment::decide`]
//! draws an arm and gives its propensity; [`event::Event`]s record decisions, rewards and changes of arms. The state is
//! a pure function of the set of events: their order does not matter within a stated time, telling one twice changes
//! nothing, and the states of two isolates that went on from the same one can be merged exactly. So choosing needs no
//! network: each isolate decides on its own copy, and copies are joined in the background.
//!
//! No I/O, no clock, no randomness: times come as arguments, and all chance comes from the decision's id and the
//! experiment's seed. All functions are `libm`'s, so the same events give the same bits natively and in WebAssembly.
//!
//! | module | is |
//! |---|---|
//! | [`definition`] | what an experiment is asked to do, with all its bounds |
//! | [`event`], [`experiment`], [`ledger`], [`tally`], [`traffic`], [`observation`] | the state and what changes it |
//! | [`choice`], [`policy`] | from the state to probabilities, from them to an arm |
//! | [`drift`], [`sharing`] | what of the past counts, whom the rails exclude, what namespaces share |
//! | [`optimiser`] | points of a continuous space |
//! | [`merge`], [`snapshot`] | joining states, keeping them |
//! | [`report`], [`confidence`], [`off_policy`] | what it has shown |
//! | [`numeric`], [`fixed`], [`random`] | arithmetic with the same bits everywhere |
//!
//! ```
//! use analytics::choice::Request;
//! use analytics::event::{DecisionId, Event};
//! use analytics::experiment::Experiment;
//!
//! let definition = r#"{
//!     "name": "summaries", "seed": 1, "policy": {"thompson": {"family": "beta"}}, "floor": 0.05,
//!     "rewards": [{"name": "accepted", "worst": 0, "best": 1, "weight": 1, "default": 0}],
//!     "windowMs": 60000, "graceMs": 600000, "bucketMs": 3600000
//! }"#;
//! let mut experiment = Experiment::new(serde_json::from_str(definition)?)?;
//! for arm in [
//!     r#"{"arm": {"atMs": 1, "arm": "small", "settings": {"model": "small", "temperature": 0.2}, "active": true}}"#,
//!     r#"{"arm": {"atMs": 1, "arm": "large", "settings": {"model": "large", "temperature": 0.2}, "active": true}}"#,
//! ] {
//!     experiment.apply(&serde_json::from_str::<Event>(arm)?)?;
//! }
//! let request = Request { id: DecisionId(7), at_ms: 2, namespace: "chat", features: &[] };
//! let (choice, _event) = experiment.decide(&request)?;
//! assert!((choice.propensity - 0.5).abs() < 1e-9);
//! experiment.give(DecisionId(7), 900, 0, 1.0)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`Experiment::decide`]: experiment::Experiment::decide

pub mod choice;
pub mod confidence;
pub mod definition;
pub mod drift;
pub mod error;
pub mod event;
pub mod experiment;
pub mod fixed;
pub mod ledger;
pub mod merge;
pub mod numeric;
pub mod observation;
pub mod off_policy;
pub mod optimiser;
pub mod policy;
pub mod random;
pub mod report;
pub mod sharing;
pub mod snapshot;
pub mod tally;
pub mod traffic;
