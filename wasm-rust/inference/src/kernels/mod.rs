//! The arithmetic under the models.
//!
//! Every function here gives the same bits on every host. Integer sums are exact, float operations come in a fixed
//! order and are never fused, and no function of a system's mathematics library is called.

pub mod activation;
pub mod attention;
pub mod lanes;
pub mod matrix;
pub mod normalise;
pub mod rows;
