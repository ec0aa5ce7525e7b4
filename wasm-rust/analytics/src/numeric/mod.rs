//! Functions and linear algebra with the same bits on every host: IEEE arithmetic and `libm` only.

pub mod best;
pub mod linear;
pub mod special;
