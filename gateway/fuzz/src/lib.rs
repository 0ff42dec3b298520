//! What the fuzz targets share.

mod compiled;
mod corner;
mod edge;
mod service;

pub use corner::{CORNER, SCHEMA, everything};
pub use edge::{Answer, Edge};
