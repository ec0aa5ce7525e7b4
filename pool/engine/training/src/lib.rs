//! What all backends that train on tables share: reading the tensors of a training, checking its settings, measuring the
//! result, and the file in which a trained model is kept. A backend of this kind is a table of [`Algorithm`]s.
//!
//! | module | holds |
//! |---|---|
//! | [`matrix`] | rows of numbers |
//! | [`data`] | `features` and `targets`, read from tensors and checked |
//! | [`settings`] | rules of parameters, and parameters checked by them |
//! | [`algorithm`] | one entry of a backend's table, and what it fits |
//! | [`linear`] | models that are a weighted sum of the columns |
//! | [`gaussian`] | naive Bayes of normal distributions |
//! | [`duels`] | many classes by machines that know two |
//! | [`scaling`] | columns brought to mean 0 and deviation 1 |
//! | [`metrics`] | how good a fit is |
//! | [`file`] | the file of a trained model |
//! | [`backend`], [`model`] | the table as a `Backend`, and a trained model as a `Model` |
//! | [`fits`] | fits on threads of their own, which nobody has to wait for |
//! | [`guard`] | a library's panic turned into an error |
//! | [`random`] | the numbers behind a seed |

pub mod algorithm;
pub mod backend;
pub mod data;
pub mod duels;
pub mod file;
pub mod fits;
pub mod gaussian;
pub mod guard;
pub mod linear;
pub mod matrix;
pub mod metrics;
pub mod model;
pub mod random;
pub mod scaling;
pub mod settings;

pub use algorithm::{Algorithm, Fitted, Predict, Prediction, Stored, Task, decode_stored, store};
pub use backend::TableBackend;
pub use data::DataSet;
pub use duels::{Decide, Duels};
pub use gaussian::GaussianBayes;
pub use linear::{LinearClassifier, LinearModel};
pub use matrix::Matrix;
pub use settings::{Kind, Rule, Settings};
