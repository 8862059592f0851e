//! A model that the build script compiled: its machine code is in a static library, its interface in this module.

/// The classifier of the digits example.
pub mod digits_mlp {
    include!(concat!(env!("OUT_DIR"), "/digits_mlp.rs"));
}
