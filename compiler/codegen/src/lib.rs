//! Machine code: two back ends behind one trait, and the module that holds it.
#![forbid(unsafe_code)]
