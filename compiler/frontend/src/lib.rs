//! Names, types and shapes; from syntax tree to graph.
#![forbid(unsafe_code)]
