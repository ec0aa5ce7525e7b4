//! Classic learning by Linfa. Every algorithm is an entry of the table that [`backend`] returns; reading tensors, checking
//! parameters, metrics and files are the crate `training`'s.

mod clusters;
mod components;
mod convert;
mod linear;
mod naive_bayes;
mod trees;
mod vectors;

use engine_core::Backend;
use std::sync::Arc;
use training::TableBackend;

/// The backend `linfa`.
pub fn backend() -> Arc<dyn Backend> {
    Arc::new(table())
}

/// The same as a table of its algorithms.
pub fn table() -> TableBackend {
    let parts = [
        linear::algorithms(),
        trees::algorithms(),
        vectors::algorithms(),
        naive_bayes::algorithms(),
        clusters::algorithms(),
        components::algorithms(),
    ];
    TableBackend::new("linfa", parts.into_iter().flatten().collect())
}
